"""Whatever lies in a directory, history is read, in order, and what is left out is named."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.history.rigs import events, history_files, names, numbers, read_event
from tierproxy.disk.fsio import Files
from tierproxy.errors import TierproxyError
from tierproxy.history import schema
from tierproxy.history.journal import decode, encode
from tierproxy.history.names import journals
from tierproxy.history.reading import open_history
from tierproxy.history.rows import row_of
from tierproxy.history.segments import write
from tierproxy.testing.clock import EPOCH
from tierproxy.traffic import Event


def segment(directory: Path, wanted: list[Event], source: str = "") -> Path:
    return write(directory, schema.frame_of(wanted), files=Files(), source=source)


def test_segments_that_overlap_are_merged_in_time_order(tmp_path: Path) -> None:
    segment(tmp_path, [read_event(n) for n in (0, 3, 6)])
    segment(tmp_path, [read_event(n) for n in (1, 4, 7)], "nginx")
    segment(tmp_path, [read_event(n) for n in (2, 5)], "s3")
    segment(tmp_path, events(8, 3))
    assert numbers(tmp_path) == list(range(11))
    assert open_history(tmp_path).scan().collect()["at"].is_sorted()


def test_several_places_are_one_history(tmp_path: Path) -> None:
    first = segment(tmp_path, events(3, 2))
    (tmp_path / "other").mkdir()
    segment(tmp_path / "other", events(0, 3))
    assert numbers(first, tmp_path / "other") == [0, 1, 2, 3, 4]


def test_since_is_in_it_and_until_is_not(tmp_path: Path) -> None:
    segment(tmp_path, events(0, 10))
    found = open_history(tmp_path).events(EPOCH + 3, EPOCH + 6)
    assert [event["at"] for event in found] == [int((EPOCH + n) * 1_000_000) for n in (3, 4, 5)]
    assert open_history(tmp_path).scan(EPOCH + 3, EPOCH + 6).collect().height == 3


def test_events_can_be_chosen_by_key(tmp_path: Path) -> None:
    segment(tmp_path, events(0, 30))
    assert [event["key"][-2:] for event in open_history(tmp_path).events(key="*/u.?7")] == ["17", "27"]


def test_batches_are_of_bounded_length(tmp_path: Path) -> None:
    for first in range(0, 3000, 1000):
        segment(tmp_path, events(first, 1000))
    batches = list(open_history(tmp_path).batches(size=100))
    assert max(batch.height for batch in batches) <= 100
    assert sum(batch.height for batch in batches) == 3000


def test_an_open_journal_is_read_beside_the_segments(tmp_path: Path) -> None:
    log = history_files(tmp_path)
    log.append(events(0, 3), EPOCH)
    log.close()
    log.settle()
    log.append(events(3, 3), EPOCH + 3)
    assert numbers(tmp_path) == [0, 1, 2, 3, 4, 5]
    log.close()


def test_a_line_that_is_being_written_is_left_out_and_named(tmp_path: Path) -> None:
    log = history_files(tmp_path)
    log.append(events(0, 3), EPOCH)
    log.append(events(3, 3), EPOCH)
    log.close()
    (_, path), *_ = journals(tmp_path / "history")
    path.write_bytes(path.read_bytes()[:-10])
    history = open_history(tmp_path)
    assert history.rows == 3
    assert "torn" in history.skipped[0].why


def test_a_line_of_other_rows_is_not_ours() -> None:
    assert decode(encode([row_of(read_event(1))])) == [list(row_of(read_event(1)))]
    assert decode(encode([[1, "read"]])) is None


def test_a_journal_whose_segment_is_there_is_only_removed(tmp_path: Path) -> None:
    log = history_files(tmp_path)
    log.append(events(0, 3), EPOCH)
    log.close()
    (_, path), *_ = journals(tmp_path / "history")
    lines = path.read_bytes()
    log.settle()
    path.write_bytes(lines + encode([row_of(read_event(3))]))
    log.settle()
    assert numbers(tmp_path) == [0, 1, 2]
    assert names(tmp_path) == [".parquet"]


def test_a_torn_journal_becomes_a_segment_of_its_whole_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = history_files(tmp_path)
    for first in (0, 3, 6):
        log.append(events(first, 3), EPOCH)
    log.close()
    (_, path), *_ = journals(tmp_path / "history")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1].replace(b"alice", b"malic") + lines[2] + bytes(100))
    history_files(tmp_path).settle()
    assert numbers(tmp_path) == [0, 1, 2, 6, 7, 8]
    facts = next(record.__dict__["facts"] for record in caplog.records if record.message == "history journal torn")
    assert facts["lines"] == 2


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1 and then nothing for a while", b"no parquet " * 1000])
def test_what_is_no_parquet_is_skipped(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    segment(tmp_path, events(0, 3))
    (tmp_path / "x.parquet").write_bytes(content)
    history = open_history(tmp_path)
    assert [event["at"] for event in history.events()] != []
    assert [(one.path.name, one.why[:10]) for one in history.skipped] == [("x.parquet", "no Parquet")]
    assert "history skipped" in caplog.messages


def test_a_torn_segment_is_skipped_wherever_it_ends(tmp_path: Path) -> None:
    whole = segment(tmp_path, events(0, 100))
    content = whole.read_bytes()
    for length in range(0, len(content), 97):
        whole.write_bytes(content[:length])
        history = open_history(tmp_path)
        assert (history.rows, len(history.skipped)) == (0, 1)


def test_a_flipped_bit_anywhere_in_a_segment_is_found(tmp_path: Path) -> None:
    whole = segment(tmp_path, events(0, 100))
    content = whole.read_bytes()
    for at in range(0, len(content), 61):
        damaged = bytearray(content)
        damaged[at] ^= 4
        whole.write_bytes(damaged)
        assert "checksum" in open_history(tmp_path).skipped[0].why


def test_other_peoples_parquet_and_newer_schemas_are_skipped(tmp_path: Path) -> None:
    frame = schema.frame_of(events(0, 3))
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_parquet(tmp_path / "b.parquet", metadata={schema.META_VERSION: "2"})
    frame.drop("key").write_parquet(tmp_path / "c.parquet", metadata={schema.META_VERSION: "1"})
    frame.reverse().write_parquet(tmp_path / "d.parquet", metadata={schema.META_VERSION: "1"})
    more = frame.with_columns(pl.lit(1).alias("later"))
    more.write_parquet(tmp_path / "e.parquet", metadata={schema.META_VERSION: "1"})
    history = open_history(tmp_path)
    why = {one.path.name: one.why for one in history.skipped}
    assert why["a.parquet"] == "not written by tierproxy"
    assert "newer" in why["b.parquet"]
    assert "key" in why["c.parquet"]
    assert why["d.parquet"] == "not in time order"
    assert numbers(tmp_path) == [0, 1, 2]


def test_a_place_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TierproxyError, match="no history"):
        open_history(tmp_path / "nowhere")


def test_an_empty_place_is_an_empty_history(tmp_path: Path) -> None:
    history = open_history(tmp_path)
    assert history.span() is None
    assert history.scan().collect().schema == schema.TYPES
