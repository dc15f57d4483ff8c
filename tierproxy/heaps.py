"""Memory of the C library (glibc): two heaps for all threads, and what a burst has left free goes back to the kernel.

Why: docs/decisions/0037-memory.md. Other C libraries (musl) know of neither; nothing is done there.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Mapping
from typing import Protocol

from tierproxy.logs import event
from tierproxy.ports import Clock, Offload

log = logging.getLogger(__name__)

ARENAS = 2
ARENAS_MOST = -8  #: M_ARENA_MAX of mallopt(3)
PERIOD = 10.0  #: seconds between two looks
WORTH = 64 * 2**20  #: bytes; for less nobody stops


def share_arenas(environment: Mapping[str, str]) -> bool:
    """Before the first thread: all of them take their memory from ``ARENAS`` heaps. glibc gives each thread one of its
    own, up to eight for each processor, and what a burst has left free in one is of no use to the others: the process
    would grow for hours by what nobody holds. ``MALLOC_ARENA_MAX`` in ``environment`` has the last word. False where
    the C library knows no such thing (musl)."""
    libc = ctypes.CDLL(None)
    if "MALLOC_ARENA_MAX" in environment or not hasattr(libc, "gnu_get_libc_version"):
        return False
    return bool(libc.mallopt(ARENAS_MOST, ARENAS))


class Heaps(Protocol):
    """All heaps of this process."""

    def free(self) -> int:
        """any thread. Bytes between the blocks in use, also those whose pages the kernel has back already."""
        ...

    def trim(self) -> None:
        """any thread. The kernel gets back every page on which no block is. Blocking, and so is who allocates
        meanwhile: some ten milliseconds for a gigabyte."""
        ...


class _Info(ctypes.Structure):
    """struct mallinfo2 of mallinfo(3)."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    )  # fmt: skip


class CHeaps:
    """Those of glibc 2.33 and later."""

    def __init__(self, libc: ctypes.CDLL) -> None:
        self._trim = libc.malloc_trim
        self._info = libc.mallinfo2
        self._info.restype = _Info

    @classmethod
    def found(cls) -> CHeaps | None:
        """None: another C library, or an older one."""
        libc = ctypes.CDLL(None)
        return cls(libc) if hasattr(libc, "mallinfo2") and hasattr(libc, "malloc_trim") else None

    def free(self) -> int:
        """See ``Heaps``."""
        return int(self._info().fordblks)

    def trim(self) -> None:
        """See ``Heaps``."""
        self._trim(0)


class GivingBack:
    """Looks now and then how much was freed since it last gave something back, and gives back what has stayed free
    from one look to the next. ``thread``: one is enough."""

    def __init__(self, heaps: Heaps, thread: Offload, clock: Clock) -> None:
        self._heaps = heaps
        self._thread = thread
        self._clock = clock
        self._given = 0  # free, and given back before
        self._before = 0  # free at the last look

    def __repr__(self) -> str:
        return f"<GivingBack, {self._before} bytes free>"

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._clock.sleep(PERIOD)
            await self.look()

    async def look(self) -> bool:
        """Whether something was given back."""
        free = await self._thread.run(self._heaps.free)
        self._given = min(self._given, free)  # of what was given back some is in use again
        stayed, self._before = min(free, self._before) - self._given, free
        if stayed < WORTH:
            return False
        await self._thread.run(self._heaps.trim)
        self._given = await self._thread.run(self._heaps.free)
        event(log, logging.DEBUG, "memory given back to the system", freed=stayed)
        return True
