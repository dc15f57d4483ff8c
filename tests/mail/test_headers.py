"""Header lines, one pass over them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierproxy.mail.headers import LONGEST, MOST, fields, telling

WANTED = {b"subject", b"from"}


@pytest.mark.parametrize(
    ("block", "subject"),
    [
        (b"Subject: a\r\n b\r\n\tc\r\n\r\n", b"a b\tc"),
        (b"X: y\nSubject:a\n\n", b"a"),
        (b"Subject: a\0b\rc\n\n", b"a b c"),
        (b"SUBJECT \t: a\n\n", b"a"),
        (b"nonsense\nSubject: a\n\n", b"a"),
        (b"From alice Mon Jan  6 08:00:00 2025\nSubject: a\n\n", b"a"),
        (b"Subject: \n\n", b""),
        (b"Subject: a\nSubject: b\n\n", b"a"),
    ],
)
def test_a_value_is_on_one_line(block: bytes, subject: bytes) -> None:
    assert fields(block, WANTED) == {b"subject": subject}


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"\nSubject: a\n",
        b"X: y\n\nSubject: a\n",
        b"X: y\r\n\r\nSubject: a\r\n",
        b"Subject: cut o",
        b"Subject: cut\n",
    ],
)
def test_the_body_and_what_is_cut_off_are_not_looked_at(block: bytes) -> None:
    assert fields(block, WANTED) == {}


def test_no_more_of_a_value_is_taken_than_set() -> None:
    assert fields(b"Subject: " + b"x" * 10 * LONGEST, WANTED) == {b"subject": b"x" * (LONGEST - 1)}


def test_no_more_lines_are_looked_at_than_set() -> None:
    assert fields(b"X: y\n" * (MOST - 1) + b"Subject: a\n\n", WANTED) == {b"subject": b"a"}
    assert fields(b"X: y\n" * MOST + b"Subject: a\n\n", WANTED) == {}


def test_a_mail_has_two_of_the_lines_every_mail_has() -> None:
    assert telling(b"Received: x\n\ty\nFrom: a\n\n")
    assert telling(b"From alice Mon\nDate: x\nTo: b\n\n")
    assert not telling(b"From: a\nfrom: b\n\n")
    assert not telling(b"x\nDate: x\nTo: b\n\n")


@settings(max_examples=300, deadline=None)
@given(block=st.binary(max_size=300) | st.text("abS:\n\r\t \0", max_size=60).map(str.encode))
def test_no_bytes_are_too_odd(block: bytes) -> None:
    assert all(b"\n" not in value for value in fields(block, {b"a", b"b", b"s"}).values())
    telling(block)
