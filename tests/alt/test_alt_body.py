"""The promise of a body's length, and where listings go on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tierproxy.alt.body import S3Body
from tierproxy.alt.listing import LAST, start_after
from tierproxy.errors import AltCorrupt, AltUnavailable
from tierproxy.model import AltObject, ByteRange, ListRequest, ObjectName

META = AltObject(ObjectName("mail", "k"), 10, "etag", 0.0)


async def pieces(*sizes: int) -> AsyncIterator[bytes]:
    for size in sizes:
        yield b"x" * size


def body(*sizes: int) -> S3Body:
    return S3Body(META, ByteRange(0, 10), pieces(*sizes), piece_timeout=1)


async def test_a_body_of_the_right_length_ends_well() -> None:
    assert b"".join([chunk async for chunk in body(4, 6).chunks()]) == b"x" * 10


@pytest.mark.parametrize("sizes", [(), (4,), (4, 5), (4, 7), (11,), (10, 1)])
async def test_a_body_of_another_length_is_corrupt(sizes: tuple[int, ...]) -> None:
    seen: list[bytes] = []

    async def read() -> None:
        async for chunk in body(*sizes).chunks():
            seen.append(chunk)  # noqa: PERF401 -- what came before the error counts

    with pytest.raises(AltCorrupt):
        await read()
    assert len(b"".join(seen)) <= 10


async def test_a_body_closed_while_it_is_read_does_not_look_whole() -> None:
    one = body(4, 6)
    chunks = one.chunks()
    await anext(chunks)
    await one.close()
    with pytest.raises(AltUnavailable):
        await anext(chunks)


@pytest.mark.parametrize(
    ("after", "expected"),
    [("", ""), ("p/k", "p/k"), ("p/a/", "p/a/" + LAST), ("p/", "p/"), ("o/", "o/")],
)
def test_a_listing_goes_on_behind_a_whole_common_prefix(after: str, expected: str) -> None:
    assert start_after(ListRequest("mail", "p/", "/", after)) == expected
