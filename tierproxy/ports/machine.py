"""Time, threads and processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Timer(Protocol):
    """A call that is to come."""

    def cancel(self) -> object:
        """loop. It does not come. Idempotent."""
        ...


class Clock(Protocol):
    """The only source of time."""

    def now(self) -> float:
        """Wall clock, seconds since the epoch. May jump; never used to decide what is kept safe."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None: ...

    def call_later(self, seconds: float, call: Callable[[], object]) -> Timer:
        """loop. Have ``call`` called ``seconds`` from now. Far cheaper than a task that sleeps, for what hardly ever
        happens: time limits."""
        ...


class Offload(Protocol):
    """A bounded, named pool of threads for blocking calls."""

    async def run(self, call: Callable[..., T], *args: Any) -> T:
        """Run ``call(*args)`` in the pool. Cancelling the waiter does not stop the call; its result is dropped."""
        ...

    async def close(self) -> None: ...


class Hands(Offload, Protocol):
    """An ``Offload`` that also takes work nobody waits for. One with a patience ends ``run`` with DiskHangs when the
    call does not return in time; the call goes on, and its result is dropped."""

    def begin(self, call: Callable[[], None], late: Callable[[BaseException], None]) -> None:
        """loop. Have ``call`` run in the pool; it tells whom it concerns and raises nothing. ``late``: told on the loop
        that it has not ended in time, or will not be begun; it may end later all the same."""
        ...

    def note(self, error: BaseException) -> None:
        """any thread. A call met this and raised nothing."""
        ...


class WorkerPlace(Protocol):
    """One place of a hit worker, since the node began. ``running``: it listens; else the node does in its place.
    ``connections``: now. ``answers``: requests it answered. ``passed``: connections it passed to the node.
    ``restarts``: how often another process took the place."""

    @property
    def place(self) -> int: ...

    @property
    def running(self) -> bool: ...

    @property
    def connections(self) -> int: ...

    @property
    def answers(self) -> int: ...

    @property
    def passed(self) -> int: ...

    @property
    def restarts(self) -> int: ...


class FileCalls(Protocol):
    """Write-side file calls for rooms beside the disk tier; ``tierproxy.disk.fsio.Files`` is one, and its docstrings
    say what each does. Blocking: for worker threads. Each raises DiskError."""

    def mkdir(self, path: Path) -> bool: ...

    def create(self, path: Path) -> int: ...

    def open_or_create(self, path: Path) -> int: ...

    def write_at(self, fd: int, data: bytes | bytearray | memoryview, offset: int) -> None: ...

    def truncate(self, fd: int, size: int) -> None: ...

    def allocate(self, fd: int, size: int) -> None: ...

    def fsync(self, fd: int) -> None: ...

    def rename(self, source: Path, target: Path) -> None: ...

    def unlink(self, path: Path) -> None: ...

    def fsync_dir(self, path: Path) -> None: ...


class Reserve(Protocol):
    """Room kept back for the catalogue (decision 36). The properties are for any thread, and for one look."""

    @property
    def size(self) -> int:
        """Bytes, when it is whole."""
        ...

    @property
    def left(self) -> int:
        """Bytes that are kept back now."""
        ...

    @property
    def short(self) -> bool:
        """Some of it was let go: there was no room for a commit. What is let go is not for files."""
        ...

    @property
    def low(self) -> bool:
        """Most of it was: what is left is for deletes, not for new rows."""
        ...

    @property
    def shared(self) -> bool:
        """It lies on the file system of the blobs: their room is the catalogue's."""
        ...

    on_given: Callable[[], None]
    """Called in the catalogue's thread when some of it has been let go."""

    def regain(self) -> bool:
        """Take back what there is room for. Blocks. Whether it is whole. Raises DiskError."""
        ...
