"""Time and threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Clock(Protocol):
    """The only source of time."""

    def now(self) -> float:
        """Wall clock, seconds since the epoch. May jump; never used to decide what is kept safe."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class Offload(Protocol):
    """A bounded, named pool of threads for blocking calls."""

    async def run(self, call: Callable[..., T], *args: Any) -> T:
        """Run ``call(*args)`` in the pool. Cancelling the waiter does not stop the call; its result is dropped."""
        ...

    async def close(self) -> None: ...
