"""Threads share a few heaps of the C library, and what is free there for long goes back (``tierproxy.heaps``)."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from tierproxy.cli.serve import keep_giving_back
from tierproxy.heaps import PERIOD, CHeaps, GivingBack
from tierproxy.offload import ThreadPool
from tierproxy.testing.clock import VirtualClock

T = TypeVar("T")
MIB = 2**20

HEAPS = """
import ctypes, sys, threading
from tierproxy.heaps import share_arenas

print(share_arenas({"MALLOC_ARENA_MAX": "7"} if sys.argv[1] == "told" else {}) if sys.argv[1] != "left" else None)
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
together = threading.Barrier(9)

def hold():
    libc.malloc(ctypes.c_size_t(50_000))
    together.wait()
    together.wait()

threads = [threading.Thread(target=hold) for _ in range(8)]
for thread in threads:
    thread.start()
together.wait()
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
together.wait()
for thread in threads:
    thread.join()
"""


def heaps(how: str) -> tuple[str, int]:
    """What ``share_arenas`` returned, and the number of heaps of nine threads."""
    ran = subprocess.run([sys.executable, "-c", HEAPS, how], env={}, check=True, capture_output=True, text=True)
    return next(line for line in ran.stdout.splitlines() if "<" not in line), ran.stdout.count("<heap nr=")


def test_threads_share_two_heaps() -> None:
    assert heaps("shared") == ("True", 2)


@pytest.mark.parametrize(("how", "said"), [("left", "None"), ("told", "False")])
def test_each_thread_has_its_own_otherwise(how: str, said: str) -> None:
    assert heaps(how)[0] == said
    assert heaps(how)[1] > 2


# ---------------------------------------------------------------- given back

BURST = """
import ctypes
from pathlib import Path
from tierproxy.heaps import CHeaps, share_arenas

share_arenas({})
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

blocks = [libc.malloc(30_000) for _ in range(5_000)]
for block in blocks:
    ctypes.memset(block, 1, 30_000)
full = resident()
for number, block in enumerate(blocks):
    if number % 500:  # some stay, so that the heap cannot simply be cut shorter
        libc.free(block)
heaps = CHeaps.found()
kept, free = resident(), heaps.free()
heaps.trim()
print(full, kept, free, resident())
"""


def test_what_a_burst_left_free_goes_back_to_the_system() -> None:
    if CHeaps.found() is None:
        pytest.skip("another C library")
    ran = subprocess.run([sys.executable, "-c", BURST], env={}, check=True, capture_output=True, text=True)
    full, kept, free, left = map(int, ran.stdout.split())
    assert full - kept < 50 * MIB, "free(3) alone does not do it"
    assert free > 100 * MIB
    assert kept - left > 100 * MIB


class Freed:
    """Heaps with so many bytes ``now`` free."""

    def __init__(self) -> None:
        self.now = 0
        self.trims = 0

    def free(self) -> int:
        return self.now

    def trim(self) -> None:
        self.trims += 1


async def looks(giving: GivingBack, heaps: Freed, *free: int) -> list[bool]:
    found = []
    for megabytes in free:
        heaps.now = megabytes * MIB
        found.append(await giving.look())
    return found


@pytest.mark.parametrize(
    ("free", "given"),
    [
        ((10, 63, 63), (False, False, False)),
        ((800, 800, 800, 800), (False, True, False, False)),
        ((800, 20, 800, 20), (False, False, False, False)),
        ((800, 800, 100, 800, 800), (False, True, False, False, True)),
        ((800, 800, 830, 870, 870), (False, True, False, False, True)),
    ],
    ids=["not worth it", "once", "in use again", "another burst", "more and more"],
)
async def test_what_stays_free_is_given_back_once(free: tuple[int, ...], given: tuple[bool, ...]) -> None:
    heaps, thread = Freed(), ThreadPool("heaps", 1)
    giving = GivingBack(heaps, thread, VirtualClock())
    assert await looks(giving, heaps, *free) == list(given)
    assert heaps.trims == sum(given)
    await thread.close()


async def test_it_looks_again_and_again() -> None:
    heaps, clock = Freed(), VirtualClock()
    heaps.now = 200 * MIB
    giving = asyncio.create_task(GivingBack(heaps, Here(), clock).run())
    trims = []
    for _ in range(3):
        await clock.advance(PERIOD)
        trims.append(heaps.trims)
    assert trims == [0, 1, 1]
    giving.cancel()
    await asyncio.gather(giving, return_exceptions=True)


class Here:
    """``tierproxy.ports.Offload`` without a thread."""

    async def run(self, call: Callable[..., T], *args: Any) -> T:
        return call(*args)

    async def close(self) -> None:
        """Nothing is open."""


async def test_the_programs_task_ends_with_it() -> None:
    def threads() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("tierproxy-heaps")]

    clock = VirtualClock()
    beside = asyncio.create_task(keep_giving_back(clock))
    await clock.advance(PERIOD)
    assert threads(), "it has looked"
    beside.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beside
    assert not threads()
