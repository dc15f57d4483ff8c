"""A file system of its own under a node, made read-only and frozen by the kernel, and let go again.

Needs root and the right to mount: skipped without.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import DiskSection, MemorySection
from tierproxy.config.values import Duration, Share, Size
from tierproxy.errors import DiskUnavailable, NoSuchKey
from tierproxy.model import Ack
from tierproxy.ports import State
from tierproxy.testing.rig import Rig, name, rig

DISK = DiskSection(
    patience=Duration(2), slow_call=Duration(1), probe_interval=Duration(0.1), max_bytes=Size(16 * 2**20),
    min_free=Share(percent=0.0),
)  # fmt: skip
LATEST = 50  #: seconds after which a frozen file system goes on, whatever becomes of the test


def run(*command: object) -> None:
    """Skips the test when it is not permitted."""
    try:
        subprocess.run([str(word) for word in command], check=True, capture_output=True, timeout=30)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"{command[0]} is not permitted here: {getattr(error, 'stderr', b'') or error!r}")


@contextmanager
def mounted(root: Path, *options: object) -> Iterator[Path]:
    root.mkdir(exist_ok=True)
    run("mount", *options, root)
    try:
        yield root
    finally:
        subprocess.run(["umount", "--lazy", str(root)], check=True, capture_output=True)


@contextmanager
def read_only(root: Path) -> Iterator[None]:
    """Over itself: what is opened by its name from now on is read-only. (The kernel makes no file system read-only that
    has a file open for writing.)"""
    with mounted(root, "--bind", root):
        run("mount", "-o", "remount,bind,ro", root)
        yield


@contextmanager
def ext4(image: Path, root: Path) -> Iterator[Path]:
    if shutil.which("mkfs.ext4") is None or shutil.which("fsfreeze") is None:
        pytest.skip("there is no mkfs.ext4, or no fsfreeze")
    with image.open("wb") as file:
        file.truncate(48 * 2**20)
    run("mkfs.ext4", "-q", image)
    with mounted(root, "-o", "loop", image):
        yield root


@contextmanager
def frozen(root: Path) -> Iterator[None]:
    """Every write to it hangs in the kernel."""
    guard = subprocess.Popen(["sh", "-c", f"sleep {LATEST}; fsfreeze -u '{root}'"])  # should this process hang, too
    try:
        run("fsfreeze", "-f", root)
        try:
            yield
        finally:
            subprocess.run(
                ["fsfreeze", "-u", str(root)], check=False, capture_output=True
            )  # the guard may have been quicker
    finally:
        guard.kill()
        guard.wait()


@asynccontextmanager
async def node(root: Path) -> AsyncIterator[tuple[Rig, MemoryAlt]]:
    alt = MemoryAlt()
    async with rig(root, alt=alt, disk=DISK, memory=MemorySection(max_bytes=Size(0))) as r:
        yield r, alt


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.01)


def state(r: Rig) -> State:
    return r.parts.disk_health.state


async def test_a_file_system_that_turns_read_only_is_gone_round_and_comes_back(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=32m", "tmpfs") as root:
        async with node(root / "data") as (r, alt):
            await r.put("kept", b"kept")
            await r.put("changed", b"old")
            await r.put("deleted", b"deleted")
            with read_only(root / "data"):
                for number in range(200):
                    written = await r.put(f"u.{number}", b"a mail")
                    assert written.entry.tiers == ("alt",)
                    if state(r) is State.DOWN:
                        break
                    await asyncio.sleep(0.01)
                await until(lambda: state(r) is State.DOWN)
                assert await r.get("kept") == b"kept"
                assert (await r.put("changed", b"new")).entry.tiers == ("alt",)
                with pytest.raises(DiskUnavailable):
                    await r.put("changed", b"newer", ack=Ack.DISK)
                await r.delete("deleted")
                assert await r.get("changed") == alt.content(name("changed")) == b"new"
            await until(lambda: state(r) is State.NORMAL)
            assert await r.get("changed") == b"new"
            with pytest.raises(NoSuchKey):
                await r.get("deleted")
            assert (await r.put("kept", b"kept again")).entry.tiers == ("disk", "alt")
            await r.idle()


async def test_nobody_waits_for_a_file_system_that_is_frozen_and_nothing_is_wrong_afterwards(tmp_path: Path) -> None:
    """The catalogue is on another: SQLite writes to mapped memory while it reads, and the loop would wait with it."""
    with ext4(tmp_path / "image", tmp_path / "disk") as root:
        (root / "data").mkdir()
        with mounted(root / "data/catalogue", "-t", "tmpfs", "-o", "size=32m", "tmpfs"):
            async with node(root / "data") as (r, alt):
                await r.put("read", b"read")
                await r.put("changed", b"old")
                await r.put("deleted", b"deleted")
                with frozen(root):
                    async with asyncio.timeout(45):
                        await _goes_round(r)
                await until(lambda: state(r) is State.NORMAL and not r.parts.disk_calls.stuck)
                await r.idle()
                assert await r.get("changed") == alt.content(name("changed")) == b"new"
                for key in ("deleted", "new"):
                    with pytest.raises(NoSuchKey):
                        await r.get(key)
                assert (await r.put("new", b"again")).entry.tiers == ("disk", "alt")
                await r.idle()


async def _goes_round(r: Rig) -> None:
    assert await r.get("read") == b"read"
    assert (await r.put("changed", b"new")).entry.tiers == ("alt",)
    with pytest.raises(DiskUnavailable):
        await r.put("new", b"a mail", ack=Ack.DISK)
    await r.delete("deleted")
    await until(lambda: state(r) is State.DOWN)
    assert await r.get("read") == b"read"
    assert await r.get("changed") == b"new"
