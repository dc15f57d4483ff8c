"""The only place that reads time."""

from __future__ import annotations

import asyncio
import time


def cpu_seconds() -> float:
    """CPU time of the calling thread: how long work takes, however busy the machine is with something else."""
    return time.thread_time()


class SystemClock:
    """The machine's clock (``tierproxy.ports.Clock``)."""

    now = staticmethod(time.time)  # without a call of our own: every request asks several times
    monotonic = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
