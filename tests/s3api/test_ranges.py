"""Byte ranges (RFC 9110 14)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierproxy.errors import RangeUnsatisfiable
from tierproxy.model import ByteRange, Entry, ObjectName, RangeSpec, State
from tierproxy.s3api.faults import S3Error
from tierproxy.s3api.ranges import content_range, parse_copy_range, parse_range, part_range, resolve, resolve_copy


def entry(size: int, parts: tuple[int, ...] = ()) -> Entry:
    return Entry(ObjectName("mail", "a"), 1, State.CLEAN, size, "e", 0.0, parts=parts)


@pytest.mark.parametrize(
    ("text", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-99", 0, 10),
        ("bytes=3-5", 3, 6),
        ("bytes=9-", 9, 10),
        ("bytes=-3", 7, 10),
        ("bytes=-99", 0, 10),
        ("BYTES = 1 - 2", 1, 3),
    ],
)
def test_a_range_is_cut_to_the_object(text: str, start: int, stop: int) -> None:
    spec = parse_range(text)
    assert spec is not None
    assert resolve(spec, 10) == ByteRange(start, stop)


@pytest.mark.parametrize(
    "text",
    [None, "", "bytes", "bytes=", "bytes=-", "bytes=5-3", "bytes=0-1,3-4", "lines=0-1", "bytes=a-b", "bytes=+1-2",
     "bytes=1", "bytes=-1-2", "0-1", "bytes=0-1;", "bytes=" + "9" * 30 + "-", "bytes=٣-٤"],
)  # fmt: skip
def test_several_ranges_and_nonsense_are_ignored(text: str | None) -> None:
    assert parse_range(text) is None


@pytest.mark.parametrize(
    ("text", "size"), [("bytes=10-", 10), ("bytes=10-20", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-5", 0)]
)
def test_a_range_beyond_the_end_cannot_be_satisfied(text: str, size: int) -> None:
    spec = parse_range(text)
    assert spec is not None
    with pytest.raises(RangeUnsatisfiable) as refused:
        resolve(spec, size)
    assert refused.value.size == size


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 50), st.integers(0, 60), st.integers(0, 60))
def test_a_range_delivers_what_a_slice_would(size: int, first: int, last: int) -> None:
    body = bytes(range(size))
    for text, expected in (
        (f"bytes={first}-{last}", body[first : last + 1] if last >= first else None),
        (f"bytes={first}-", body[first:]),
        (f"bytes=-{last}", body[max(0, size - last) :]),
    ):
        spec = parse_range(text)
        if expected is None:
            assert spec is None
        elif not expected:
            assert spec is not None
            with pytest.raises(RangeUnsatisfiable):
                resolve(spec, size)
        else:
            assert spec is not None
            chosen = resolve(spec, size)
            assert body[chosen.start : chosen.stop] == expected


def test_content_range_counts_inclusively() -> None:
    assert content_range(ByteRange(0, 1), 10) == b"bytes 0-0/10"


def test_parts_follow_each_other() -> None:
    whole = entry(12, (5, 5, 2))
    assert [part_range(whole, number) for number in (1, 2, 3)] == [ByteRange(0, 5), ByteRange(5, 10), ByteRange(10, 12)]
    assert part_range(entry(7), 1) == ByteRange(0, 7)
    assert part_range(entry(0), 1) is None


@pytest.mark.parametrize(("parts", "number"), [((), 2), ((5, 7), 3), ((5, 7), 0), ((), -1)])
def test_a_part_that_is_not_there_is_a_416(parts: tuple[int, ...], number: int) -> None:
    with pytest.raises(S3Error) as refused:
        part_range(entry(12, parts), number)
    assert refused.value.status == 416


def test_the_range_of_a_copy_source_must_lie_within_it() -> None:
    assert resolve_copy(parse_copy_range("bytes=2-9"), 10) == ByteRange(2, 10)
    with pytest.raises(S3Error):
        resolve_copy(parse_copy_range("bytes=2-10"), 10)
    for text in ("bytes=2-", "bytes=-2", "2-3", ""):
        with pytest.raises(S3Error):
            parse_copy_range(text)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=20) | st.from_regex(r"bytes=[0-9,-]{0,12}", fullmatch=True))
def test_no_text_makes_the_parser_stumble(text: str) -> None:
    spec = parse_range(text)
    assert spec is None or isinstance(spec, RangeSpec)
