"""A file system in memory, really mounted, and child processes that use it (this process serves it, and must not)."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tierproxy.clock import SystemClock
from tierproxy.fuse.mounting import DEVICE, MountOptions, mounted, unmount
from tierproxy.fuse.notify import Notifier
from tierproxy.fuse.session import Session
from tierproxy.testing.memory_fs import MemoryFs

needs_fuse = pytest.mark.skipif(
    not os.access(DEVICE, os.W_OK) or os.geteuid() != 0, reason="mounting wants root and /dev/fuse"
)
HEAD = "import errno, os, sys, time\nhere = sys.argv[1]\nos.chdir(here)\n"
FAILS = """
def fails(number, call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        assert error.errno == number, error
    else:
        raise AssertionError("no error")
"""


@dataclass
class World:
    fs: MemoryFs
    session: Session
    point: Path
    ended: asyncio.Event
    children: list[asyncio.subprocess.Process] = field(default_factory=list)

    @property
    def notifier(self) -> Notifier:
        assert isinstance(self.session.kernel, Notifier)
        return self.session.kernel

    async def run(self, code: str) -> str:
        """``code`` in a process whose directory is the mount; its output."""
        process = await self.begin(code)
        said, _ = await process.communicate()
        assert process.returncode == 0, f"the child ended with {process.returncode}"
        return said.decode()

    async def begin(self, code: str) -> asyncio.subprocess.Process:
        """The same, without waiting for its end."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", "-c", HEAD + FAILS + code, str(self.point), stdout=asyncio.subprocess.PIPE,
            stdin=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self.children.append(process)
        return process

    async def give_up(self) -> None:
        """The test failed."""
        for child in self.children:
            if child.returncode is None:
                child.kill()
        for child in self.children:
            await child.communicate()


async def line(process: asyncio.subprocess.Process) -> str:
    """What a child says next."""
    assert process.stdout
    return (await process.stdout.readline()).decode().strip()


async def tell(process: asyncio.subprocess.Process, text: str = "go") -> None:
    assert process.stdin
    process.stdin.write(f"{text}\n".encode())
    await process.stdin.drain()


@asynccontextmanager
async def memory_mount(directory: Path, **options: Any) -> AsyncIterator[World]:
    point = directory / "mnt"
    point.mkdir(exist_ok=True)
    session = Session(point, MountOptions(), SystemClock(), patience=5)
    fs = MemoryFs(session.kernel, **options)
    world: World | None = None
    try:
        async with session.serving(fs) as ended:
            yield (world := World(fs, session, point, ended))
    except BaseException:
        if world:
            await world.give_up()
        raise
    finally:
        left = mounted(point)
        if left:
            unmount(point, lazily=True, force=True)
        assert not left


async def until(holds: Any) -> None:
    """Wait for what other tasks bring about."""
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.001)
