"""Metadata on its way to alt and back."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierproxy.alt.metadata import CHECKSUMS, ETAG, PARTS, decoded, encoded, from_alt, to_alt
from tierproxy.model import Headers

names = st.one_of(
    st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.", min_size=1, max_size=12),
    st.sampled_from(["content-type", "expires", "storage-class", "tierproxy-etag", "tierproxy-name-x", "tierproxy-"]),
)
values = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=30), st.sampled_from(["=?UTF-8?B?eHg=?=", "=?x", " a "])
)


@given(st.text(st.characters(codec="utf-8")))
@settings(deadline=None)
def test_every_value_comes_back(value: str) -> None:
    assert decoded(encoded(value)) == value
    assert encoded(value).isascii()
    assert "\n" not in encoded(value)


@pytest.mark.parametrize("value", ["=?UTF-8?Q?gr=C3=BCn?=", "=?UTF-8?B?!!?=", "=?UTF-8?B?/w==?=", "plain"])
def test_another_writers_value_is_left_alone(value: str) -> None:
    assert decoded(value) == value


@given(st.dictionaries(names, values, max_size=5), st.lists(st.integers(0, 10), max_size=20))
@settings(deadline=None)
def test_everything_comes_back(metadata: dict[str, str], parts: list[int]) -> None:
    headers = Headers(content_type="a/b", expires="soon", metadata=metadata, checksums={"crc32": "AA=="})
    stored = to_alt(headers, "abc-2", tuple(parts), "k")
    found = from_alt(stored.system, stored.user)
    assert (found.headers, found.client_etag, found.parts) == (headers, "abc-2", tuple(parts))


def test_what_does_not_fit_is_left_out_parts_first(caplog: pytest.LogCaptureFixture) -> None:
    parts = tuple(range(5_000_000, 5_000_150))
    checksums = {"sha256": "x" * 40}
    with caplog.at_level(logging.WARNING):
        alone = to_alt(Headers(checksums=checksums), "abc-9", parts, "k")
        beside = to_alt(Headers(checksums=checksums, metadata={"a": "x" * 1000}), "abc-9", parts, "k")
        full = to_alt(Headers(checksums=checksums, metadata={"a": "x" * 2020}), "abc-9", parts, "k")
        no_room = to_alt(Headers(metadata={"a": "x" * 2047}), "abc-9", (), "k")
    assert set(alone.user) == {ETAG, PARTS, CHECKSUMS}
    assert set(beside.user) == {"a", ETAG, CHECKSUMS}
    assert set(full.user) == {"a", ETAG}
    assert set(no_room.user) == {"a"}
    assert len(caplog.records) == 4


def test_many_equal_parts_are_short() -> None:
    stored = to_alt(Headers(), None, (8_388_608,) * 9_999 + (17,), "k")
    assert stored.user[PARTS] == "9999x8388608,17"


@pytest.mark.parametrize("text", ["x", "1x", "ax5", "99999999x1,99999999x1", "5,,6,"])
def test_part_sizes_that_somebody_else_wrote_do_no_harm(text: str) -> None:
    assert len(from_alt({}, {PARTS: text}).parts) <= 10_000


def test_names_of_any_case_are_read() -> None:
    found = from_alt({"Content-Type": "a/b"}, {"Subject": "x", "Tierproxy-Etag": "e-1"})
    assert (found.headers.metadata, found.client_etag) == ({"subject": "x"}, "e-1")
