"""The only place that starts threads: bounded, named pools, so that `py-spy dump` says who is busy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class ThreadPool:
    """A pool of at most ``size`` threads called ``tierproxy-<name>-N`` (``tierproxy.ports.Offload``)."""

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self._executor = ThreadPoolExecutor(size, thread_name_prefix=f"tierproxy-{name}")

    def __repr__(self) -> str:
        return f"<ThreadPool {self.name} of {self.size}>"

    async def run(self, call: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, call, *args)

    async def close(self) -> None:
        """Wait for running calls, drop queued ones that nobody waits for."""
        await asyncio.get_running_loop().run_in_executor(None, self._executor.shutdown)


def worker_thread(name: str, body: Callable[[], None]) -> Callable[[], None]:
    """Start one long-lived daemon thread called ``tierproxy-<name>`` that runs ``body``. Returns its join."""
    import threading

    thread = threading.Thread(target=body, name=f"tierproxy-{name}", daemon=True)
    thread.start()
    return thread.join
