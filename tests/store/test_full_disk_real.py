"""A file system of its own under a node, filled to its last byte and its last inode: decision 36.

Needs root and the right to mount: skipped without.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.store.test_disk_health_real import mounted, run, until
from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import DiskSection, HistorySection, MemorySection, StubsSection
from tierproxy.config.values import Duration, Share, Size
from tierproxy.errors import NoSuchKey, OutOfSpace
from tierproxy.model import Ack, ListRequest
from tierproxy.store.room import ALARM
from tierproxy.testing.rig import Rig, name, rig

MIB = 2**20
KINDS = pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
DISK = DiskSection(probe_interval=Duration(0.05), max_bytes=Size(16 * MIB), min_free=Share(percent=0.0))
SECTIONS: dict[str, Any] = {
    "disk": DISK, "memory": MemorySection(max_bytes=Size(0)), "history": HistorySection(),
    "stubs": StubsSection(max_bytes=Size(4 * MIB)),
}  # fmt: skip
BODY = b"a mail\n" * 100


@contextmanager
def small(tmp_path: Path, kind: str = "tmpfs") -> Iterator[Path]:
    """32 MiB, few inodes."""
    tmp_path.mkdir(exist_ok=True)
    if kind == "tmpfs":
        with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=32m,nr_inodes=400", "tmpfs") as root:
            yield root
        return
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("there is no mkfs.ext4")
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(36 * MIB)
    run("mkfs.ext4", "-q", "-m", "0", "-N", "400", image)
    with mounted(tmp_path / "disk", "-o", "loop", image) as root:
        yield root


class Filler:
    """Somebody else."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def take_all(self) -> None:
        """Of the bytes."""
        with (self._root / "not-ours").open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))

    def take_inodes(self) -> None:
        with suppress(OSError):
            for number in range(10_000):
                (self._root / f"not-ours-{number}").touch()

    def leave(self) -> None:
        for path in self._root.glob("not-ours*"):
            path.unlink()

    @property
    def free(self) -> int:
        found = os.statvfs(self._root)
        return found.f_bavail * found.f_frsize


@asynccontextmanager
async def node(root: Path, alt: MemoryAlt) -> AsyncIterator[Rig]:
    async with rig(root / "data", alt=alt, reserve_size=None, **SECTIONS) as r:
        yield r


def reserve_of(r: Rig) -> int:
    return (r.root / "catalogue/reserve").stat().st_size


def whole(r: Rig) -> bool:
    """An eighth of the file system, less what that has for itself."""
    return 3.75 * MIB < reserve_of(r) <= 4 * MIB


def alarmed(r: Rig) -> bool:
    return any(alarm == ALARM for alarm, _subject in r.parts.alarms.active())


async def settled(r: Rig, true: Callable[[], bool]) -> None:
    await until(true)
    await r.idle()


async def goes_on(r: Rig, alt: MemoryAlt, turn: str) -> None:
    """Every cell of the row "disk full". Until a commit finds that out, there may be a corner left for a small file."""
    for number in range(20):
        written = await r.put(f"new.{turn}.{number}", BODY)
        assert "alt" in written.entry.tiers
        assert await r.get(f"new.{turn}.{number}") == BODY
    assert "alt" in (await r.put("changed", BODY + b"2")).entry.tiers
    assert await r.get("changed") == alt.content(name("changed")) == BODY + b"2"
    await r.delete(f"deleted.{turn}")
    assert alt.content(name(f"deleted.{turn}")) is None
    with pytest.raises(NoSuchKey):
        await r.get(f"deleted.{turn}")
    listed = await r.parts.store.page(ListRequest("mail"))
    assert {one.key for one in listed.objects} >= {"changed", f"new.{turn}.0", "read"}
    assert await r.get("read") == BODY


async def refuses_files(r: Rig, alt: MemoryAlt) -> None:
    await until(lambda: alarmed(r))
    assert (await r.put("changed", BODY + b"2")).entry.tiers == ("alt",)
    with pytest.raises(OutOfSpace):
        await r.put("refused", BODY, ack=Ack.DISK)
    assert alt.content(name("refused")) is None


async def takes_files(r: Rig) -> None:
    """Soon: what the file system said last is believed for a second."""
    async with asyncio.timeout(30):
        while (await r.put("again", BODY)).entry.tiers != ("disk", "alt"):
            await asyncio.sleep(0.05)
    assert (await r.put("again", BODY, ack=Ack.DISK)).entry.blob is not None


async def recovers(r: Rig, others: Filler) -> None:
    """Once somebody has made room."""
    others.leave()
    await settled(r, lambda: not alarmed(r))
    assert whole(r)
    await takes_files(r)


async def prepared(r: Rig) -> None:
    for key in ("read", "changed", "deleted.1", "deleted.2", "deleted.3"):
        assert (await r.put(key, BODY)).entry.tiers == ("disk", "alt")
    await r.idle()


@KINDS
async def test_a_disk_that_is_full_to_the_last_byte_stops_nothing_but_copies(tmp_path: Path, kind: str) -> None:
    alt = MemoryAlt()
    with small(tmp_path, kind) as root:
        others = Filler(root)
        async with node(root, alt) as r:
            await prepared(r)
            assert whole(r)
            assert not alarmed(r)
            others.take_all()
            assert others.free == 0
            await goes_on(r, alt, "1")
            await refuses_files(r, alt)
            assert reserve_of(r)
            assert not whole(r)
            others.take_all()  # whatever was let go and not used
            await goes_on(r, alt, "2")
            await refuses_files(r, alt)
            await recovers(r, others)
            await r.drained()


@KINDS
async def test_a_disk_without_inodes_stops_nothing_but_copies(tmp_path: Path, kind: str) -> None:
    alt = MemoryAlt()
    with small(tmp_path, kind) as root:
        others = Filler(root)
        async with node(root, alt) as r:
            await prepared(r)
            others.take_inodes()
            await goes_on(r, alt, "1")
            others.take_all()
            await goes_on(r, alt, "2")
            await refuses_files(r, alt)
            await recovers(r, others)


@KINDS
async def test_a_node_that_is_killed_on_a_full_disk_starts_on_it(tmp_path: Path, kind: str) -> None:
    """As its directory lies there, log and all, it is copied to another disk, which is full, too."""
    alt = MemoryAlt()
    with small(tmp_path / "first", kind) as root, small(tmp_path / "second", kind) as copy:
        others = Filler(root)
        async with node(root, alt) as r:
            await prepared(r)
            others.take_all()
            await goes_on(r, alt, "1")
            await r.idle()
            shutil.copytree(root / "data", copy / "data")
            left = reserve_of(r)
        assert (copy / "data/catalogue/catalogue.sqlite-wal").stat().st_size
        others = Filler(copy)
        others.take_all()
        async with node(copy, alt) as r:
            assert reserve_of(r) <= left
            assert await r.get("new.1.0") == BODY
            await goes_on(r, alt, "2")
            await refuses_files(r, alt)
            await recovers(r, others)


@KINDS
async def test_a_node_is_stopped_and_started_on_a_full_disk(tmp_path: Path, kind: str) -> None:
    alt = MemoryAlt()
    with small(tmp_path, kind) as root:
        others = Filler(root)
        async with node(root, alt) as r:
            await prepared(r)
        for number in ("1", "2"):
            others.take_all()
            async with node(root, alt) as r:
                await goes_on(r, alt, number)
                await refuses_files(r, alt)


async def test_new_mail_is_refused_before_alt_hears_of_it_while_there_is_room_for_deletes(tmp_path: Path) -> None:
    alt = MemoryAlt()
    with small(tmp_path) as root:
        others = Filler(root)
        async with node(root, alt) as r:
            await prepared(r)
            accepted = await until_refused(r, alt, others)
            assert alarmed(r)
            assert reserve_of(r) > 0
            for number in range(accepted):
                await r.delete(f"many.{number}")
                assert alt.content(name(f"many.{number}")) is None
            assert await r.get("changed") == BODY
            others.leave()
            await settled(r, lambda: not alarmed(r))


async def until_refused(r: Rig, alt: MemoryAlt, others: Filler) -> int:
    """How many writes were accepted, while somebody else takes all that is let go."""
    for number in range(10_000):
        others.take_all()
        try:
            await r.put(f"many.{number}", BODY)
        except OutOfSpace:
            assert alt.content(name(f"many.{number}")) is None
            return number
    raise AssertionError("nothing was refused")


async def test_a_catalogue_on_a_disk_of_its_own_that_is_full_refuses_no_files(tmp_path: Path) -> None:
    alt = MemoryAlt()
    (tmp_path / "data").mkdir()
    with small(tmp_path / "other") as other, mounted(tmp_path / "data/catalogue", "--bind", other):
        others = Filler(other)
        async with node(tmp_path, alt) as r:
            await prepared(r)
            assert whole(r)
            others.take_all()
            for number in range(20):
                assert (await r.put(f"new.{number}", BODY)).entry.tiers == ("disk", "alt")
            assert (await r.put("disk", BODY, ack=Ack.DISK)).entry.blob is not None
            await r.drained()
            await until(lambda: alarmed(r))
            await until_refused(r, alt, others)
            await r.delete("read")
            assert alt.content(name("read")) is None
            others.leave()
            await settled(r, lambda: not alarmed(r))


async def test_a_directory_from_before_gets_its_reserve_when_there_is_room(tmp_path: Path) -> None:
    alt = MemoryAlt()
    with small(tmp_path) as root:
        others = Filler(root)
        async with rig(root / "data", alt=alt, reserve_size=0, **SECTIONS) as r:
            await prepared(r)
            assert not (root / "data/catalogue/reserve").exists()
        others.take_all()
        os.truncate(root / "not-ours", (root / "not-ours").stat().st_size - MIB)  # a start takes some
        async with node(root, alt) as r:
            assert await r.get("read") == BODY
            await until(lambda: alarmed(r))
            with pytest.raises(OutOfSpace):
                await r.put("refused", BODY, ack=Ack.DISK)
            await recovers(r, others)
