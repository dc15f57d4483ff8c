"""What ``DiskBlobs`` does beyond its contract: shared fsyncs, faults, cancellation, descriptors."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

import pytest

from tierproxy.disk.blobs import DiskBlobs
from tierproxy.disk.commits import DirectorySyncs
from tierproxy.disk.descriptor import Descriptor
from tierproxy.disk.digest import BodyDigest
from tierproxy.disk.fsio import Files
from tierproxy.disk.layout import DataDirectory
from tierproxy.disk.staged import INLINE, MEMORY
from tierproxy.disk.staged_file import StagedFile
from tierproxy.errors import BlobCorrupt, BlobMissing, DiskError, DiskUnavailable, OutOfSpace
from tierproxy.model import SealedBlob
from tierproxy.offload import ThreadPool
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.contracts.disk import (
    LABEL,
    Md5Check,
    body_of,
    names,
    put,
    read_back,
    reopen,
    write,
)
from tierproxy.testing.crash import FaultyFiles

from .rigs import disk_tier, open_files

T = TypeVar("T")

SMALL, LARGE = 1000, MEMORY + 500_000


def files_below(root: Path) -> list[Path]:
    paths = DataDirectory(root)
    return [
        path
        for top in (paths.blobs, paths.staging, paths.parts, paths.quarantine)
        for path in top.rglob("*")
        if path.is_file()
    ]


class HeldFiles(FaultyFiles):
    """Calls of ``held`` wait in their thread until ``go``; ``here`` is set when the first has come."""

    def __init__(self, held: str) -> None:
        super().__init__()
        self.held = held
        self.here = threading.Event()
        self.go = threading.Event()

    def call(self, kind: str, function: Callable[..., T], *args: object) -> T:
        if kind == self.held:
            self.here.set()
            assert self.go.wait(60)
        return super().call(kind, function, *args)

    async def reached(self) -> None:
        assert await asyncio.get_running_loop().run_in_executor(None, self.here.wait, 20)


@asynccontextmanager
async def held(files: HeldFiles) -> AsyncIterator[None]:
    """Whatever happens inside, the thread that is held goes on afterwards."""
    try:
        yield
    finally:
        files.go.set()


# ---------------------------------------------------------------- shared fsyncs


def test_threads_that_wait_together_share_a_round(tmp_path: Path) -> None:
    """The first of them fsyncs for all; an error of one directory is that directory's."""
    files = FaultyFiles("fsync_dir", errno.EIO, nth=3)
    syncs = DirectorySyncs(files)
    failed: list[Path] = []
    directories = [tmp_path / str(number) for number in range(6)]

    def sync(path: Path) -> None:
        try:
            syncs.sync(path)
        except DiskUnavailable:
            failed.append(path)

    for path in directories:
        path.mkdir()
    threads = [threading.Thread(target=sync, args=(path,)) for path in directories]
    with syncs._turn:
        for thread in threads:
            thread.start()
        together = syncs._next
        while len(together.directories) < len(directories):
            threading.Event().wait(0.001)
    for thread in threads:
        thread.join()
    assert failed == [list(together.directories)[2]]
    assert files.calls["fsync_dir"] == len(directories)
    syncs.sync(tmp_path)
    assert files.calls["fsync_dir"] == len(directories) + 1, "a round that has ended takes nobody in"


async def test_concurrent_publishes_share_directory_fsyncs(tmp_path: Path) -> None:
    files = HeldFiles("rename")
    async with disk_tier(tmp_path, files) as disk, held(files):
        staged = [disk.stage() for _ in range(50)]
        sealed = [await one.seal(LABEL) for one in staged]
        first = asyncio.create_task(staged[0].publish())
        await files.reached()
        rest = [asyncio.create_task(one.publish()) for one in staged[1:]]
        await asyncio.sleep(0)
        before = files.calls["fsync_dir"]
        files.go.set()
        await asyncio.gather(first, *rest)
        assert files.calls["fsync_dir"] - before <= 4  # one each for the first and for the rest; two if a minute turned
        assert await names(disk) == {blob.name for blob in sealed}
        for one in staged:
            await one.close()


async def test_a_publish_that_fails_fails_alone(tmp_path: Path) -> None:
    files = FaultyFiles("rename", errno.EIO, nth=3)
    async with disk_tier(tmp_path, files) as disk:
        staged = [disk.stage() for _ in range(6)]
        for one in staged:
            await one.seal(LABEL)
        outcomes = await asyncio.gather(*(one.publish() for one in staged), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes].count(DiskUnavailable) == 1
        assert len(await names(disk)) == 5
        for one in staged:
            await one.close()
        assert len(files_below(tmp_path)) == 5


async def test_a_publish_whose_directory_fsync_failed_leaves_no_blob(tmp_path: Path) -> None:
    files = FaultyFiles()
    async with disk_tier(tmp_path, files) as disk:
        await put(disk, b"the directory is there")
        files.kind, files.code, files.nth = "fsync_dir", errno.EIO, files.calls["fsync_dir"] + 1
        with pytest.raises(DiskUnavailable):
            await put(disk, b"x")
        assert len(files_below(tmp_path)) == 1


async def test_a_directory_that_vanishes_fails_a_publish_but_no_removal(tmp_path: Path) -> None:
    files = FaultyFiles()
    async with disk_tier(tmp_path, files) as disk:
        sealed = await put(disk, b"the directory is there")
        files.kind, files.code = "fsync_dir", errno.ENOENT
        files.nth, files.lasting = files.calls["fsync_dir"] + 1, True
        with pytest.raises(BlobMissing):
            await put(disk, b"x")
        await disk.remove([sealed.name])


async def test_a_part_without_a_check_has_no_etag_to_compare(tmp_path: Path) -> None:
    async with disk_tier(tmp_path) as disk:
        for check, outcome in ((None, "read"), (Md5Check(), "corrupt")):
            staged = disk.stage(check)
            file = await disk.keep_part(staged)
            await staged.close()
            try:
                await (await disk.open_part(file, 0, "an etag")).close()
                assert outcome == "read"
            except BlobCorrupt:
                assert outcome == "corrupt"


async def test_a_removal_fsyncs_each_directory_once(tmp_path: Path) -> None:
    files = FaultyFiles()
    async with disk_tier(tmp_path, files) as disk:
        blobs = [(await put(disk, b"")).name for _ in range(20)]
        before = files.calls["fsync_dir"]
        await disk.remove(blobs)
        assert files.calls["fsync_dir"] - before == len({name[4:8] for name in blobs})
        assert files_below(tmp_path) == []


async def test_a_removal_goes_on_after_a_failure(tmp_path: Path) -> None:
    files = FaultyFiles("unlink", errno.EIO)
    async with disk_tier(tmp_path, files) as disk:
        blobs = [(await put(disk, b"")).name for _ in range(3)]
        with pytest.raises(DiskUnavailable):
            await disk.remove(blobs)
        assert await names(disk) == {blobs[0]}
        await disk.remove(blobs)
        assert await names(disk) == set()


async def test_a_removed_empty_directory_is_made_again(tmp_path: Path) -> None:
    async with disk_tier(tmp_path) as disk:
        sealed = await put(disk, b"")
        await disk.remove([sealed.name])
        DataDirectory(tmp_path).blob(sealed.name).parent.rmdir()
        assert await read_back(disk, await put(disk, b"x")) == b"x"


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("kind", ["create", "write_at", "fsync", "rename", "mkdir"])
@pytest.mark.parametrize("nth", [1, 2])
async def test_a_full_disk_leaves_no_file(tmp_path: Path, kind: str, nth: int, size: int) -> None:
    files = FaultyFiles()
    async with disk_tier(tmp_path, files) as disk:
        files.kind, files.code, files.nth = kind, errno.ENOSPC, files.calls[kind] + nth
        for _ in range(3):
            with suppress(OutOfSpace):
                await put(disk, body_of(size))
        assert files.calls[kind] >= files.nth
        assert set(files_below(tmp_path)) == {DataDirectory(tmp_path).blob(name) for name in await names(disk)}


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (errno.ENOSPC, OutOfSpace),
        (errno.EDQUOT, OutOfSpace),
        (errno.EIO, DiskUnavailable),
        (errno.EROFS, DiskUnavailable),
    ],
)
async def test_what_the_kernel_says_is_told_as_a_disk_error(tmp_path: Path, code: int, error: type[DiskError]) -> None:
    files = FaultyFiles()
    async with disk_tier(tmp_path, files) as disk:
        files.kind, files.code = "write_at", code
        with pytest.raises(error):
            await put(disk, b"x")


async def test_a_failed_write_is_not_written_around(tmp_path: Path) -> None:
    files = FaultyFiles("write_at", errno.EIO)
    async with disk_tier(tmp_path, files) as disk:
        staged = disk.stage()
        body = body_of(LARGE)
        with pytest.raises(DiskUnavailable):
            await staged.write(body)
        for step in (staged.write(b"more"), staged.finish(), staged.seal(LABEL)):
            with pytest.raises(DiskUnavailable):
                await step
        assert await staged.read(0, 100) == body[:100]
        await staged.close()


async def test_a_staged_file_that_cannot_be_removed_waits_for_the_next_start(tmp_path: Path) -> None:
    files = FaultyFiles("unlink", errno.EROFS)
    async with disk_tier(tmp_path, files) as disk:
        staged = disk.stage()
        await staged.seal(LABEL)
        await staged.close()
        assert len(files_below(tmp_path)) == 1
    async with disk_tier(tmp_path) as disk:
        assert await disk.clear_staging() == 1
    assert files_below(tmp_path) == []


async def test_a_truncated_file_is_noticed_while_it_is_read(tmp_path: Path) -> None:
    async with disk_tier(tmp_path) as disk:
        sealed = await put(disk, body_of(LARGE))
        blob = await reopen(disk, sealed)
        os.truncate(DataDirectory(tmp_path).blob(sealed.name), LARGE // 2)
        with pytest.raises(DiskError):
            await blob.read(0, LARGE)
        await blob.close()


async def test_names_with_tricks_reach_no_file(tmp_path: Path) -> None:
    async with disk_tier(tmp_path) as disk:
        for name in ("", "../../etc/passwd", "0" * 31, "0" * 33, "G" * 32, "0" * 32 + "\n", "../" + "0" * 29):
            with pytest.raises(BlobMissing):
                await disk.open(name, size=0, generation=0, xxh3=None)
            await disk.remove([name])
            await disk.remove_parts([name])


# ---------------------------------------------------------------- cancellation and descriptors


@pytest.mark.parametrize("kind", ["create", "write_at", "fsync", "rename", "fsync_dir"])
@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("threads", [1, 4])
async def test_a_cancelled_write_leaves_nothing(tmp_path: Path, kind: str, size: int, threads: int) -> None:
    files = HeldFiles("")
    async with disk_tier(tmp_path, files, threads=threads) as disk, held(files):
        kept = await put(disk, b"the directory is there")
        files.held = kind
        task = asyncio.create_task(put(disk, body_of(size)))
        await files.reached()
        task.cancel()
        await asyncio.sleep(0)
        files.go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert open_files(tmp_path) == []
        assert files_below(tmp_path) == [DataDirectory(tmp_path).blob(kept.name)]


@pytest.mark.parametrize("threads", [1, 4])
async def test_a_write_cancelled_twice_leaves_nothing_once_the_tier_is_closed(tmp_path: Path, threads: int) -> None:
    files = HeldFiles("fsync")
    async with disk_tier(tmp_path, files, threads=threads) as disk, held(files):
        task = asyncio.create_task(put(disk, body_of(LARGE)))
        await files.reached()
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task
        files.go.set()
    assert files_below(tmp_path) == []


def test_a_step_that_comes_after_the_discard_makes_no_file(tmp_path: Path) -> None:
    paths = DataDirectory(tmp_path)
    paths.make(Files())
    file = StagedFile(paths.staged("0" * 32), Files(), BodyDigest(None))
    file.remove()
    for step in (lambda: file.append(b"x", 0), lambda: file.seal(b"", LABEL), lambda: file.place(tmp_path, None)):
        with pytest.raises(DiskUnavailable):
            step()
    assert files_below(tmp_path) == []


def test_a_descriptor_is_closed_after_its_last_user(tmp_path: Path) -> None:
    descriptor = Descriptor()
    descriptor.attach(os.open(tmp_path, os.O_RDONLY))
    closer = threading.Thread(target=descriptor.close)
    with descriptor.use() as fd:
        closer.start()
        closer.join(0.05)
        assert closer.is_alive()
        os.fstat(fd)
    closer.join()
    with pytest.raises(DiskUnavailable), descriptor.use():
        pass


async def test_an_open_that_is_cancelled_leaves_no_descriptor(tmp_path: Path) -> None:
    async with disk_tier(tmp_path, threads=1) as disk:
        sealed = await put(disk, body_of(LARGE))
        for turns in range(8):
            task = asyncio.create_task(reopen(disk, sealed))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await (await task).close()


async def test_closing_while_others_read_gives_every_descriptor_back(tmp_path: Path) -> None:
    async with disk_tier(tmp_path) as disk:
        sealed = await put(disk, body_of(LARGE))
        blob = await reopen(disk, sealed)
        staged = disk.stage()
        await staged.write(body_of(LARGE))
        readers = [asyncio.create_task(source.read(0, LARGE)) for source in (blob, staged) for _ in range(4)]
        await asyncio.sleep(0)
        await asyncio.gather(blob.close(), staged.close())
        for outcome in await asyncio.gather(*readers, return_exceptions=True):
            assert outcome == body_of(LARGE) or isinstance(outcome, DiskUnavailable)
        assert open_files(tmp_path) == []


async def test_small_bodies_hold_no_descriptor(tmp_path: Path) -> None:
    async with disk_tier(tmp_path) as disk:
        staged = disk.stage()
        await staged.write(body_of(SMALL))
        assert files_below(tmp_path) == []
        await staged.seal(LABEL)
        sealed = await put(disk, body_of(SMALL))
        blob = await reopen(disk, sealed)
        assert open_files(tmp_path) == []
        await blob.close()
        await staged.close()


class CountingPool(ThreadPool):
    hops = 0

    async def run(self, call, *args):  # type: ignore[no-untyped-def]
        self.hops += 1
        return await super().run(call, *args)

    def begin(self, call: Callable[[], None], late: Callable[[BaseException], None]) -> None:
        self.hops += 1
        super().begin(call, late)


async def test_a_small_object_takes_one_hop_to_write_and_one_to_read(tmp_path: Path) -> None:
    pool = CountingPool("disk", 2)
    disk = await DiskBlobs.start(tmp_path, Files(), pool, VirtualClock())
    pool.hops = 0
    sealed = await put(disk, body_of(INLINE))
    assert pool.hops == 1
    await read_back(disk, sealed)
    assert pool.hops == 2
    await disk.close()
    await pool.close()


async def test_a_large_body_is_hashed_off_the_loop(tmp_path: Path) -> None:
    class Check(Md5Check):
        threads: set[str]

        def update(self, data: bytes | bytearray | memoryview) -> None:
            seen.add(threading.current_thread().name)
            super().update(data)

    async with disk_tier(tmp_path) as disk:
        for size in (INLINE + 1, LARGE):
            seen: set[str] = set()
            staged = disk.stage(Check())
            await write(staged, body_of(size))
            assert all(name.startswith("tierproxy-disk") for name in seen)
            await staged.close()


async def test_free_space_is_asked_for_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    real = os.statvfs

    def statvfs(path: Path) -> os.statvfs_result:
        asked.append(path)
        return real(path)

    monkeypatch.setattr(os, "statvfs", statvfs)
    pool, clock = ThreadPool("disk", 1), VirtualClock()
    disk = await DiskBlobs.start(tmp_path, Files(), pool, clock)
    for _ in range(3):
        disk.free()
    assert len(asked) == 1
    await clock.advance(1)
    disk.free()
    assert len(asked) == 2
    await pool.close()


async def test_a_footprint_is_what_the_file_takes(tmp_path: Path) -> None:
    async with disk_tier(tmp_path) as disk:
        for size in (0, 4000, LARGE):
            sealed: SealedBlob = await put(disk, body_of(size))
            length = DataDirectory(tmp_path).blob(sealed.name).stat().st_size
            assert length <= sealed.footprint < length + 4096
            assert sealed.footprint % 4096 == 0
