"""A store on a disk that falls ill, hangs and gets well again, in time that passes when a test says so."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import DiskSection, MemorySection, QueueSection
from tierproxy.config.values import Duration, Size
from tierproxy.disk.layout import DataDirectory
from tierproxy.ports import State
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.gate import Gate
from tierproxy.testing.hanging import SickFiles
from tierproxy.testing.rig import Rig, name, rig

T = TypeVar("T")
DISK = DiskSection(patience=Duration(10), slow_call=Duration(2), probe_interval=Duration(5), threads=4)
PATIENT = QueueSection(backoff=Duration(3600), max_backoff=Duration(3600))
NO_MEMORY = MemorySection(max_bytes=Size(0))
STEP = 0.5
ENOUGH = DISK.patience + 2.0  #: seconds: the patience, and the look that finds it over


class Ward:
    """``others_hang``: calls that hang and are none of ``files``'."""

    def __init__(self, rig: Rig, alt: FaultyAlt, files: SickFiles, clock: VirtualClock) -> None:
        self.rig = rig
        self.alt = alt
        self.files = files
        self.clock = clock
        self.others_hang = 0
        self.looking = Gate(opened=True)
        health, look = rig.parts.disk_health, rig.parts.disk_health.look_through
        health.look_through = self.looking.guard(look)

    @property
    def state(self) -> State:
        return self.rig.parts.disk_health.state

    def in_alt(self, key: str) -> bytes | None:
        assert isinstance(self.alt.alt, MemoryAlt)
        return self.alt.alt.content(name(key))

    def file_of(self, key: str) -> Path:
        row = self.rig.row(key)
        assert row is not None
        assert row.blob is not None
        return DataDirectory(self.rig.root).blob(row.blob)

    def files_left(self) -> list[Path]:
        """Blobs, and what is staged."""
        paths = DataDirectory(self.rig.root)
        return [*paths.blobs.glob("*/*/*"), *paths.staging.iterdir()]

    # ------------------------------------------------------------ time

    async def outcome(self, work: Coroutine[Any, Any, T]) -> tuple[T | BaseException, float]:
        """What comes of ``work``, and the seconds it waited for calls that hang: no others pass."""
        task, begin = asyncio.ensure_future(work), self.clock.monotonic()
        while not task.done():
            await asyncio.sleep(0.001)
            if self._all_hang():
                await self.clock.advance(STEP)
        return (await asyncio.gather(task, return_exceptions=True))[0], self.clock.monotonic() - begin

    async def result(self, work: Coroutine[Any, Any, T]) -> T:
        found, _ = await self.outcome(work)
        if isinstance(found, BaseException):
            raise found
        return found

    async def passes(self, seconds: float) -> None:
        """Work that does not hang ends before time goes on."""
        target = self.clock.monotonic() + seconds
        while self.clock.monotonic() < target:
            await self._calm()
            await self.clock.advance(min(STEP, target - self.clock.monotonic()))
        await self._calm()

    async def until(self, true: Callable[[], bool], seconds: float = 600.0) -> None:
        end = self.clock.monotonic() + seconds
        while not true():
            assert self.clock.monotonic() < end, f"not within {seconds} s: {self.rig.parts.disk_health}"
            await self.passes(STEP)

    def _all_hang(self) -> bool:
        calls = self.rig.parts.disk_calls
        return calls.under_way > 0 and calls.under_way + calls.stuck <= self.files.hanging + self.others_hang

    async def _calm(self) -> None:
        calls = self.rig.parts.disk_calls
        for _ in range(2000):
            await asyncio.sleep(0.001)
            if self.rig.parts.disk_health.asking and not self.files.hanging:
                continue
            if not calls.under_way or self._all_hang():
                return

    # ------------------------------------------------------------ states

    def doubt(self) -> None:
        self.rig.parts.disk_calls.on_hang("said a test")

    async def unstable(self) -> None:
        self.doubt()
        await self.passes(STEP)
        assert self.state is State.UNSTABLE

    async def down(self, code: int = errno.EIO) -> None:
        self.files.fail(code)
        self.doubt()
        await self.until(lambda: self.state is State.DOWN)

    async def probing(self) -> None:
        """The look-through stands at its gate, ``looking``."""
        self.looking.close()
        await self.down()
        self.files.heal()
        await self.until(lambda: self.state is State.PROBING)

    async def enter(self, state: State) -> None:
        if state is State.UNSTABLE:
            await self.unstable()
        elif state is State.DOWN:
            await self.down()
        elif state is State.PROBING:
            await self.probing()

    async def recovers(self) -> None:
        self.files.heal()
        self.looking.open()
        self.alt.heal()
        await self.until(lambda: self.state is State.NORMAL)
        await self.rig.idle()


@asynccontextmanager
async def ward(root: Path, *, check: bool = True, **sections: Any) -> AsyncIterator[Ward]:
    """Everything is well again at the end, and the invariants hold then (not to ``check``: what a disk did not let go
    of lies there until the next start)."""
    alt, files, clock = FaultyAlt(MemoryAlt()), SickFiles(), VirtualClock()
    chosen = {"queue": PATIENT, "memory": NO_MEMORY, "disk": DISK, **sections}
    async with rig(root, alt=alt, files=files, clock=clock, calls_clock=clock, check=False, **chosen) as r:
        one = Ward(r, alt, files, clock)
        try:
            yield one
            await one.recovers()
            if check:
                await r.check()
        finally:
            files.heal()
