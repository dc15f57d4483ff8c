"""The machine stops at every call that changes the disk, and forgets what was not fsynced."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tierproxy.clock import SystemClock
from tierproxy.disk.blobs import DiskBlobs
from tierproxy.disk.fsio import Files
from tierproxy.disk.layout import DataDirectory
from tierproxy.errors import BlobCorrupt, DiskError
from tierproxy.model import SealedBlob
from tierproxy.offload import ThreadPool
from tierproxy.testing.contracts.disk import LABEL, Md5Check, body_of, names, put, read_back, write
from tierproxy.testing.crash import CrashFiles, SimulatedCrash

from .rigs import disk_tier, open_files

LARGE = 1_400_000


class Acknowledged:
    """What the disk tier has promised so far: blobs and parts that are there, names that are gone."""

    def __init__(self) -> None:
        self.there: dict[str, SealedBlob] = {}
        self.gone: set[str] = set()
        self.parts: dict[str, tuple[int, str]] = {}

    async def put(self, disk: DiskBlobs, size: int) -> str:
        sealed = await put(disk, body_of(size))
        self.there[sealed.name] = sealed
        return sealed.name

    async def remove(self, disk: DiskBlobs, *names: str) -> None:
        removed = [self.there.pop(name) for name in names]  # from here on either is right
        await disk.remove(names)
        self.gone.update(blob.name for blob in removed)

    async def keep_part(self, disk: DiskBlobs, size: int) -> None:
        check = Md5Check()
        staged = disk.stage(check)
        try:
            await write(staged, body_of(size))
            self.parts[await disk.keep_part(staged)] = (size, check.etag())
        finally:
            await staged.close()


async def one_after_the_other(disk: DiskBlobs, told: Acknowledged) -> None:
    small = await told.put(disk, 1000)
    large = await told.put(disk, LARGE)
    await told.keep_part(disk, 500)
    await told.remove(disk, small, large)
    await told.put(disk, 0)


async def all_at_once(disk: DiskBlobs, told: Acknowledged) -> None:
    await together(*(told.put(disk, 1000 * n) for n in range(5)))
    first, second, third, *_ = told.there
    changes = told.remove(disk, first, second), told.put(disk, LARGE), told.remove(disk, third)
    await together(told.put(disk, 77), *changes)


async def together(*work: Coroutine[Any, Any, object]) -> None:
    """Run all to their ends, then raise what one of them raised."""
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


Story = Callable[[DiskBlobs, Acknowledged], Awaitable[None]]


async def run_until_crash(root: Path, files: Files, story: Story) -> Acknowledged:
    told = Acknowledged()
    pool = ThreadPool("disk", 2)
    with suppress(SimulatedCrash):
        disk = await DiskBlobs.start(root, files, pool, SystemClock())
        with suppress(SimulatedCrash):
            await story(disk, told)
        await disk.close()
    await pool.close()
    assert open_files(root) == []
    return told


async def check_after_restart(root: Path, told: Acknowledged) -> None:
    async with disk_tier(root) as disk:
        await disk.clear_staging()
        found = await names(disk)
        for name in found - set(told.there):
            with suppress(BlobCorrupt):
                _, sealed = await disk.verify(name)
                assert await read_back(disk, sealed) == body_of(sealed.size)
        for sealed in told.there.values():
            assert await disk.verify(sealed.name) == (LABEL, sealed)
        assert not found & told.gone
        for file, (size, etag) in told.parts.items():
            part = await disk.open_part(file, size, etag)
            assert await part.read(0, size) == body_of(size)
            await part.close()
        assert await read_back(disk, await put(disk, b"life goes on")) == b"life goes on"
    assert list(DataDirectory(root).staging.iterdir()) == []


@pytest.mark.parametrize("torn", [False, True])
@pytest.mark.parametrize("keep", [None, 0.0, 0.5])
@pytest.mark.parametrize("story", [one_after_the_other, all_at_once])
async def test_what_was_acknowledged_survives_a_stop_at_any_call(
    tmp_path: Path, story: Story, keep: float | None, torn: bool
) -> None:
    """``keep`` None: the process was killed and the machine lives on."""
    for step in range(1, 1000):
        root = tmp_path / str(step)
        files = CrashFiles(step, torn=torn)
        told = await run_until_crash(root, files, story)
        crashed = files.crashed
        if keep is not None:
            files.power_cut(root, step, keep=keep)
        await check_after_restart(root, told)
        if not crashed:
            assert len(told.there) + len(told.gone) >= 3
            assert step > 30
            return
    raise AssertionError("the story does not end")


class Forgetful(CrashFiles):
    """A machine on which one kind of call does nothing."""

    def __init__(self, forgotten: str) -> None:
        super().__init__()
        self.forgotten = forgotten

    def call(self, kind: str, function: Callable[..., Any], *args: Any) -> Any:
        return None if kind == self.forgotten else super().call(kind, function, *args)


@pytest.mark.parametrize("forgotten", ["fsync", "fsync_dir"])
async def test_a_forgotten_fsync_would_be_found(tmp_path: Path, forgotten: str) -> None:
    files = Forgetful(forgotten)
    told = await run_until_crash(tmp_path / "data", files, one_after_the_other)
    files.power_cut(tmp_path / "data", 1)
    with pytest.raises(DiskError):
        await check_after_restart(tmp_path / "data", told)


async def test_a_crash_reaches_the_task_that_waits_and_spares_the_threads(tmp_path: Path) -> None:
    files = CrashFiles()
    pool = ThreadPool("disk", 1)
    disk = await DiskBlobs.start(tmp_path, files, pool, SystemClock())
    files.crash_at = files.steps + 1
    with pytest.raises(SimulatedCrash):
        await put(disk, b"x")
    assert await pool.run(lambda: "alive") == "alive"
    await disk.close()
    await pool.close()
