"""One node: what is started in which order, and stopped in which.

Start: recover what a crash left, open the ports for clients, then everything that works in the background. Stop is the
reverse, and finishes or journals everything: no new requests; running ones end within the grace; uploads that are under
way end or stay in the journal; the catalogue is closed last, the data directory's lock after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from tierproxy.alt.limit import Counted
from tierproxy.config.sections import Config, ListenSection
from tierproxy.disk.mark import CommitMark
from tierproxy.errors import AltError, TierproxyError
from tierproxy.history.log import History
from tierproxy.logs import event
from tierproxy.mail.names import Naming
from tierproxy.metrics import Activity, Exposition
from tierproxy.near.store import NearStore
from tierproxy.offload import WatchedPool
from tierproxy.ports import Alarms, Catalogue, Clock, Condition, DiskTier, Hot, Stubs, Versions
from tierproxy.purge.pressure import PressurePurge
from tierproxy.purge.service import PurgeService
from tierproxy.store.bookkeeping import Bookkeeping
from tierproxy.store.buckets import Buckets
from tierproxy.store.counters import Counters
from tierproxy.store.disk_health import DiskHealth
from tierproxy.store.flight import Flights
from tierproxy.store.health import AltHealth
from tierproxy.store.leases import Leases
from tierproxy.store.lookup import Lookup
from tierproxy.store.policies import Policies
from tierproxy.store.recover import Recovery
from tierproxy.store.scrub import Scrub
from tierproxy.store.space import Space
from tierproxy.store.stubbing import Stubbing
from tierproxy.store.tally import Tally
from tierproxy.store.tasks import Tasks
from tierproxy.store.tiered import TieredStore
from tierproxy.store.upload import UploadQueue

log = logging.getLogger(__name__)
PAUSE = 5.0
MARK_PERIOD = 1.0


class Server(Protocol):
    """What listens for clients."""

    @property
    def url(self) -> str | None: ...

    async def start(self) -> None: ...

    async def stop(self, grace: float) -> None: ...

    def reload(self, listen: ListenSection) -> None:
        """loop. Reloadable options have changed."""
        ...


class Admin(Server, Protocol):
    """What listens for operators."""

    def login_url(self) -> str:
        """loop. Logs a browser in, once and soon."""
        ...

    def follow(self, config: Config) -> None:
        """loop. A configuration in which the reloadable options have changed."""
        ...


@dataclass
class Parts:
    """Everything a node consists of, wired together but not started. ``works``: what else runs beside, and its name.
    ``closers`` are called last, in reverse. ``activity``: of the object port, once there is one;
    ``object_url``: where it is. ``ready``: clients are served."""

    config: Config
    clock: Clock
    alarms: Alarms
    catalogue: Catalogue
    disk: DiskTier
    alt: Counted
    hot: Hot
    space: Space
    counters: Counters
    policies: Policies
    buckets: Buckets
    lookup: Lookup
    flights: Flights
    tally: Tally
    leases: Leases
    bookkeeping: Bookkeeping
    naming: Naming
    stubs: Stubs
    stubbing: Stubbing
    queue: UploadQueue
    recovery: Recovery
    purges: PurgeService
    scrub: Scrub
    tasks: Tasks
    store: TieredStore
    mark: CommitMark
    history: History
    versions: Versions
    near: NearStore
    alt_health: AltHealth
    disk_health: DiskHealth
    disk_calls: WatchedPool
    check_alt: Callable[[], Awaitable[None]] | None = None
    metrics: Exposition | None = None
    activity: Callable[[], Activity] = Activity
    object_url: str | None = None
    ready: bool = False
    works: list[tuple[Callable[[], Awaitable[None]], str]] = field(default_factory=list)
    closers: list[Callable[[], Awaitable[None]]] = field(default_factory=list)

    def conditions(self) -> list[Condition]:
        """loop. How the tiers are: the disk, then alt for each bucket."""
        return [*self.disk_health.conditions(), *self.alt_health.conditions()]

    @property
    def purge(self) -> PressurePurge:
        """What keeps the disk budget."""
        return self.purges.pressure


class Node:
    """A process' one node. ``start`` once, ``stop`` once; a failing ``start`` stops what it had started."""

    def __init__(
        self,
        open_parts: Callable[[], Awaitable[Parts]],
        make_server: Callable[[Parts], Server | None],
        make_admin: Callable[[Parts], Admin | None] = lambda _parts: None,
    ) -> None:
        self._open_parts = open_parts
        self._make_server = make_server
        self._make_admin = make_admin
        self._parts: Parts | None = None
        self._background: list[asyncio.Task[None]] = []
        self.server: Server | None = None
        self.admin: Admin | None = None

    @property
    def parts(self) -> Parts:
        """What ``start`` opened."""
        if self._parts is None:
            raise RuntimeError("the node is not started")
        return self._parts

    @property
    def store(self) -> TieredStore:
        return self.parts.store

    @property
    def url(self) -> str | None:
        """Where clients find the object port."""
        return self.server.url if self.server else None

    async def start(self) -> None:
        """Returns when clients are served. Raises ConfigError, DiskError."""
        self._parts = parts = await self._open_parts()
        try:
            await parts.recovery.before_serving()
            await parts.scrub.prepare()
            await parts.buckets.load()
            await parts.purges.prepare()
            await self._first_look()
            parts.versions.all_changed()  # nobody believes what was true before the recovery
            self.server = self._make_server(parts)
            if self.server is not None:
                await self.server.start()
            parts.object_url = self.url
            self.admin = self._make_admin(parts)
            if self.admin is not None:
                await self.admin.start()
            self._start_background(parts)
            parts.ready = True
        except BaseException:
            await self.stop(0)
            raise
        event(log, logging.INFO, "ready", url=self.url, data=parts.config.node.data_dir)

    async def stop(self, grace: float | None = None) -> None:
        """Within about ``grace`` seconds (default: the configured one). Never raises for what is journaled anyway."""
        parts = self.parts
        limit = parts.config.node.shutdown_grace if grace is None else grace
        parts.ready = False
        parts.store.feed.close()  # streams without an end would hold up the server until its grace is over
        if self.admin is not None:
            await self.admin.stop(limit)
        if self.server is not None:
            await self.server.stop(limit)
        await self.quiet()
        await parts.queue.stop(limit)
        left = await parts.tasks.drain(limit)
        await parts.stubbing.settle()
        await parts.tally.flush()
        await parts.history.stop()
        totals = parts.catalogue.queue_totals()
        with contextlib.suppress(TierproxyError):
            await self._note()
        for close in reversed(parts.closers):
            with contextlib.suppress(TierproxyError):
                await close()
        event(log, logging.INFO, "stopped", journaled=totals.jobs, cancelled=left)

    async def quiet(self) -> None:
        """Stop everything that works by itself in the background, uploads under way excepted."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self.parts.purges.stop()
        await self.parts.scrub.stop()

    async def _note(self) -> None:
        """Not on the loop, which must go on when the disk does not."""
        committed, mark = self.parts.catalogue.committed(), self.parts.mark
        if committed != mark.noted:
            await self.parts.disk_calls.run(mark.write, committed)

    async def _note_commits(self) -> None:
        while True:
            await self.parts.clock.sleep(MARK_PERIOD)
            await self._note()

    def reload(self, config: Config) -> None:
        """loop. Apply the reloadable options of ``config``; the others wait for the next start."""
        parts = self.parts
        parts.config = config
        parts.policies.reload(config)
        parts.tally.reload(config.counting)
        parts.bookkeeping.reload(config.counting)
        parts.stubbing.reload(config.stubs)
        parts.tasks.spawn(parts.buckets.doubt_shared(), "doubt shared buckets")
        parts.purges.reload(config)
        parts.queue.reload(config.queue)
        parts.scrub.reload(config.scrub)
        parts.disk_health.reload(config.disk)
        parts.history.reload(config.history)
        parts.versions.all_changed()  # who writes to a bucket may be another now
        if self.server is not None:
            self.server.reload(config.listen)
        if self.admin is not None:
            self.admin.follow(config)
        event(log, logging.INFO, "configuration reloaded")

    async def _first_look(self) -> None:
        """An empty alt makes its buckets complete before the first request; alt being down is not waited for long."""
        with contextlib.suppress(AltError, TimeoutError):
            async with asyncio.timeout(self.parts.config.alt.connect_timeout * 2):
                await self.parts.buckets.complete_where_known()

    def _start_background(self, parts: Parts) -> None:
        works: list[tuple[Callable[[], Awaitable[None]], str]] = [
            (parts.queue.run, "upload-queue"),
            (parts.tally.run, "tally"),
            (parts.bookkeeping.classify, "classify"),
            (parts.bookkeeping.prune, "prune-counts"),
            (self._note_commits, "commit-mark"),
            (parts.stubbing.run, "stubs"),
            (parts.history.run, "history"),
            (parts.recovery.run, "recovery"),
            (parts.disk_health.run, "disk-health"),
            (parts.store.multipart.keep_expiring, "multipart-expiry"),
        ]
        works += [*parts.purges.works(), *parts.works]
        if parts.check_alt is not None:
            works.append((parts.check_alt, "alt-check"))
        for work, name in works:
            self._background.append(
                asyncio.get_running_loop().create_task(_watched(work, name, parts.clock), name=name)
            )
        parts.purges.start()
        parts.scrub.start()


async def _watched(work: Callable[[], Awaitable[None]], name: str, clock: Clock) -> None:
    """Trouble the errors have a name for (a full disk, alt down) passes: begin again after a pause. Anything else is a
    defect an operator must hear of; the other tasks go on."""
    while True:
        try:
            await work()
            return
        except TierproxyError as error:
            event(log, logging.ERROR, "background task interrupted", task=name, error=error)
        except Exception as error:
            event(log, logging.CRITICAL, "background task broke", task=name, error=error)
            raise
        await clock.sleep(PAUSE)
