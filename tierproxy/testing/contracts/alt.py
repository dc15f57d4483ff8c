"""What every alt tier promises (``tierproxy.ports.AltTier``).

Each promise is an ``async def`` that takes a ``Rig``; run every one of ``PROMISES`` on a rig of its own:

    @pytest.mark.parametrize("promise", PROMISES, ids=name)
    async def test_alt_contract(promise):
        async with my_rig() as rig:
            await promise(rig)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from tierproxy.errors import AltCorrupt, AltMissing, AltPrecondition, AltUnavailable, RangeUnsatisfiable
from tierproxy.model import ByteRange, ListRequest
from tierproxy.testing.contracts.alt_listing import LISTINGS
from tierproxy.testing.contracts.alt_rig import AWKWARD, BODY, PLAIN, RICH, Promise, Rig, md5
from tierproxy.testing.faults import BytesSource

__all__ = ["PROMISES", "Promise", "Rig", "name"]


async def what_is_put_is_got_byte_for_byte(rig: Rig) -> None:
    for size in (0, 1, 255, 65_536, 300_001):
        body = (BODY * 5)[:size]
        etag = await rig.put(f"size-{size}", body)
        assert etag == md5(body)
        assert await rig.read(f"size-{size}") == body
        meta = await rig.alt.head(rig.name(f"size-{size}"))
        assert (meta.name, meta.size, meta.etag, meta.client_etag) == (rig.name(f"size-{size}"), size, etag, None)


async def a_source_that_is_not_in_memory_is_read(rig: Rig) -> None:
    await rig.alt.put(rig.name("k"), BytesSource(BODY, in_memory=False), PLAIN, md5=md5(BODY))
    assert await rig.read("k") == BODY


async def all_headers_come_back(rig: Rig) -> None:
    await rig.put("k", headers=RICH)
    assert (await rig.alt.head(rig.name("k"))).headers == RICH
    body = await rig.alt.get(rig.name("k"))
    assert body.meta.headers == RICH
    await body.close()


async def the_clients_etag_and_parts_come_back(rig: Rig) -> None:
    parts = (5_242_880, 5_242_880, 17)
    alt_etag = await rig.alt.put(rig.name("k"), BytesSource(BODY), PLAIN, md5=md5(BODY), etag="abc-3", parts=parts)
    meta = await rig.alt.head(rig.name("k"))
    assert (meta.etag, meta.client_etag, meta.parts, meta.headers) == (alt_etag, "abc-3", parts, PLAIN)


async def a_missing_object_is_missing(rig: Rig) -> None:
    for call in (rig.alt.get(rig.name("none")), rig.alt.head(rig.name("none"))):
        with pytest.raises(AltMissing):
            await call


async def an_overwrite_replaces_everything(rig: Rig) -> None:
    await rig.put("k", b"old", RICH)
    await rig.put("k", b"newer")
    meta = await rig.alt.head(rig.name("k"))
    assert (await rig.read("k"), meta.headers) == (b"newer", PLAIN)


async def ranges_are_half_open_and_clipped(rig: Rig) -> None:
    await rig.put("k")
    for start, stop in ((0, 1), (0, len(BODY)), (100, 70_000), (len(BODY) - 1, len(BODY)), (5, len(BODY) + 1000)):
        body = await rig.alt.get(rig.name("k"), ByteRange(start, stop))
        assert body.range == ByteRange(start, min(stop, len(BODY)))
        assert body.meta.size == len(BODY)
        assert b"".join([chunk async for chunk in body.chunks()]) == BODY[start:stop]
        await body.close()


async def a_range_beyond_the_end_says_the_size(rig: Rig) -> None:
    await rig.put("k")
    await rig.put("empty", b"")
    for key, size in (("k", len(BODY)), ("empty", 0)):
        with pytest.raises(RangeUnsatisfiable) as caught:
            await rig.alt.get(rig.name(key), ByteRange(size, size + 1))
        assert caught.value.size == size


async def a_read_can_demand_an_etag(rig: Rig) -> None:
    etag = await rig.put("k")
    await (await rig.alt.get(rig.name("k"), etag=etag)).close()
    with pytest.raises(AltPrecondition):
        await rig.alt.get(rig.name("k"), etag=md5(b"another"))


async def create_does_not_overwrite(rig: Rig) -> None:
    source = BytesSource(b"second")
    await rig.alt.put(rig.name("new"), source, PLAIN, md5=md5(b"second"), create=True)
    await rig.put("k", b"first")
    with pytest.raises(AltPrecondition):
        await rig.alt.put(rig.name("k"), source, PLAIN, md5=md5(b"second"), create=True)
    assert await rig.read("k") == b"first"


async def match_overwrites_only_that_etag(rig: Rig) -> None:
    etag = await rig.put("k", b"first")
    source = BytesSource(b"second")
    for key in ("k", "none"):
        with pytest.raises(AltPrecondition):
            await rig.alt.put(rig.name(key), source, PLAIN, md5=md5(b"second"), match=md5(b"other"))
    assert await rig.read("k") == b"first"
    await rig.alt.put(rig.name("k"), source, PLAIN, md5=md5(b"second"), match=etag)
    assert await rig.read("k") == b"second"


async def of_many_creators_one_wins(rig: Rig) -> None:
    async def create(number: int) -> bool:
        body = b"%d" % number
        try:
            await rig.alt.put(rig.name("k"), BytesSource(body), PLAIN, md5=md5(body), create=True)
        except AltPrecondition:
            return False
        return True

    won = await asyncio.gather(*(create(number) for number in range(8)))
    assert sum(won) == 1
    assert await rig.read("k") == b"%d" % won.index(True)


async def wrong_bytes_are_noticed_when_they_are_there(rig: Rig) -> None:
    with pytest.raises(AltCorrupt):
        await rig.alt.put(rig.name("k"), BytesSource(b"these"), PLAIN, md5=md5(b"those"))
    found = await rig.alt.head(rig.name("k"))
    assert (found.etag, found.client_etag) == (md5(b"these"), None)


async def a_large_object_goes_in_parts(rig: Rig) -> None:
    body = BODY * (rig.threshold // len(BODY) + 2)
    etag = await rig.alt.put(rig.name("k"), BytesSource(body, in_memory=False), RICH, md5=md5(body))
    meta = await rig.alt.head(rig.name("k"))
    assert "-" in etag
    assert (meta.etag, meta.client_etag, meta.size, meta.headers) == (etag, md5(body), len(body), RICH)
    assert md5(await rig.read("k")) == md5(body)


async def a_large_object_is_not_created_over_another(rig: Rig) -> None:
    body = BODY * (rig.threshold // len(BODY) + 2)
    etag = await rig.put("k", b"first")
    for condition in ({"create": True}, {"match": md5(b"other")}):
        with pytest.raises(AltPrecondition):
            await rig.alt.put(rig.name("k"), BytesSource(body), PLAIN, md5=md5(body), **condition)
    assert await rig.read("k") == b"first"
    await rig.alt.put(rig.name("k"), BytesSource(body), PLAIN, md5=md5(body), match=etag)
    assert (await rig.alt.head(rig.name("k"))).size == len(body)


async def a_stream_is_stored_at_its_end(rig: Rig) -> None:
    for count in (0, 1, rig.threshold // len(BODY) + 2):
        etag = await rig.alt.put_stream(rig.name(f"k{count}"), _stream(count), RICH)
        meta = await rig.alt.head(rig.name(f"k{count}"))
        assert (meta.size, meta.etag, meta.headers) == (count * len(BODY), etag, RICH)
        assert await rig.read(f"k{count}") == BODY * count


async def a_stream_that_breaks_leaves_nothing(rig: Rig) -> None:
    for count in (0, 1, rig.threshold // len(BODY) + 2):
        with pytest.raises(ConnectionResetError):
            await rig.alt.put_stream(rig.name("k"), _stream(count, ConnectionResetError("client left")), PLAIN)
        with pytest.raises(AltMissing):
            await rig.alt.head(rig.name("k"))


async def a_stream_that_breaks_leaves_the_old_object(rig: Rig) -> None:
    await rig.put("k", b"first")
    with pytest.raises(ConnectionResetError):
        await rig.alt.put_stream(rig.name("k"), _stream(3, ConnectionResetError("client left")), PLAIN)
    assert await rig.read("k") == b"first"


async def a_stream_is_not_stored_over_another_object(rig: Rig) -> None:
    for count in (1, rig.threshold // len(BODY) + 2):
        etag = await rig.put("k", b"first")
        for condition in ({"create": True}, {"match": md5(b"other")}):
            with pytest.raises(AltPrecondition):
                await rig.alt.put_stream(rig.name("k"), _stream(count), PLAIN, **condition)
        assert await rig.read("k") == b"first"
        await rig.alt.put_stream(rig.name("k"), _stream(count), PLAIN, match=etag)
        await rig.alt.put_stream(rig.name(f"new{count}"), _stream(count), PLAIN, create=True)
        for key in ("k", f"new{count}"):
            assert (await rig.alt.head(rig.name(key))).size == count * len(BODY)


async def a_delete_can_be_said_twice(rig: Rig) -> None:
    await rig.put("k")
    await rig.alt.delete(rig.name("k"))
    await rig.alt.delete(rig.name("k"))
    with pytest.raises(AltMissing):
        await rig.alt.head(rig.name("k"))


async def a_copy_keeps_or_replaces_headers(rig: Rig) -> None:
    etag = await rig.put("k", headers=RICH)
    await rig.alt.copy(rig.name("k"), rig.name("kept"), None, match=etag)
    await rig.alt.copy(rig.name("k"), rig.name("replaced"), PLAIN)
    for key, headers in (("kept", RICH), ("replaced", PLAIN), ("k", RICH)):
        meta = await rig.alt.head(rig.name(key))
        assert (meta.headers, meta.size) == (headers, len(BODY))
        assert await rig.read(key) == BODY


async def a_copy_has_its_own_client_etag(rig: Rig) -> None:
    await rig.alt.put(rig.name("k"), BytesSource(BODY), RICH, md5=md5(BODY), etag="abc-2", parts=(5, 6))
    await rig.alt.copy(rig.name("k"), rig.name("none"), None)
    await rig.alt.copy(rig.name("k"), rig.name("own"), None, etag="def-2")
    none, own = await rig.alt.head(rig.name("none")), await rig.alt.head(rig.name("own"))
    assert (none.client_etag, none.headers, none.parts) == (None, RICH, ())
    assert (own.client_etag, own.headers) == ("def-2", RICH)


async def a_copy_onto_itself_replaces_headers(rig: Rig) -> None:
    await rig.put("k", headers=RICH)
    await rig.alt.copy(rig.name("k"), rig.name("k"), PLAIN)
    assert (await rig.alt.head(rig.name("k"))).headers == PLAIN
    assert await rig.read("k") == BODY


async def a_copy_demands_the_right_source(rig: Rig) -> None:
    await rig.put("k")
    with pytest.raises(AltUnavailable):
        await rig.alt.copy(rig.name("k"), rig.name("to"), None, match=md5(b"other"))
    with pytest.raises(AltMissing):
        await rig.alt.copy(rig.name("none"), rig.name("to"), None)
    with pytest.raises(AltMissing):
        await rig.alt.head(rig.name("to"))


async def a_copy_of_what_is_known_is_the_same(rig: Rig) -> None:
    await rig.alt.put(rig.name("k"), BytesSource(BODY), RICH, md5=md5(BODY), etag="abc-2", parts=(5, 6))
    known = await rig.alt.head(rig.name("k"))
    await rig.alt.copy(rig.name("k"), rig.name("kept"), None, known=known)
    await rig.alt.copy(rig.name("k"), rig.name("own"), PLAIN, etag="def-2", match=known.etag, known=known)
    kept, own = await rig.alt.head(rig.name("kept")), await rig.alt.head(rig.name("own"))
    assert (kept.client_etag, kept.headers, kept.parts, own.client_etag, own.headers) == (
        None,
        RICH,
        (),
        "def-2",
        PLAIN,
    )
    assert [await rig.read(key) for key in ("kept", "own")] == [BODY, BODY]


async def a_copy_of_what_is_wrongly_known_is_not_made(rig: Rig) -> None:
    etag = await rig.put("k", b"before")
    known = await rig.alt.head(rig.name("k"))
    await rig.put("k", b"after!")
    for target in ("to", "k"):
        with pytest.raises(AltUnavailable):
            await rig.alt.copy(rig.name("k"), rig.name(target), PLAIN, match=etag, known=known)
    await rig.alt.delete(rig.name("k"))
    with pytest.raises(AltMissing):
        await rig.alt.copy(rig.name("k"), rig.name("to"), PLAIN, match=etag, known=known)
    with pytest.raises(AltMissing):
        await rig.alt.head(rig.name("to"))


async def a_copy_is_not_made_over_another_object(rig: Rig) -> None:
    etag = await rig.put("k")
    held = await rig.put("held", b"first")
    for key, condition in (
        ("held", {"create": True}),
        ("held", {"target_match": etag}),
        ("none", {"target_match": etag}),
    ):
        with pytest.raises(AltPrecondition):
            await rig.alt.copy(rig.name("k"), rig.name(key), None, match=etag, **condition)
    assert await rig.read("held") == b"first"
    with pytest.raises(AltMissing):
        await rig.alt.head(rig.name("none"))
    await rig.alt.copy(rig.name("k"), rig.name("new"), None, match=etag, create=True)
    await rig.alt.copy(rig.name("k"), rig.name("held"), None, match=etag, target_match=held)
    assert [await rig.read(key) for key in ("new", "held")] == [BODY, BODY]


async def an_etag_is_an_md5_unless_alt_says_otherwise(rig: Rig) -> None:
    await rig.put("k")
    assert await rig.alt.etag_is_md5(rig.name("k"))


async def awkward_keys_are_themselves(rig: Rig) -> None:
    for key in AWKWARD:
        body = b"" if key.endswith("/") else key.encode()
        await rig.put(key, body, RICH)
        assert await rig.read(key) == body, key
    page = await rig.alt.page(ListRequest(rig.bucket, rig.prefix))
    assert {item.key for item in page.objects} == {rig.prefix + key for key in AWKWARD}
    for key in AWKWARD:
        if not key.endswith("/"):  # SeaweedFS keeps such a key as a directory: no headers, no copies
            assert (await rig.alt.head(rig.name(key))).headers == RICH, key
            await rig.alt.copy(rig.name(key), rig.name("copy"), None)
            assert await rig.read("copy") == key.encode(), key
        await rig.alt.delete(rig.name(key))
        with pytest.raises(AltMissing):
            await rig.alt.head(rig.name(key))


async def a_key_never_reaches_another_object(rig: Rig) -> None:
    """Whether such keys can be stored is the server's; that they hit nothing else is the tier's."""
    for key in ("a/b", "b", "dir"):
        await rig.put(key, key.encode())
    for key in ("a//b", "/a/b", "a/./b", "a/../b", "x/../a/b", "a\\b", "dir/", "./b", "a/b/."):
        with pytest.raises(AltMissing):
            await rig.alt.head(rig.name(key))
        with pytest.raises(AltMissing):
            await rig.alt.get(rig.name(key))
        await rig.alt.delete(rig.name(key))
    for key in ("a/b", "b", "dir"):
        assert await rig.read(key) == key.encode()


async def a_walk_meets_every_object_once(rig: Rig) -> None:
    for number in range(12):
        await rig.put(f"w/{number % 3}/{number}", b"x" * number)
    found = []
    async with aclosing(rig.alt.walk(rig.bucket)) as batches:  # type: ignore[type-var]
        async for batch in batches:
            found += [item for item in batch if item.name.key.startswith(rig.prefix)]
    assert sorted((item.name, item.size) for item in found) == sorted(
        (rig.name(f"w/{number % 3}/{number}"), number) for number in range(12)
    )
    assert all(item.headers is None and item.etag for item in found)


async def a_body_can_be_closed_in_the_middle(rig: Rig) -> None:
    await rig.put("k", BODY * 20)
    for read in (0, 1):
        body = await rig.alt.get(rig.name("k"))
        chunks = body.chunks()
        for _ in range(read):
            assert await anext(chunks)
        await chunks.aclose()  # type: ignore[attr-defined]
        await body.close()
        await body.close()
    assert await rig.read("k") == BODY * 20


async def _stream(count: int, error: Exception | None = None) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield BODY
    if error is not None:
        raise error


PROMISES: tuple[Promise, ...] = (
    what_is_put_is_got_byte_for_byte,
    a_source_that_is_not_in_memory_is_read,
    all_headers_come_back,
    the_clients_etag_and_parts_come_back,
    a_missing_object_is_missing,
    an_overwrite_replaces_everything,
    ranges_are_half_open_and_clipped,
    a_range_beyond_the_end_says_the_size,
    a_read_can_demand_an_etag,
    create_does_not_overwrite,
    match_overwrites_only_that_etag,
    of_many_creators_one_wins,
    wrong_bytes_are_noticed_when_they_are_there,
    a_large_object_goes_in_parts,
    a_large_object_is_not_created_over_another,
    a_stream_is_stored_at_its_end,
    a_stream_that_breaks_leaves_nothing,
    a_stream_is_not_stored_over_another_object,
    a_stream_that_breaks_leaves_the_old_object,
    a_delete_can_be_said_twice,
    a_copy_keeps_or_replaces_headers,
    a_copy_has_its_own_client_etag,
    a_copy_onto_itself_replaces_headers,
    a_copy_demands_the_right_source,
    a_copy_of_what_is_known_is_the_same,
    a_copy_of_what_is_wrongly_known_is_not_made,
    a_copy_is_not_made_over_another_object,
    an_etag_is_an_md5_unless_alt_says_otherwise,
    awkward_keys_are_themselves,
    a_key_never_reaches_another_object,
    *LISTINGS,
    a_walk_meets_every_object_once,
    a_body_can_be_closed_in_the_middle,
)


def name(promise: Promise) -> str:
    return str(getattr(promise, "__name__", promise))
