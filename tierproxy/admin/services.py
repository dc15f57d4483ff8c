"""What the routers of the admin port may use. ``wiring.py`` fills it; nothing here knows a node."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tierproxy.alt.limit import Counted
from tierproxy.catalogue import CatalogueReader, open_reader
from tierproxy.config.sections import Config
from tierproxy.errors import Busy
from tierproxy.history.log import History
from tierproxy.mail.names import Naming
from tierproxy.ports import Alarms, Catalogue, Clock, Condition, DiskTier, FileCalls, Hot, Offload, Stubs, WorkerPlace
from tierproxy.purge.service import PurgeService
from tierproxy.store.counters import Counters
from tierproxy.store.leases import Leases
from tierproxy.store.scrub import Scrub
from tierproxy.store.space import Space
from tierproxy.store.tally import Tally
from tierproxy.store.tiered import TieredStore
from tierproxy.store.upload import UploadQueue

T = TypeVar("T")

DESK_THREADS = 2
DESK_NICE = 15  #: of 19: a look at every row takes what the object port leaves
DESK_WAITING = 32  #: questions that wait or are answered; more are refused, so that a flood of them does not pile up


class Desk:
    """Questions to the catalogue that take longer than a look-up: a few threads of low priority, each question with a
    read-only connection of its own, so that it sees one committed state and never waits for the writer."""

    def __init__(self, data: Path, threads: Offload) -> None:
        """``threads``: at most ``DESK_THREADS``; they stay the caller's."""
        self._data = data
        self._threads = threads
        self._waiting = 0
        self._readers: list[CatalogueReader] = []  # append and remove are atomic
        self._closed = False

    def __repr__(self) -> str:
        return f"<Desk {self._waiting} questions>"

    async def close(self) -> None:
        """loop. End what runs in the threads: a look at every row of a large catalogue takes longer than the end of a
        node may. It raises DiskError, as every look does that would begin from here on."""
        self._closed = True
        for reader in list(self._readers):
            reader.interrupt()

    async def ask(self, look: Callable[[CatalogueReader], T]) -> T:
        """What ``look`` finds. Raises Busy when too many wait already, ConfigError, DiskError."""
        return await self.run(self._look, look)

    async def run(self, call: Callable[..., T], *args: Any) -> T:
        """``call(*args)``, which needs no catalogue, in one of the threads. Raises Busy and what it raises."""
        if self._waiting >= DESK_WAITING:
            raise Busy("too many questions at once", hint="ask again in a moment")
        self._waiting += 1
        try:
            return await self._threads.run(call, *args)
        finally:
            self._waiting -= 1

    def _look(self, look: Callable[[CatalogueReader], T]) -> T:
        with open_reader(self._data) as reader:
            self._readers.append(reader)
            try:
                if self._closed:  # asked after the reader can be found: one of the two sees the other
                    reader.interrupt()
                return look(reader)
            finally:
                self._readers.remove(reader)


async def _no_metrics() -> tuple[bytes, str]:
    return b"", "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """A running node as its operator's routers see it. Everything is confined to the event loop, ``desk`` excepted.

    ``config``: what is in force now (it changes with a reload). ``config_file``: as the node was started with, for
    child processes (``python -m tierproxy simulate --config ...``); None: defaults and the environment. ``data``: the
    data directory. ``ready``: the node serves. ``started_at``: seconds since the epoch. ``object_url``: where clients
    on this machine find the object port. ``render_metrics``: the text of /metrics and its content type.
    ``conditions``: of the tiers. ``workers``: the places of hit workers.
    """

    config: Callable[[], Config]
    data: Path
    version: str
    clock: Clock
    alarms: Alarms
    catalogue: Catalogue
    disk: DiskTier
    alt: Counted
    hot: Hot
    stubs: Stubs
    space: Space
    counters: Counters
    leases: Leases
    naming: Naming
    queue: UploadQueue
    purges: PurgeService
    scrub: Scrub
    store: TieredStore
    tally: Tally
    history: History
    desk: Desk
    files: FileCalls
    started_at: float
    config_file: Path | None = None
    ready: Callable[[], bool] = lambda: True
    object_url: Callable[[], str | None] = lambda: None
    render_metrics: Callable[[], Awaitable[tuple[bytes, str]]] = _no_metrics
    conditions: Callable[[], Sequence[Condition]] = tuple
    workers: Callable[[], Sequence[WorkerPlace]] = tuple
