"""The sdbox file a mail becomes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.importing.rigs import HELLO, HELLO_LF, body
from tierproxy.importing import parcels
from tierproxy.importing.parcels import lines_lf, verbatim, wrapped
from tierproxy.mail.dbox import start_of, trailer_of, virtual_size, written

GUID = "0123456789abcdef0123456789abcdef"


def pieces(content: bytes, size: int) -> Iterator[bytes]:
    yield from (content[at : at + size] for at in range(0, len(content), size))


def test_it_is_byte_for_byte_what_dovecot_writes() -> None:
    made = wrapped(lambda: pieces(HELLO, 7), 0x6B01D1DF, GUID)
    assert body(made) == (
        b"2 M1e C6b01d1df\n\x01\x02N          %016X\n" % len(HELLO_LF) + HELLO_LF
        + b"\n\x01\x03\nR6b01d1df\nV%x\nG%s\n\n" % (len(HELLO), GUID.encode())
    )  # fmt: skip
    assert body(made) == written(HELLO_LF, created=0x6B01D1DF, received=0x6B01D1DF, guid=GUID)


texts = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"bc"]), max_size=40).map(b"".join)


@settings(max_examples=200, deadline=None)
@given(texts, st.integers(1, 9), st.booleans())
def test_any_line_ends_in_any_blocks_make_a_right_file(content: bytes, size: int, small: bool) -> None:
    kept, parcels.KEPT = parcels.KEPT, parcels.KEPT if small else 0
    try:
        made = wrapped(lambda: pieces(content, size), 5, GUID)
        file = body(made)
    finally:
        parcels.KEPT = kept
    start = start_of(file)
    message, trailer = file[start.begin : start.end], trailer_of(file[start.end :])
    assert message == content.replace(b"\r\n", b"\n")
    assert trailer.number("V") == virtual_size(message)
    assert (made.size, made.md5) == (len(file), hashlib.md5(file, usedforsecurity=False).hexdigest())


def test_a_carriage_return_at_the_very_end_stays() -> None:
    assert b"".join(lines_lf(iter([b"a\r", b"\nb\r"]))) == b"a\nb\r"


def test_the_pop3_name_of_a_mail_is_kept() -> None:
    assert b"\nPold-uidl\n" in body(wrapped(lambda: iter([HELLO]), 5, GUID, "old-uidl"))


def test_a_large_mail_is_read_again_instead_of_kept() -> None:
    reads: list[int] = []

    def content() -> Iterator[bytes]:
        reads.append(1)
        return iter([b"x" * 100_000] * 4)

    made = wrapped(content, 5, GUID)
    before = len(reads)
    assert len(body(made)) == made.size
    assert len(reads) == before + 1


def test_a_file_as_it_is_has_its_own_digest() -> None:
    made = verbatim(lambda: iter([b"abc", b"def"]), GUID, 5)
    assert (made.size, made.md5) == (6, hashlib.md5(b"abcdef", usedforsecurity=False).hexdigest())
    assert body(made) == b"abcdef"
