"""Generated traffic: the same out of the same seed, in order, without contradictions, and of the shape that is
documented."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import date
from functools import cache
from itertools import pairwise

import pytest

from tierproxy.config.sections import FoldersSection
from tierproxy.history.generate import Traffic
from tierproxy.history.rows import row_of
from tierproxy.history.traffic_model import PROFILES, TrafficModel, model_for
from tierproxy.history.traffic_summary import TrafficSummary
from tierproxy.mail.names import Naming
from tierproxy.model import ObjectName
from tierproxy.traffic import DAY, Event, EventKind, Reason

DAYS = 40
SMALL = model_for("office", owners=20, full_backup_days=14, index_per_day=0.02, resync_per_day=0.02)
MONDAY = 1_736_121_600.0


@cache
def traffic(seed: int = 1) -> list[Event]:
    return list(Traffic(SMALL, days=DAYS, seed=seed).events())


def lines(model: TrafficModel, seed: int, days: int = 5) -> bytes:
    return b"\n".join(repr(row_of(event)).encode() for event in Traffic(model, days=days, seed=seed).events())


def reads(events: list[Event], reason: str = Reason.PERSON) -> Iterator[Event]:
    return (event for event in events if event.kind is EventKind.READ and event.reason == reason)


def test_the_same_seed_gives_the_same_bytes() -> None:
    assert lines(SMALL, 7) == lines(SMALL, 7)


def test_another_seed_gives_another_traffic() -> None:
    assert lines(SMALL, 7) != lines(SMALL, 8)


def test_a_longer_run_begins_as_the_shorter_one() -> None:
    assert lines(SMALL, 7, days=4).startswith(lines(SMALL, 7, days=2))


def test_events_come_in_order_of_time_within_the_days_asked_for() -> None:
    events = traffic()
    assert all(before.at <= after.at for before, after in pairwise(events))
    assert events[0].at >= MONDAY
    assert events[-1].at < MONDAY + DAYS * DAY


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_no_event_contradicts_those_before(profile: str) -> None:
    owners = 10 if profile == "isp" else 5
    model = model_for(profile, owners=owners, expiry_days=4.0, remembered=50)
    live: dict[ObjectName, int] = {}
    for event in Traffic(model, days=15, seed=3).events():
        if event.kind is EventKind.WRITE:
            assert event.name not in live
            live[event.name] = event.size
            assert (event.outcome, event.reason, event.sent) == ("both", "", 0)
        elif event.kind is EventKind.DELETE:
            assert live.pop(event.name) == event.size
        else:
            assert live[event.name] == event.size == event.sent
            assert event.reason in set(Reason)
    assert live


def test_owner_and_folder_are_those_that_the_key_says() -> None:
    naming = Naming((), FoldersSection())
    names = {(event.name, event.owner, event.folder) for event in traffic()}
    assert {(naming.of(name)) for name, _, _ in names} == {(owner, folder) for _, owner, folder in names}
    assert all(naming.of(name) == (owner, folder) for name, owner, folder in names)
    assert {folder for _, _, folder in names} == {"inbox", "sent", "archive", "trash", "junk", "other"}


def test_people_read_as_often_as_is_documented() -> None:
    summary = TrafficSummary()
    summary.extend(Traffic(model_for("office", owners=100), days=30, seed=1).events())
    share = {name: objects / summary.objects for name, objects in summary.by_reads().items()}
    assert sum(share.values()) == pytest.approx(1)
    assert 0.25 < share["0"] < 0.45
    assert 0.35 < share["1"] < 0.55
    assert 0.10 < share["2"] < 0.25
    assert 0.02 < share["3-5"] + share["6+"] < 0.10


def test_the_summary_counts_what_there_is() -> None:
    summary, events = TrafficSummary(), traffic()
    summary.extend(events)
    assert summary.events == len(events)
    assert summary.objects == sum(event.kind is EventKind.WRITE for event in events)
    assert summary.sent == sum(event.sent for event in events)
    times = Counter(event.name for event in reads(events))
    found = summary.by_reads()
    assert found["1"] == sum(count == 1 for count in times.values())
    assert found["6+"] == sum(count >= 6 for count in times.values())
    assert sum(found.values()) == summary.objects


def deliveries() -> list[Event]:
    return [event for event in traffic() if event.kind is EventKind.WRITE and event.client.startswith("lmtp")]


def test_sizes_are_skewed_and_bounded() -> None:
    sizes = [event.size for event in deliveries()]
    assert 10_000 < statistics.median(sizes) < 22_000
    assert statistics.mean(sizes) > 2 * statistics.median(sizes)
    assert max(sizes) > 2_000_000
    assert all(SMALL.size_least <= size <= SMALL.size_most for size in sizes)


def test_deliveries_are_as_many_as_asked_for_and_few_at_night_and_on_sunday() -> None:
    hours: Counter[int] = Counter()
    weekdays: Counter[int] = Counter()
    for event in deliveries():
        day, second = divmod(event.at - MONDAY, DAY)
        weekdays[int(day) % 7] += 1
        hours[int(second // 3600)] += 1
    wanted = SMALL.owners * SMALL.mails_per_day * sum(SMALL.weekdays[day % 7] for day in range(DAYS))
    assert len(deliveries()) == pytest.approx(wanted, rel=0.15)
    assert hours[9] > 5 * hours[3]
    assert weekdays[1] > 2 * weekdays[6]


def test_some_owners_get_much_more_than_others() -> None:
    by_owner = Counter(event.owner for event in deliveries()).most_common()
    assert len(by_owner) == SMALL.owners
    assert by_owner[0][1] > 3 * by_owner[-1][1]


def test_half_of_the_bulk_mail_that_is_opened_at_all_is_opened_within_some_hours() -> None:
    model = model_for(
        "office", owners=20, bulk_share=1.0, list_share=0.0, junk_share=0.0, download_share=0.0,
        mobile_download_share=0.0, searches_per_day=0.0, resync_per_day=0.0, hours=(0.0,) * 9 + (1.0,) + (0.0,) * 14,
    )  # fmt: skip
    written: dict[ObjectName, float] = {}
    delays = []
    for event in Traffic(model, days=20, seed=1).events():
        if event.kind is EventKind.WRITE:
            written[event.name] = event.at
        elif event.reason == Reason.PERSON and (at := written.pop(event.name, None)) is not None:
            delays.append(event.at - at)
    within = [sum(delay <= hours * 3600 for delay in delays) / len(delays) for hours in (1, 6, 24)]
    assert within == pytest.approx([0.215, 0.506, 0.73], abs=0.07)


def test_a_client_that_downloads_reads_each_mail_once() -> None:
    model = model_for(
        "office", owners=10, download_share=1.0, mobile_share=0.0, backup_hour=-1, junk_share=0.0,
        resync_per_day=0.0, index_per_day=0.0, scan_per_day=0.0,
    )  # fmt: skip
    events = list(Traffic(model, days=10, seed=1).events())
    assert set(Counter(event.name for event in reads(events)).values()) == {1}


def test_a_list_mail_goes_to_all_subscribers_and_comes_in_bursts() -> None:
    at_once: defaultdict[float, set[str]] = defaultdict(set)
    for event in deliveries():
        at_once[event.at].add(event.owner)
    assert max(len(owners) for owners in at_once.values()) > 3
    bursts = [at for at, owners in sorted(at_once.items()) if len(owners) > 3]
    assert statistics.median(after - before for before, after in pairwise(bursts)) < 1800


def test_a_move_is_another_object_of_the_same_size_and_trash_expires() -> None:
    events = traffic()
    moved = [
        (event, after) for event, after in pairwise(events)
        if event.kind is EventKind.WRITE and event.folder == "trash" and after.kind is EventKind.DELETE
    ]  # fmt: skip
    assert len(moved) > 100
    assert all(event.at == after.at and event.size == after.size for event, after in moved)
    expired = [event for event in events if event.kind is EventKind.DELETE and event.folder == "trash"]
    assert expired
    assert min(event.at for event in expired) >= MONDAY + SMALL.expiry_days * DAY


def test_backups_walk_in_key_order_and_say_what_they_are() -> None:
    walks: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
    for event in reads(traffic(), Reason.BACKUP):
        walks[int((event.at - MONDAY) // DAY), event.owner].append(event.name.key)
    assert len(walks) > DAYS * SMALL.owners / 2
    assert all(keys == sorted(keys) for keys in walks.values())


def test_a_resync_says_nothing_of_itself_and_walks_by_uid() -> None:
    walks: defaultdict[str, list[Event]] = defaultdict(list)
    for event in reads(traffic()):
        if event.client.endswith(":new"):
            walks[event.client].append(event)
    longest = max(walks.values(), key=len)
    assert len(longest) > 50
    inbox = [int(event.name.key.rpartition(".")[2]) for event in longest if event.folder == "inbox"]
    assert sum(after > before for before, after in pairwise(inbox)) > len(inbox) * 0.9
    assert max(after.at - before.at for before, after in pairwise(longest[:50])) < 2


def test_machines_mark_themselves() -> None:
    marked = Counter(event.reason for event in traffic() if event.kind is EventKind.READ)
    assert set(marked) == {Reason.PERSON, Reason.BACKUP, Reason.INDEX, Reason.SCAN}


def test_the_first_day_can_be_chosen() -> None:
    saturday = date(2026, 8, 1)
    events = list(Traffic(SMALL, days=3, seed=1, start=saturday).events())
    begin = 1_785_542_400.0
    days = Counter(
        int((event.at - begin) // DAY)
        for event in events
        if event.kind is EventKind.WRITE and event.client.startswith("lmtp")
    )
    assert days[2] > 2 * days[0]
    assert days[2] > 2 * days[1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"bulk_share": 1.2}, {"bulk_share": 0.8, "list_share": 0.3}, {"owners": 0}, {"hours": (1.0,)},
        {"weekdays": (1.0,)}, {"mails_per_day": -1.0}, {"desk_days": 0},
    ],
    ids=str,
)  # fmt: skip
def test_a_model_that_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"share|owner|week"):
        model_for("office", **wrong)


def test_memory_is_bounded_by_what_is_remembered() -> None:
    model = model_for("office", owners=1, mails_per_day=200.0, remembered=100)
    one = Traffic(model, days=10, seed=1)
    assert sum(len(lot) for lot in one.lots()) > 2000
    assert all(len(owner.mails) <= 100 + 25 + 64 for owner in one._owners)
