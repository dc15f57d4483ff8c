"""Disk tiers for the tests of this directory."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tierproxy.clock import SystemClock
from tierproxy.disk.blobs import DiskBlobs
from tierproxy.disk.fsio import Files
from tierproxy.disk.guarded import GuardedDisk
from tierproxy.disk.layout import DataDirectory
from tierproxy.offload import ThreadPool, WatchedPool
from tierproxy.testing.contracts.disk import Rig


@asynccontextmanager
async def disk_tier(root: Path, files: Files | None = None, *, threads: int = 4) -> AsyncIterator[DiskBlobs]:
    """A started tier; afterwards its threads are gone and no descriptor below ``root`` is open."""
    pool = ThreadPool("disk", threads)
    try:
        disk = await DiskBlobs.start(root, files or Files(), pool, SystemClock())
        yield disk
        await disk.close()
    finally:
        await pool.close()
    assert open_files(root) == []


@asynccontextmanager
async def disk_rig(root: Path, files: Files) -> AsyncIterator[Rig]:
    paths = DataDirectory(root)
    async with disk_tier(root, files) as disk:
        yield Rig(disk, lambda name, offset: flip(paths.blob(name), offset), lambda name: paths.blob(name).unlink())
        assert list(paths.staging.iterdir()) == []


@asynccontextmanager
async def watched_rig(root: Path, files: Files) -> AsyncIterator[Rig]:
    """As ``disk_rig``, with threads that watch their calls, and a guard that is open."""
    paths, pool = DataDirectory(root), WatchedPool("disk", 4, SystemClock(), patience=60)
    files.pulse = pool.pulse
    try:
        disk = GuardedDisk(await DiskBlobs.start(root, files, pool, SystemClock())).port
        yield Rig(disk, lambda name, offset: flip(paths.blob(name), offset), lambda name: paths.blob(name).unlink())
        await disk.close()
    finally:
        await pool.close()
    assert list(paths.staging.iterdir()) == []
    assert open_files(root) == []


def flip(path: Path, offset: int, bit: int = 1) -> None:
    """Flip one bit of a file."""
    data = bytearray(path.read_bytes())
    data[offset] ^= bit
    path.write_bytes(data)


def open_files(root: Path) -> list[str]:
    """Which files below ``root`` this process has open, unlinked ones too; directories are open while fsynced."""
    targets = map(_target, os.listdir("/proc/self/fd"))
    return [target for target in targets if target.startswith(str(root)) and not Path(target).is_dir()]


def _target(fd: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except FileNotFoundError:  # the listing's own descriptor
        return ""
