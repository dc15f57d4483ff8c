"""The format others read: it does not change by accident."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.history.rigs import events, read_event
from tierproxy.disk.fsio import Files
from tierproxy.errors import TierproxyError
from tierproxy.history import schema
from tierproxy.history.names import check_of, segments
from tierproxy.history.reading import open_history
from tierproxy.history.rows import event_of, object_id, row_of
from tierproxy.history.segments import SegmentWriter, write
from tierproxy.model import ObjectName
from tierproxy.traffic import Event, EventKind

PINNED = {
    "at": "Datetime(time_unit='us', time_zone='UTC')", "kind": "Categorical", "bucket": "Categorical", "key": "String",
    "object": "UInt64", "owner": "String", "folder": "Categorical", "size": "Int64", "sent": "Int64",
    "outcome": "Categorical", "reason": "Categorical", "client": "String", "by": "Categorical", "first": "Boolean",
}  # fmt: skip
PAGE = Path("docs/history.md")


def test_columns_and_types_are_those_of_version_1() -> None:
    assert schema.VERSION == 1
    assert {name: re.sub(r"Categorical.*", "Categorical", str(type_)) for name, type_ in schema.TYPES.items()} == PINNED


def test_the_number_of_an_object_is_what_the_documentation_says() -> None:
    assert object_id("mail", "a/b") == 5836689588247012785


def test_every_column_is_documented_with_its_help() -> None:
    page = PAGE.read_text()
    missing = [
        column.name for column in schema.COLUMNS if f"| `{column.name}` |" not in page or column.help not in page
    ]
    assert missing == []


def test_a_segment_says_its_schema_node_and_source(tmp_path: Path) -> None:
    path = write(tmp_path, schema.frame_of(events(0, 3)), files=Files(), node="here")
    said = pl.read_parquet_metadata(path)
    assert said[schema.META_VERSION] == "1"
    assert said[schema.META_NODE] == "here"
    assert said[schema.META_SOURCE] == "node"
    assert pl.read_parquet_schema(path) == schema.TYPES


def test_a_segment_is_called_by_its_times_and_its_checksum(tmp_path: Path) -> None:
    path = write(tmp_path, schema.frame_of(events(0, 3)), files=Files(), source="nginx")
    assert re.fullmatch(r"1700000000000-1700000002000-nginx\.[0-9a-f]{16}\.parquet", path.name)
    assert [segment.source for segment in segments(tmp_path)] == ["nginx"]
    assert check_of(path) is not None


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
EVENTS = st.builds(
    Event, st.integers(0, 4_000_000_000).map(float), st.sampled_from(EventKind),
    st.builds(ObjectName, TEXTS, TEXTS), owner=TEXTS, folder=TEXTS, size=st.integers(0, 2**53),
    sent=st.integers(0, 2**53), outcome=TEXTS, reason=TEXTS, client=TEXTS, by=TEXTS, first=st.booleans(),
)  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(st.lists(EVENTS, max_size=20))
def test_what_goes_into_a_frame_comes_out_of_it(given_events: list[Event]) -> None:
    frame = schema.frame_of(given_events)
    assert dict(frame.schema) == schema.TYPES
    rows = frame.with_columns(pl.col("at").dt.epoch("us")).drop("object").rows()
    assert [event_of(row) for row in rows] == given_events


def test_a_row_is_an_event() -> None:
    assert event_of(row_of(read_event(7))) == read_event(7)


def test_a_segment_is_in_time_order_whatever_the_order_of_its_events(tmp_path: Path) -> None:
    write(tmp_path, schema.frame_of([read_event(2), read_event(0), read_event(1)]), files=Files())
    assert [event["at"] for event in open_history(tmp_path).events()] == sorted(row_of(e)[0] for e in events(0, 3))


def test_a_stream_of_any_length_becomes_segments_of_the_given_length(tmp_path: Path) -> None:
    with SegmentWriter(tmp_path / "a" / "b", Files(), source="generated", rows=10) as out:
        out.extend(events(0, 25))
        out.add_frame(schema.frame_of(events(25, 20)))
    assert out.events == 45
    assert [len(pl.read_parquet(path)) for path in sorted(out.written)] == [10, 10, 10, 10, 5]
    assert open_history(tmp_path / "a" / "b").rows == 45


def test_a_stream_that_breaks_off_writes_no_half_segment(tmp_path: Path) -> None:
    def broken() -> None:
        with SegmentWriter(tmp_path / "x", Files(), source="generated", rows=10) as out:
            out.extend(events(0, 15))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    assert open_history(tmp_path / "x").rows == 10


def test_only_the_node_writes_without_a_source(tmp_path: Path) -> None:
    with pytest.raises(TierproxyError, match="source"):
        SegmentWriter(tmp_path, Files(), source="")
