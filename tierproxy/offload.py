"""The only place that starts threads: bounded, named pools, so that `py-spy dump` says who is busy."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


class ThreadPool:
    """A pool of at most ``size`` threads called ``tierproxy-<name>-N`` (``tierproxy.ports.Hands``). ``nice``: how far
    they stand back (0 to 19) where threads have a priority of their own, which is Linux. ``last``: there they run only
    while nobody else wants the processor; not for threads that may hold a lock somebody waits for, the interpreter's
    among them."""

    def __init__(self, name: str, size: int, *, nice: int = 0, last: bool = False) -> None:
        self.name = name
        self.size = size
        self._executor = ThreadPoolExecutor(
            size,
            thread_name_prefix=f"tierproxy-{name}",
            initializer=partial(_stand_back, nice, last) if nice or last else None,
        )

    def __repr__(self) -> str:
        return f"<ThreadPool {self.name} of {self.size}>"

    async def run(self, call: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, call, *args)

    def begin(self, call: Callable[[], None]) -> None:
        """As ``tierproxy.ports.Hands``: the loop is not woken when it ends."""
        self._executor.submit(call)

    async def close(self) -> None:
        """Wait for running calls, drop queued ones that nobody waits for."""
        await asyncio.get_running_loop().run_in_executor(None, self._executor.shutdown)


def _stand_back(nice: int, last: bool) -> None:
    """Lower the priority of this thread alone: on Linux a thread is to setpriority what a process is elsewhere."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(OSError):  # what may not be lowered stays: a pool without threads would be worse
            os.setpriority(os.PRIO_PROCESS, thread, max(nice, os.getpriority(os.PRIO_PROCESS, thread)))
            if last:
                os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))


def worker_thread(name: str, body: Callable[[], None]) -> Callable[[], None]:
    """Start one long-lived daemon thread called ``tierproxy-<name>`` that runs ``body``. Returns its join."""
    thread = threading.Thread(target=body, name=f"tierproxy-{name}", daemon=True)
    thread.start()
    return thread.join
