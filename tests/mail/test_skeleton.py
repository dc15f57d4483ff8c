"""The two ends of an sdbox file from its metadata: right to the byte, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mail.samples import GUID, KEY, MAIL, ends, sdbox
from tierproxy.mail.dbox import Start, Trailer, written
from tierproxy.mail.metadata import Whose, described, facts_of, said
from tierproxy.mail.skeleton import skeleton


def facts(content: bytes, client: dict[str, str] | None = None) -> dict[str, str]:
    mail = said(KEY, ends(content))
    assert mail is not None
    return facts_of(described(mail, Whose(), 0, client or {}))


@settings(max_examples=150, deadline=None)
@given(
    message=st.binary(max_size=500) | st.just(MAIL), received=st.integers(0, 2**33), created=st.integers(0, 2**33),
    virtual=st.integers(0, 2**40),
)  # fmt: skip
def test_the_ends_are_those_of_the_file(message: bytes, received: int, created: int, virtual: int) -> None:
    content = written(message, created=created, received=received, guid=GUID, virtual=virtual)
    made = skeleton(facts(content), len(content))
    assert made is not None
    assert content.startswith(made.head)
    assert content.endswith(made.tail)
    assert len(made.head) + len(message) + len(made.tail) == len(content) == made.size


def test_a_file_of_another_form_has_no_skeleton() -> None:
    others = (
        (("R", "01"), ("V", "2"), ("G", GUID)),
        (("R", "1"), ("V", "A"), ("G", GUID)),
        (("R", "1"), ("V", "2"), ("P", "ü"), ("G", GUID)),
        (("R", "1"), ("V", "2"), ("P", "u" * 101), ("G", GUID)),
        (("R", "1"), ("V", "2"), ("G", GUID), ("B", "INBOX")),
        (("R", "1"), ("R", "2"), ("V", "2"), ("G", GUID)),
        (("R", "1"), ("V", "2"), ("G", GUID.upper())),
        (("R", "1"), ("V", "2"), ("G", GUID), ("X", "0 1 B a/b")),
    )
    for lines in others:
        content = bytes(Start("1", 0, 3)) + b"abc" + bytes(Trailer(lines))
        assert skeleton(facts(content), len(content)) is None, lines
    small = sdbox().replace(b"000F", b"000f") if b"000F" in sdbox() else sdbox().replace(b"2 M1e", b"2 M1E", 1)
    assert skeleton(facts(small), len(small)) is None


@pytest.mark.parametrize(
    "lines",
    [
        (("R", "1"), ("G", GUID), ("V", "2")),
        (("V", "2"), ("G", GUID)),
        (("R", "1"), ("V", "2"), ("P", "a uidl"), ("O", "17"), ("G", GUID)),
        (("R", "1"), ("V", "2"), ("G", GUID), ("P", "=?uidl")),
        (("Z", "ff"), ("R", "1"), ("V", "2"), ("G", GUID)),
    ],
)
def test_other_lines_in_their_own_order_are_made_again(lines: tuple[tuple[str, str], ...]) -> None:
    content = bytes(Start("1", 0, 3)) + b"abc" + bytes(Trailer(lines))
    made = skeleton(facts(content), len(content))
    assert made is not None
    assert made.head + b"abc" + made.tail == content


@pytest.mark.parametrize("name", ["created", "size", "received", "vsize", "guid", "ends"])
def test_a_fact_that_is_wrong_or_missing_makes_none(name: str) -> None:
    content = sdbox()
    found = facts(content)
    assert skeleton(found, len(content)) is not None
    for value in ("", "0", "x", "1" * 100, "-1", "١"):
        assert skeleton(found | {name: value}, len(content)) is None
    del found[name]
    assert skeleton(found, len(content)) is None


def test_a_clients_own_word_makes_none() -> None:
    assert skeleton(facts(sdbox(), {"mail-size": "12"}), len(sdbox())) is None


def test_the_size_of_the_object_must_fit() -> None:
    assert skeleton(facts(sdbox()), len(sdbox()) + 1) is None
