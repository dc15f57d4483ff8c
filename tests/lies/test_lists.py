"""Listings, walks and the first look at a bucket, while alt lies about what it holds."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.lies.world import LATE, SECTIONS, Said, World
from tierproxy.errors import AltCorrupt, AltError
from tierproxy.model import BucketRow, ObjectName
from tierproxy.store.check import Check, Kind
from tierproxy.store.sync import Sync
from tierproxy.testing.ground import Ground, ground
from tierproxy.testing.lies import Rule
from tierproxy.testing.rig import rig

NO_LISTING = {
    "empty 200": {502}, "portal in a 200": {502, 503}, "other document in a 200": {502}, "error in a 200": {503},
    "slow down": {503}, "internal error": {503}, "bare 503": {503}, "access denied": {502}, "expired token": {502},
    "clock skew": {502}, "not found": {502, 503}, "bare 404": {503}, "cut": {503}, "reset": {503},
    "reset in the head": {503}, "reset in the body": {503}, "garbage": {503}, "no etag": {503}, "no date": {503},
    "late": {503}, "shorter": {503}, "looping list": {502},
}  # fmt: skip
WALKS = ("empty 200", "other document in a 200", "looping list", "list without token", "cut", "shorter", "no etag")


async def keys_of(world: World, folder: str, size: int = 1000) -> tuple[Said, list[str]]:
    """All pages of a listing of ``old``; the last answer, and the keys until then."""
    keys: list[str] = []
    token = ""
    for _ in range(20):
        said = await world.ask("GET", f"/old?list-type=2&prefix={folder}/&max-keys={size}{token}")
        keys += re.findall(r"<Key>(.*?)</Key>", said.body.decode())
        more = re.search(r"<NextContinuationToken>(.*?)</NextContinuationToken>", said.body.decode())
        if said.status != 200 or more is None:
            return said, keys
        token = f"&continuation-token={more[1]}"
    raise AssertionError("a listing without an end")


async def folder_of(world: World, objects: int = 3) -> tuple[str, list[ObjectName]]:
    """A folder of ``old`` with so many objects the catalogue has never heard of."""
    folder = world.name("old").key
    names = [ObjectName("old", f"{folder}/{number}") for number in range(objects)]
    for name in names:
        await world.store(name, name.key.encode())
    return folder, names


@pytest.mark.parametrize("lie", NO_LISTING)
def test_what_is_no_listing_is_never_taken_for_an_empty_one(lied_to: World, lie: str) -> None:
    async def steps() -> None:
        folder, names = await folder_of(lied_to)
        lied_to.tell(Rule(lie, ("LIST",), key=f"{folder}/", seconds=LATE))
        said, _ = await keys_of(lied_to, folder)
        assert said.status in NO_LISTING[lie]
        await lied_to.healed()
        assert (await keys_of(lied_to, folder))[1] == [name.key for name in names]

    lied_to.run(steps())


@pytest.mark.parametrize("lie", ["HTTP/1.0", "trickle", "overrun", "list without token"])
def test_a_listing_that_is_only_badly_sent_is_shown(lied_to: World, lie: str) -> None:
    async def steps() -> None:
        folder, names = await folder_of(lied_to)
        lied_to.tell(Rule(lie, ("LIST",), key=f"{folder}/", seconds=0.01))
        assert (await keys_of(lied_to, folder))[1] == [name.key for name in names]
        await lied_to.healed()

    lied_to.run(steps())


def test_a_stale_listing_neither_hides_new_mail_nor_shows_deleted_mail(lied_to: World) -> None:
    async def steps() -> None:
        folder, names = await folder_of(lied_to)
        await keys_of(lied_to, folder)
        lied_to.tell(Rule("stale", ("LIST",), key=f"{folder}/"))
        new = ObjectName("old", f"{folder}/new")
        assert (await lied_to.put(new, b"new")).status == 200
        assert (await lied_to.delete(names[1])).status == 204
        await lied_to.idle()
        assert (await keys_of(lied_to, folder))[1] == [names[0].key, names[2].key, new.key]
        await lied_to.healed()
        assert (await keys_of(lied_to, folder))[1] == [names[0].key, names[2].key, new.key]

    lied_to.run(steps())


def test_a_page_that_comes_again_ends_the_listing_with_an_error(lied_to: World) -> None:
    async def steps() -> None:
        folder, names = await folder_of(lied_to, 5)
        lied_to.tell(Rule("first page again", ("LIST",), key=f"{folder}/"))
        said, _ = await keys_of(lied_to, folder, 2)
        assert said.status == 502
        await lied_to.healed()
        assert (await keys_of(lied_to, folder, 2))[1] == [name.key for name in names]

    lied_to.run(steps())


@pytest.mark.parametrize("kinds", [("GET",), ("HEAD",), ("GET", "HEAD")])
def test_what_was_deleted_is_not_served_by_an_alt_that_still_shows_it(lied_to: World, kinds: tuple[str, ...]) -> None:
    async def steps() -> None:
        name = lied_to.name("old")
        assert (await lied_to.put(name, b"a mail")).status == 200
        await lied_to.purge(name)
        assert (await lied_to.get(name)).body == b"a mail"
        lied_to.tell(Rule("stale", kinds, key=name.key))
        assert (await lied_to.delete(name)).status == 204
        await lied_to.idle()
        assert await lied_to.stored(name) is None
        assert (await lied_to.get(name)).status == 404
        assert (await lied_to.head(name)).status == 404
        await lied_to.healed()
        assert (await lied_to.get(name)).status == 404

    lied_to.run(steps())


# ---------------------------------------------------------------- walks: sync, check, the first look


@asynccontextmanager
async def empty_catalogue(root: Path) -> AsyncIterator[Ground]:
    async with ground(root) as place:
        await place.catalogue.add_bucket(BucketRow("old", 0.0, created=False, complete=False))
        yield place


@pytest.mark.parametrize("lie", WALKS)
def test_a_walk_over_half_of_alt_never_completes_a_catalogue(lied_to: World, tmp_path: Path, lie: str) -> None:
    async def steps() -> None:
        async with empty_catalogue(tmp_path) as place, asyncio.timeout(60):
            lied_to.tell(Rule(lie, ("LIST",), key="old/"))
            with pytest.raises(AltError):
                await Sync(catalogue=place.catalogue, alt=lied_to.rig.alt, bucket="old").run()
            found = place.catalogue.bucket("old")
            assert found is not None
            assert not found.complete
            await lied_to.healed()
            report = await Sync(catalogue=place.catalogue, alt=lied_to.rig.alt, bucket="old").run()
            assert report.complete
            assert not report.differing

    lied_to.run(steps())


def test_a_walk_that_misses_what_is_there_never_completes_a_catalogue(lied_to: World, tmp_path: Path) -> None:
    async def steps() -> None:
        name = ObjectName("old", "zzz-the-last-key")
        await lied_to.store(name, b"the last")
        async with empty_catalogue(tmp_path) as place:
            sync = Sync(catalogue=place.catalogue, alt=lied_to.rig.alt, bucket="old")
            assert (await sync.run()).complete
            await place.catalogue.complete_bucket("old", False)
            lied_to.tell(Rule("list without a key", ("LIST",), key="old/"))
            with pytest.raises(AltCorrupt):
                await Sync(catalogue=place.catalogue, alt=lied_to.rig.alt, bucket="old").run()
            found = place.catalogue.bucket("old")
            assert found is not None
            assert not found.complete
            await lied_to.healed()

    lied_to.run(steps())


def test_a_check_never_takes_for_lost_what_only_the_listing_misses(lied_to: World, tmp_path: Path) -> None:
    async def steps() -> None:
        name = ObjectName("old", "zzz-the-last-key")
        await lied_to.store(name, b"the last")
        async with empty_catalogue(tmp_path) as place:
            await Sync(catalogue=place.catalogue, alt=lied_to.rig.alt, bucket="old").run()
            lied_to.tell(Rule("list without a key", ("LIST",), key="old/"))
            check = Check(
                catalogue=place.catalogue, disk=place.disk, clock=place.clock, alt=lied_to.rig.alt, buckets=["old"]
            )  # fmt: skip
            assert Kind.LOST_IN_ALT not in (await check.run()).findings
            await lied_to.healed()

    lied_to.run(steps())


@pytest.mark.parametrize("lie", ["empty 200", "other document in a 200", "portal in a 200", "shorter"])
def test_a_first_look_that_sees_no_listing_does_not_take_a_full_bucket_for_an_empty_one(
    lied_to: World, tmp_path: Path, lie: str
) -> None:
    async def steps() -> None:
        name = lied_to.name("old")
        await lied_to.store(name, b"was there before")
        lied_to.tell(Rule(lie, ("LIST",)))
        async with rig(tmp_path, alt=lied_to.rig.alt, **SECTIONS) as r:
            lied_to.tell()
            assert not r.parts.buckets.authoritative("old")
            reading = await r.parts.store.open(name)
            assert reading.content == b"was there before"
            await reading.close()
        await lied_to.healed()

    lied_to.run(steps())
