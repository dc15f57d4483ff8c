"""Listings: complete or an error, whoever can say what there is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import BucketSection, QueueSection
from tierproxy.config.values import Duration
from tierproxy.errors import AltUnavailable, NoSuchBucket
from tierproxy.model import Ack, Headers, ListRequest
from tierproxy.store.body import MemorySource
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.rig import BUCKET, Rig, name, rig

PATIENT = QueueSection(backoff=Duration(3600), max_backoff=Duration(3600))
SHARED = (BucketSection(name=BUCKET, exclusive=False),)


async def everything(r: Rig, limit: int, prefix: str = "", delimiter: str = "") -> list[str]:
    """Keys and prefixes of all pages, in the order they came."""
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        page = await r.parts.store.page(ListRequest(BUCKET, prefix, delimiter, after, limit))
        assert len(page.objects) + len(page.prefixes) <= limit
        found += sorted([*(one.key for one in page.objects), *page.prefixes], key=str.encode)
        after = page.next_after
    return found


def expected(keys: set[str], prefix: str, delimiter: str) -> list[str]:
    items = set()
    for key in keys:
        if key.startswith(prefix):
            cut = key.find(delimiter, len(prefix)) if delimiter else -1
            items.add(key if cut < 0 else key[: cut + len(delimiter)])
    return sorted(items, key=str.encode)


keys = st.text(alphabet="ab/é\U0001f600", min_size=1, max_size=4)


@settings(max_examples=25, deadline=None, database=None)
@given(
    clean=st.sets(keys, max_size=8), dirty=st.sets(keys, max_size=5), deleted=st.sets(keys, max_size=4),
    prefix=st.sampled_from(("", "a", "a/", "é")), delimiter=st.sampled_from(("", "/", "b")), limit=st.integers(1, 4),
    complete=st.booleans(),
)  # fmt: skip
def test_pages_add_up_to_what_there_is(
    clean: set[str], dirty: set[str], deleted: set[str], prefix: str, delimiter: str, limit: int, complete: bool
) -> None:
    import asyncio
    import tempfile

    async def run() -> None:
        alt = FaultyAlt(MemoryAlt())
        for key in clean if not complete else ():
            await alt.put(name(key), MemorySource(b"theirs"), Headers(), md5="")
        with tempfile.TemporaryDirectory() as root:
            async with rig(Path(root), alt=alt, queue=PATIENT, **({} if complete else {"bucket": SHARED})) as r:  # type: ignore[arg-type]
                for key in clean if complete else ():
                    await r.put(key, b"ours")
                alt.down()
                for key in dirty:
                    await r.put(key, b"queued", ack=Ack.DISK)
                for key in deleted:
                    await r.delete(key)
                alt._down = False
                got = await everything(r, limit, prefix, delimiter)
                there = (clean | dirty) - deleted
                wanted = expected(there, prefix, delimiter)
                if complete:
                    assert got == wanted
                else:  # a prefix whose last object is about to be deleted may still be shown
                    assert [item for item in got if item in wanted] == wanted
                    rolled_up = {key for key in deleted if delimiter and delimiter in key[len(prefix) :]}
                    assert set(got) - set(wanted) <= set(expected(clean, prefix, delimiter)) - (deleted - rolled_up)

    asyncio.run(run())


async def test_a_key_that_ends_with_the_delimiter_is_a_common_prefix_whoever_has_it(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    await alt.put(name("a/"), MemorySource(b"theirs"), Headers(), md5="")
    request = ListRequest(BUCKET, "", "/", "", 10)
    async with rig(tmp_path, alt=alt, bucket=SHARED) as r:
        page = await r.parts.store.page(request)
        assert (page.objects, page.prefixes) == ((), ("a/",))
    async with rig(tmp_path / "own") as r:
        await r.put("a/", b"ours")
        page = await r.parts.store.page(request)
        assert (page.objects, page.prefixes) == ((), ("a/",))


async def test_a_listing_that_needs_alt_fails_without_it(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    async with rig(tmp_path, alt=alt, bucket=SHARED, queue=PATIENT) as r:
        await r.put("u.1", b"a mail")
        alt.down()
        with pytest.raises(AltUnavailable):
            await r.parts.store.page(ListRequest(BUCKET))


async def test_a_bucket_with_a_hash_prefix_is_not_listed_half(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    await alt.put(name("before"), MemorySource(b"there"), Headers(), md5="")
    bucket = (BucketSection(name=BUCKET, hash_prefix=True),)
    async with rig(tmp_path, alt=alt, bucket=bucket) as r:
        with pytest.raises(AltUnavailable, match="cannot be listed"):
            await r.parts.store.page(ListRequest(BUCKET))


async def test_a_listing_shows_the_etags_clients_were_told(tmp_path: Path) -> None:
    for bucket in (SHARED, (BucketSection(name=BUCKET),)):
        alt = MemoryAlt(multipart_threshold=10, part_size=5)
        async with rig(tmp_path / str(bucket[0].exclusive), alt=alt, bucket=bucket) as r:
            written = await r.put("u.1", b"longer than ten bytes")
            (listed,) = (await r.parts.store.page(ListRequest(BUCKET))).objects
            assert listed.etag == written.entry.etag
            assert listed.size == 21


async def test_a_bucket_nobody_knows_is_not_listed(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        with pytest.raises(NoSuchBucket):
            await r.parts.store.page(ListRequest("nobody"))
