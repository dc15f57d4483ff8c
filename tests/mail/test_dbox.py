"""The sdbox file format, byte for byte."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mail.samples import GUID, MAIL, sdbox
from tierproxy.mail.dbox import HEAD, TAIL, NotDbox, Start, Trailer, start_of, trailer_in, virtual_size, written

SEEN = (
    b"2 M1e C6b01d1df\n\x01\x02N          0000000000000009\nSubject:\n"
    b"\n\x01\x03\nR6b01d1df\nV9729\nG5f1a0b72c3d4e5f60718293a4b5c6d7e\n\n"
)
"""What Dovecot 2.3.19 and 2.4.1 write, with a shorter message."""


def parsed(content: bytes) -> tuple[Start, Trailer | None]:
    start = start_of(content[:HEAD])
    return start, trailer_in(start, len(content), content[-TAIL:])


def test_a_file_that_dovecot_wrote_is_read() -> None:
    start, trailer = parsed(SEEN)
    assert (start.created, start.begin, start.size) == ("6b01d1df", 46, 9)
    assert trailer is not None
    assert trailer.number("R") == 0x6B01D1DF
    assert trailer.number("V") == 0x9729
    assert trailer.value("G") == GUID
    assert bytes(start) == SEEN[:46]
    assert bytes(trailer) == SEEN[55:]
    assert len(bytes(trailer)) == 55


def test_a_file_is_written_as_dovecot_writes_it() -> None:
    content = written(b"Subject:\n", created=0x6B01D1DF, received=0x6B01D1DF, guid=GUID, virtual=0x9729)
    assert content == SEEN


def test_the_virtual_size_counts_line_ends_as_two_bytes() -> None:
    assert virtual_size(b"a\nb\r\n\n") == 8


def test_lines_of_other_letters_are_kept_in_order() -> None:
    lines = (
        ("Z", "1f"),
        ("R", "1"),
        ("V", "2"),
        ("P", "uidl 1"),
        ("O", "7"),
        ("G", GUID),
        ("B", "Entwürfe"),
        ("X", "a:b"),
    )
    content = bytes(Start("1", 0, 3)) + b"abc" + bytes(Trailer(lines))
    assert parsed(content)[1] == Trailer(lines)


def test_a_trailer_that_begins_before_the_tail_is_not_known() -> None:
    trailer = Trailer((("R", "1"), ("X", "x" * 2 * TAIL)))
    content = bytes(Start("1", 0, 3)) + b"abc" + bytes(trailer)
    assert parsed(content)[1] is None
    start = start_of(content[:HEAD])
    assert trailer_in(start, len(content), content) == trailer


def test_a_longer_message_header_is_read_as_long_as_it_says() -> None:
    head = b"2 M20 C1\n\x01\x02N          0000000000000003  \n"
    assert start_of(head + b"abc").begin == len(head)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"2", b"2 M1e C1", b"1 M1e C1\n" + SEEN[16:], b"2 M1d C1\n" + SEEN[16:], b"2 C1\n" + SEEN[16:], SEEN[:40],
        b"2 M1e" + b" C1" * 1000 + b"\n" + SEEN[16:], SEEN[:16] + b"\x01\x03" + SEEN[18:],
        SEEN.replace(b"09\n", b"0g\n"), SEEN.replace(b"09\n", b"0a\n"), SEEN.replace(b"09\n", b"ff\n"), SEEN[:-1],
        SEEN + b"x\n\n", SEEN + b"\n",
        SEEN.replace(b"\x01\x03", b"\x01\x04"), b"2 M" + b"f" * 16 + b" C1\n" + SEEN[16:], b"\x1f\x8b" + SEEN,
    ],
)  # fmt: skip
def test_what_is_damaged_is_refused(content: bytes) -> None:
    with pytest.raises(NotDbox):
        parsed(content)


MESSAGES = st.one_of(
    st.binary(max_size=300), st.just(MAIL), st.just(b"\n\x01\x03\n\n"), st.binary(min_size=9000, max_size=9010)
)


@settings(max_examples=150, deadline=None)
@given(
    message=MESSAGES,
    received=st.integers(0, 2**40),
    created=st.integers(0, 2**32),
    guid=st.from_regex(r"[0-9a-f]{32}", fullmatch=True),
)
def test_what_is_written_is_read_again(message: bytes, received: int, created: int, guid: str) -> None:
    content = written(message, created=created, received=received, guid=guid)
    start, trailer = parsed(content)
    assert content[start.begin : start.end] == message
    assert trailer is not None
    assert (trailer.number("R"), trailer.number("V"), trailer.value("G")) == (received, virtual_size(message), guid)
    assert bytes(start) + message + bytes(trailer) == content


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_bytes_raise_anything_else(data: st.DataObject) -> None:
    content = bytearray(sdbox(data.draw(MESSAGES)))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.integers(0, 20))] = data.draw(st.binary(max_size=20))
    with suppress(NotDbox):
        parsed(bytes(content))
