"""The only place that reads time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

_SCHEDULED = Path("/proc/thread-self/schedstat")  # nanoseconds on a processor, nanoseconds ready without one, turns


def cpu_seconds() -> float:
    """CPU time of the calling thread: how long work takes, however busy the machine is with something else."""
    return time.thread_time()


def late_seconds() -> float:
    """How long the calling thread was ready and had to wait for a processor, since it began; 0 where the system does
    not say, which is everywhere but on Linux."""
    try:
        return int(_SCHEDULED.read_bytes().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


class SystemClock:
    """The machine's clock (``tierproxy.ports.Clock``)."""

    now = staticmethod(time.time)  # without a call of our own: every request asks several times
    monotonic = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def call_later(self, seconds: float, call: Callable[[], object]) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, call)
