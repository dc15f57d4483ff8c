"""The data directory for offline tools: locked, so that no node runs on it meanwhile."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from tierproxy.alt.opening import open_alt
from tierproxy.catalogue import SqliteCatalogue, catalogue_file, refuse_newer_file
from tierproxy.cli.outcome import err
from tierproxy.cli.settings import data_directory
from tierproxy.clock import SystemClock
from tierproxy.config.sections import Config, StubsSection
from tierproxy.disk.blobs import DiskBlobs
from tierproxy.disk.fsio import Files
from tierproxy.disk.lock import DataLock
from tierproxy.disk.mark import CommitMark
from tierproxy.disk.ownership import close_to_others
from tierproxy.errors import ConfigError
from tierproxy.formats import record, refuse_newer
from tierproxy.mail.names import Naming
from tierproxy.mail.probes import refuse_slow
from tierproxy.near.versions import withdraw
from tierproxy.offload import ThreadPool
from tierproxy.ports import AltTier, Clock, Stubs
from tierproxy.store import walks
from tierproxy.stubs.database import throw_away
from tierproxy.stubs.heads import open_stubs
from tierproxy.wiring_disk import refuse_lost_catalogue

THREADS = 4
T = TypeVar("T")


def run_offline(work: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run``, and a second Ctrl-C ends the process at once: the first one waits for what threads are doing,
    which is a request of twenty seconds if alt hangs. The directory survives any kill."""
    try:
        return asyncio.run(_interruptible(work))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _interruptible(work: Coroutine[Any, Any, T]) -> T:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def interrupted() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        err().print("interrupted, stopping; Ctrl-C again stops at once")  # and it does, before anybody can read this
        if task is not None:
            task.cancel()

    if threading.current_thread() is threading.main_thread():
        loop.add_signal_handler(signal.SIGINT, interrupted)
    return await work


@dataclass(frozen=True, slots=True)
class Offline:
    """What an offline tool works on. ``catalogue`` is opened on demand: a rebuild must not open the damaged one."""

    data: Path
    clock: Clock
    files: Files
    threads: ThreadPool
    disk: DiskBlobs
    alt: AltTier | None
    stack: AsyncExitStack
    naming: Naming

    def catalogue(self, data: Path | None = None) -> SqliteCatalogue:
        """Of ``data`` (default: the data directory); closed with this. Raises ConfigError when the data directory has
        blobs and no catalogue: an empty one, once made, would be taken for the right one."""
        if data is None:
            refuse_lost_catalogue(self.data)
        opened = SqliteCatalogue(data or self.data, self.threads, naming=self.naming.of)
        self.stack.push_async_callback(opened.close)
        if data is None:
            opened.account_for(CommitMark(self.data, self.files).read())
        return opened

    async def stubs(self, section: StubsSection, *, anew: bool = False) -> Stubs:
        """Those of the data directory. ``anew``: they are thrown away first."""
        opened = await open_stubs(section, self.data / "stubs", self.files, anew=anew)
        self.stack.push_async_callback(opened.close)
        return opened


@asynccontextmanager
async def offline(config: Config, *, with_alt: bool, begin: bool = False) -> AsyncIterator[Offline]:
    """``begin``: also where there is no data directory yet, as on a new host. Raises DataDirectoryInUse while a node
    runs, ConfigError, DiskError."""
    data = data_directory(config)
    if not begin and not data.is_dir():
        raise ConfigError(
            f"there is no data directory {data}", hint="is [node] data_dir right, and was the node started?"
        )
    clock, files = SystemClock(), Files()
    refuse_newer(data)  # before the lock, which is a file that would be changed
    refuse_newer_file(catalogue_file(data))
    close_to_others(data, files)
    async with AsyncExitStack() as stack:
        lock = DataLock.take(data, files)
        stack.callback(lock.release)
        record(data, files, version("tierproxy"))
        withdraw(data, files)  # nobody believes what stood when the node was killed
        if not catalogue_file(data).exists():  # whatever makes one may give out the generations of these again
            throw_away(data / "stubs", files)
        threads = ThreadPool("offline", THREADS)
        stack.push_async_callback(threads.close)
        disk = await DiskBlobs.start(data, files, threads, clock)
        stack.push_async_callback(disk.close)
        alt = open_alt(config, clock) if with_alt else None
        if alt is not None:
            stack.push_async_callback(alt.close)
        refuse_slow(config.naming)
        naming = Naming(config.naming, config.folders)
        yield Offline(data, clock, files, threads, disk, alt, stack, naming)


@contextmanager
def progress_bars(*, quiet: bool) -> Iterator[walks.Progress]:
    """A bar per phase on stderr; nothing when ``quiet``."""
    if quiet:
        yield walks.silent
        return
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=err()) as bars:
        tasks: dict[str, TaskID] = {}

        def show(phase: str, done: int, total: int | None) -> None:
            if phase not in tasks:
                tasks[phase] = bars.add_task(phase, total=total)
            bars.update(tasks[phase], completed=done, total=total)

        yield show
