"""History becomes columns: every event, in order, with objects by number."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from tests.history.rigs import events, history_files, read_event
from tierproxy.disk.fsio import Files
from tierproxy.errors import TierproxyError
from tierproxy.history import schema
from tierproxy.history.generate import Traffic
from tierproxy.history.reading import open_history
from tierproxy.history.segments import SegmentWriter, write
from tierproxy.history.trace import load
from tierproxy.history.traffic_model import model_for
from tierproxy.model import ObjectName
from tierproxy.testing.clock import EPOCH
from tierproxy.trace import HIT, LATER, MACHINE, REGRET, Op, Trace, cut, sampled, sampled_objects
from tierproxy.traffic import Event, EventKind, Outcome, Reason


def loaded(directory: Path, wanted: list[Event]) -> Trace:
    write(directory, schema.frame_of(wanted), files=Files())
    return load([directory])


def an_event(kind: EventKind, at: int, key: str, **facts: object) -> Event:
    return Event(EPOCH + at, kind, ObjectName("mail", key), **facts)  # type: ignore[arg-type]


def test_events_are_columns_in_order_of_time(tmp_path: Path) -> None:
    trace = loaded(
        tmp_path,
        [
            an_event(EventKind.WRITE, 0, "b", size=70),
            an_event(EventKind.READ, 1, "a", size=50, sent=20, reason=Reason.PERSON, outcome=Outcome.FILL),
            an_event(EventKind.READ, 2, "b", size=70, sent=70, reason=Reason.PERSON, outcome=Outcome.DISK),
            an_event(EventKind.PURGE, 3, "b", size=70, by="pressure"),
            an_event(EventKind.DELETE, 4, "a", size=50),
        ],
    )
    assert list(trace.at) == [EPOCH + second for second in range(5)]
    assert list(trace.op) == [Op.WRITE, Op.READ, Op.READ, Op.PURGE, Op.DELETE]
    assert list(trace.object) == [0, 1, 0, 0, 1]
    assert list(trace.size) == [70, 50, 70, 70, 50]
    assert list(trace.sent) == [0, 20, 70, 0, 0]
    assert (trace.objects.buckets, trace.objects.keys) == (["mail"] * 2, ["b", "a"])
    assert trace.span == (EPOCH, EPOCH + 4)


@pytest.mark.parametrize(
    ("facts", "flags"),
    [
        ({}, HIT),
        ({"outcome": Outcome.MEMORY}, HIT),
        ({"outcome": Outcome.PASS}, 0),
        ({"outcome": Outcome.FILL, "by": "rule:old"}, REGRET),
        ({"reason": Reason.BACKUP}, HIT | MACHINE),
        ({"reason": Reason.SCAN, "first": False, "outcome": Outcome.JOIN}, MACHINE | LATER),
        ({"reason": "", "outcome": ""}, 0),  # an imported log says neither
    ],
)
def test_flags_of_a_read(tmp_path: Path, facts: dict[str, Any], flags: int) -> None:
    trace = loaded(tmp_path, [read_event(0, **facts)])
    assert trace.flags == bytes([flags])


def test_what_came_from_a_stub_is_not_replayed(tmp_path: Path) -> None:
    events = [read_event(0), read_event(1, outcome=Outcome.STUB, first=False), read_event(2, outcome=Outcome.PASS)]
    assert [at - EPOCH for at in loaded(tmp_path, events).at] == [0, 2]


def test_only_reads_have_flags(tmp_path: Path) -> None:
    trace = loaded(tmp_path, [an_event(EventKind.PURGE, 0, "a", by="pressure", size=1)])
    assert trace.flags == b"\0"


def test_owner_and_folder_are_those_said_last(tmp_path: Path) -> None:
    said = [("", ""), ("alice", "inbox"), ("alice", "archive"), ("", "")]
    wanted = [read_event(0, EPOCH + at, owner=owner, folder=folder) for at, (owner, folder) in enumerate(said)]
    trace = loaded(tmp_path, [*wanted, read_event(1, EPOCH + 9, owner="", folder="")])
    assert (trace.objects.owners, trace.objects.folders) == (["alice", ""], ["archive", ""])


def test_a_size_that_a_log_does_not_say_is_the_largest_known_of_the_object(tmp_path: Path) -> None:
    given = [(0, 0), (0, 300), (0, 120), (900, 900)]
    wanted = [read_event(0, EPOCH + at, size=size, sent=sent) for at, (size, sent) in enumerate(given)]
    wanted += [read_event(1, EPOCH + 10 + at, size=size, sent=sent) for at, (size, sent) in enumerate(given[:3])]
    wanted += [read_event(2, EPOCH + 20, size=0, sent=0)]
    trace = loaded(tmp_path, wanted)
    assert list(trace.size) == [900, 900, 900, 900, 300, 300, 300, 0]


def test_time_bucket_and_key_choose_events(tmp_path: Path) -> None:
    other = an_event(EventKind.WRITE, 4, "example.org/alice/u.99", size=1)
    wanted = [*events(0, 8), Event(other.at, other.kind, ObjectName("notes", other.name.key), size=1)]
    write(tmp_path, schema.frame_of(sorted(wanted, key=lambda event: event.at)), files=Files())
    assert len(load([tmp_path], EPOCH + 2, EPOCH + 5)) == 4
    assert load([tmp_path], buckets=["notes"]).objects.keys == ["example.org/alice/u.99"]
    assert load([tmp_path], key="*/u.[3-5]").objects.keys == [f"example.org/alice/u.{number}" for number in (3, 4, 5)]
    assert len(load([tmp_path], buckets=["none"])) == 0


PATTERNS = ["*", "a*", "?.eml", "[ab].eml", "[!a].eml", "a.eml", "*.e[m]l", "[]x]", "[a-c]?*", "a[", "*+(1)", "[\\]"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_of_keys_are_those_of_the_shell(tmp_path: Path, pattern: str) -> None:
    keys = ["a.eml", "b.eml", "c.eml", "aXeml", "]", "x", "a[", "a+(1)", "\\", "line\nfeed", "a"]
    write(tmp_path, schema.frame_of([an_event(EventKind.WRITE, at, key) for at, key in enumerate(keys)]), files=Files())
    assert load([tmp_path], key=pattern).objects.keys == [key for key in keys if fnmatch(key, pattern)]


def test_the_open_journal_is_in_it(tmp_path: Path) -> None:
    log = history_files(tmp_path)
    log.append(events(0, 3), EPOCH)
    assert len(load([tmp_path])) == 3
    log.close()


def test_of_an_empty_place_there_is_an_empty_trace_and_of_none_an_error(tmp_path: Path) -> None:
    trace = load([tmp_path])
    assert (len(trace), trace.span, len(trace.objects)) == (0, (0.0, 0.0), 0)
    with pytest.raises(TierproxyError):
        load([tmp_path / "nowhere"])


def test_many_segments_are_one_trace_with_progress(tmp_path: Path) -> None:
    told: list[int] = []
    with SegmentWriter(tmp_path, Files(), source="generated", rows=200) as out:
        for lot in Traffic(model_for("office", owners=8), days=12, seed=1).lots():
            out.extend(lot)
    history = open_history(tmp_path)
    trace = load(history, progress=told.append)
    assert len(out.written) > 20
    assert len(trace) == out.events == told[-1]
    assert told == sorted(told)
    assert len(trace.objects) == len({*trace.objects.keys})
    keys = [event["key"] for event in history.events()]
    assert [trace.objects.keys[number] for number in trace.object] == keys


# ---------------------------------------------------------------- cut and sampled


def test_a_cut_trace_has_all_events_in_two_parts_and_the_same_objects(tmp_path: Path) -> None:
    trace = loaded(tmp_path, events(0, 10))
    trained, held_out = cut(trace, EPOCH + 4)
    assert (len(trained), len(held_out)) == (4, 6)
    assert held_out.at[0] == EPOCH + 4
    assert list(trained.object) + list(held_out.object) == list(trace.object)
    assert trained.objects is held_out.objects is trace.objects


def test_a_sample_has_all_events_of_a_share_of_the_objects(tmp_path: Path) -> None:
    trace = loaded(tmp_path, [read_event(number % 1000, EPOCH + number) for number in range(3000)])
    part = sampled(trace, 0.3)
    chosen = {*part.object}
    assert 230 < len(chosen) < 370
    assert [number for number in trace.object if number in chosen] == list(part.object)
    assert all(part.at[place] - EPOCH == pytest.approx(part.object[place], abs=2001) for place in range(len(part)))
    assert sampled(trace, 1) is trace


def test_a_larger_sample_has_all_of_a_smaller_one() -> None:
    small, large = sampled_objects(20_000, 0.1), sampled_objects(20_000, 0.4)
    assert all(more for less, more in zip(small, large, strict=True) if less)
    assert sum(small) == pytest.approx(2000, rel=0.1)
    assert sum(large) == pytest.approx(8000, rel=0.05)
