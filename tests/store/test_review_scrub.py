"""A catalogue restored from a backup does not know the newest mail: nothing that walks over the files may remove it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tierproxy.config.sections import ScrubSection
from tierproxy.errors import DiskError
from tierproxy.model import AltObject, Entry, ObjectName, State
from tierproxy.store.alarms import AlarmBoard
from tierproxy.store.check import Check, CheckReport, Kind
from tierproxy.store.scrub import GRACE, NEWER, Scrub
from tierproxy.testing.ground import BUCKET, Ground, ground
from tierproxy.testing.invariants import check_invariants

OLD, NEW = b"old mail", b"acknowledged, only on disk"


class Shelfless:
    """No row is damaged here."""

    async def damaged(self, entry: Entry, error: DiskError) -> bool:
        raise AssertionError(f"{entry.name}: {error}")


@asynccontextmanager
async def restored(root: Path, key: str = "new") -> AsyncIterator[tuple[Ground, str]]:
    """``key`` was written after the backup the catalogue comes from; its blob file."""
    async with ground(root) as found:
        await found.dirty("old", OLD)
    shutil.copytree(root / "catalogue", root / "backup")
    async with ground(root) as found:
        lost = await found.dirty(key, NEW)
    shutil.rmtree(root / "catalogue")
    (root / "backup").rename(root / "catalogue")
    async with ground(root) as found:
        await found.clock.advance(1_000)
        yield found, lost.blob or ""


async def scrubbed(found: Ground) -> AlarmBoard:
    """One walk, the grace included."""
    alarms = AlarmBoard()
    scrub = Scrub(
        catalogue=found.catalogue, disk=found.disk, mender=Shelfless(), clock=found.clock, alarms=alarms,
        settings=ScrubSection(), first_generation=found.catalogue.next_generation(),
    )  # fmt: skip
    walk = asyncio.create_task(scrub.walk())
    while not walk.done():
        await asyncio.sleep(0)
        if found.clock.sleeping:
            await found.clock.advance(GRACE)
    await walk
    return alarms


async def checked(found: Ground, *, alt: bool = False) -> CheckReport:
    """With repair."""
    return await Check(
        catalogue=found.catalogue, disk=found.disk, clock=found.clock, alt=found.alt if alt else None, repair=True
    ).run()


async def test_the_scrub_leaves_mail_the_restored_catalogue_never_heard_of_and_raises_an_alarm(tmp_path: Path) -> None:
    async with restored(tmp_path) as (found, blob):
        alarms = await scrubbed(found)
        assert blob in await found.blobs()
        assert alarms.active() == [(NEWER, "disk")]


async def test_the_check_leaves_mail_the_restored_catalogue_never_heard_of(tmp_path: Path) -> None:
    async with restored(tmp_path) as (found, blob):
        report = await checked(found)
        assert blob in await found.blobs()
        assert report.findings[Kind.FILE_NEWER_THAN_CATALOGUE].count == report.unrepaired == 1


async def test_such_mail_stays_over_restarts_with_new_mail_in_between(tmp_path: Path) -> None:
    async with restored(tmp_path) as (found, blob):
        await found.dirty("written since")
    for number in range(3):
        async with ground(tmp_path) as found:
            await found.dirty(f"written since {number}")
            await scrubbed(found)
            await checked(found)
            assert blob in await found.blobs()


async def test_an_overwrite_the_restored_catalogue_never_heard_of_stays(tmp_path: Path) -> None:
    async with restored(tmp_path, key="old") as (found, blob):
        await scrubbed(found)
        await checked(found)
        assert blob in await found.blobs()


@pytest.mark.parametrize("key", ["new", "old"])
async def test_the_check_reads_such_mail_back_when_alt_has_not_got_it(tmp_path: Path, key: str) -> None:
    async with restored(tmp_path, key) as (found, blob):
        report = await checked(found, alt=True)
        row = found.row(key)
        assert row is not None
        assert (row.state, row.blob, row.size, report.unrepaired) == (State.DIRTY, blob, len(NEW), 0)
        await check_invariants(found.catalogue, found.disk, root=tmp_path)
        assert (await scrubbed(found)).active() == []


async def test_mail_that_alt_has_got_is_read_back_as_such(tmp_path: Path) -> None:
    async with restored(tmp_path, "old") as (found, blob):
        etag = await found.put_alt("old", NEW)
        await checked(found, alt=True)
        row = found.row("old")
        assert row is not None
        assert (row.state, row.blob, row.alt_etag) == (State.CLEAN, blob, etag)
        await check_invariants(found.catalogue, found.disk, root=tmp_path)


async def test_mail_that_was_only_heard_of_from_alt_since_is_read_back_over_the_news(tmp_path: Path) -> None:
    """A client asked the restored node for it: the row is newer by number, not by what it says."""
    async with restored(tmp_path) as (found, blob):
        name, generation = ObjectName(BUCKET, "new"), found.catalogue.next_generation()
        news = AltObject(name, len(OLD), "old etag", 0.0)
        await found.catalogue.learn(
            Entry(name, generation, State.CLEAN, news.size, news.etag, news.modified_at), expected=None
        )
        await checked(found, alt=True)
        row = found.row("new")
        assert row is not None
        assert (row.state, row.blob) == (State.DIRTY, blob)
        await check_invariants(found.catalogue, found.disk, root=tmp_path)


async def test_a_file_older_than_what_alt_has_is_put_aside(tmp_path: Path) -> None:
    async with restored(tmp_path) as (found, blob):
        await found.put_alt("new", b"written there later")
        await checked(found, alt=True)
        assert found.quarantined() == {blob}
        assert found.row("new") is None


async def test_a_file_older_than_its_row_is_put_aside(tmp_path: Path) -> None:
    async with restored(tmp_path) as (found, blob):
        later = await found.dirty("new", b"written here later")
        await checked(found, alt=True)
        assert found.quarantined() == {blob}
        assert found.row("new") == later


async def test_a_leftover_the_catalogue_has_outlived_still_goes(tmp_path: Path) -> None:
    async with ground(tmp_path) as found:
        left = await found.blob(found.label("deleted", b"x"), b"x")
        await found.clean("k")
    async with ground(tmp_path) as found:
        assert (await scrubbed(found)).active() == []
        assert left.name not in await found.blobs()
