"""The only place that knows everybody: from a configuration to a node."""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

from tierproxy.alt.limit import Counted, most_connections
from tierproxy.alt.opening import OwnThreads, alt_check, open_alt
from tierproxy.catalogue import SqliteCatalogue, catalogue_file, refuse_newer_file
from tierproxy.clock import SystemClock
from tierproxy.config.sections import Config
from tierproxy.disk.blobs import DiskBlobs
from tierproxy.disk.fsio import Files
from tierproxy.disk.guarded import GuardedDisk
from tierproxy.disk.inline import InlineBodies
from tierproxy.disk.lock import DataLock
from tierproxy.disk.mark import CommitMark
from tierproxy.disk.ownership import close_to_others
from tierproxy.formats import record, refuse_newer
from tierproxy.history.log import History, NoHistory
from tierproxy.hot.memory import memory_tier
from tierproxy.mail.names import Naming
from tierproxy.mail.probes import refuse_slow
from tierproxy.metrics import Activity, Exposition, LoopLag, Measured, Sources, otel_spans
from tierproxy.near.store import NearStore
from tierproxy.near.versions import VersionTable
from tierproxy.node import Node, Parts, Server
from tierproxy.offload import ThreadPool
from tierproxy.ports import Alarms, AltTier, Catalogue, Clock, DiskTier, Hot, Near, Reserve, Spans, Stubs
from tierproxy.purge.service import PurgeService
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.auth import Authenticator
from tierproxy.s3api.lane.lane import HitLane
from tierproxy.s3api.lane.ports import Lane
from tierproxy.server import ObjectServer
from tierproxy.server.descriptors import allowed_connections, kept_descriptors
from tierproxy.server.hits_first import HitsFirst
from tierproxy.server.openings import Openings
from tierproxy.server.shared_server import SharedServer
from tierproxy.store.alarms import AlarmBoard
from tierproxy.store.around import Around
from tierproxy.store.bookkeeping import Bookkeeping
from tierproxy.store.buckets import Buckets
from tierproxy.store.changes import Changes
from tierproxy.store.copying import Copier
from tierproxy.store.counters import Counters
from tierproxy.store.deleter import Deleter
from tierproxy.store.describing import Describing
from tierproxy.store.feed import ChangeFeed
from tierproxy.store.fill import FillChoice
from tierproxy.store.flight import Flights
from tierproxy.store.guarded import Guarded
from tierproxy.store.health import AltHealth
from tierproxy.store.jobs import AltWrites, Jobs
from tierproxy.store.late import LateChanges
from tierproxy.store.leases import Leases
from tierproxy.store.listing import Listings
from tierproxy.store.look_through import LookThrough
from tierproxy.store.lookup import Lookup
from tierproxy.store.multipart import Multipart
from tierproxy.store.order import KeyOrder
from tierproxy.store.patience import Patience
from tierproxy.store.policies import Policies
from tierproxy.store.reader import Reader
from tierproxy.store.recover import Recovery
from tierproxy.store.rollups import Rollups
from tierproxy.store.room import NoReserve
from tierproxy.store.scrub import Scrub
from tierproxy.store.shelf import Shelf
from tierproxy.store.space import Space
from tierproxy.store.stubbing import Stubbing
from tierproxy.store.tally import Tally
from tierproxy.store.tasks import Tasks
from tierproxy.store.tiered import TieredStore
from tierproxy.store.upload import UploadQueue
from tierproxy.store.versioned import VersionedCatalogue
from tierproxy.store.writer import Writer
from tierproxy.stubs.heads import NoStubs, open_stubs
from tierproxy.wiring_disk import (
    DiskFollowers,
    WatchedDisk,
    accounting,
    closing,
    held_back,
    history_opener,
    refuse_lost_catalogue,
    room_keeper,
)
from tierproxy.wiring_worker import authenticator, setup_of, share_of_memory


@dataclass
class Doors:
    """The implementations of the ports a store is made of, open and ready."""

    config: Config
    clock: Clock
    catalogue: Catalogue
    disk: DiskTier
    alt: AltTier
    hot: Hot
    mark: CommitMark
    naming: Naming
    versions: VersionTable
    watched: WatchedDisk
    stubs: Stubs = field(default_factory=NoStubs)
    reserve: Reserve = field(default_factory=NoReserve)
    random: Callable[[], float] = random.random
    open_history: Callable[[Alarms], History] = lambda alarms: NoHistory()
    closers: list[Callable[[], Awaitable[None]]] = field(default_factory=list)


def assemble(doors: Doors) -> Parts:
    """loop. Wire a store and everything that works beside it; nothing is started."""
    config, clock, hot, tasks, alarms = doors.config, doors.clock, doors.hot, Tasks(), AlarmBoard()
    disk_health = doors.watched.health(alarms, clock, config)
    commits, guard = doors.watched.commits(tasks, disk_health), GuardedDisk(doors.disk)
    catalogue, disk = VersionedCatalogue(doors.catalogue, doors.versions, commits).port, guard.port
    doors = replace(doors, catalogue=catalogue)
    alt = doors.alt if isinstance(doors.alt, Counted) else Counted(doors.alt, clock)
    counters, order = Counters(), KeyOrder()
    history = doors.open_history(alarms)
    naming, leases = doors.naming, Leases()
    policies = Policies(config, clock, naming.of)
    space = accounting(config.disk, catalogue, disk, doors.reserve)
    stubbing = Stubbing(doors.stubs, disk, clock, config.stubs, space.short)
    shelf = Shelf(
        disk=disk, catalogue=catalogue, hot=hot, space=space, tasks=tasks, clock=clock, counters=counters,
        alarms=alarms, history=history, held=leases.held, stubbing=stubbing,
    )  # fmt: skip
    health = AltHealth(alarms, clock, config.alt, random=doors.random, buckets=policies.configured)
    late = LateChanges(doors.versions, clock, config.alt.request_timeout)
    doors.closers.append(late.close)
    guarded = Guarded(alt, health, late)
    if alt.budget is not None:
        alt.budget.steady = health.steady
    buckets = Buckets(
        catalogue=catalogue, alt=guarded, policies=policies, tasks=tasks, clock=clock, dynamic=config.dynamic_buckets
    )
    lookup = Lookup(
        catalogue=catalogue, alt=guarded, buckets=buckets, policies=policies, order=order, shelf=shelf, tasks=tasks,
        clock=clock, alarms=alarms, space=space, late=config.alt.request_timeout,
    )  # fmt: skip
    choice = FillChoice(policies, clock)
    flights = Flights(
        alt=guarded, disk=disk, catalogue=catalogue, hot=hot, space=space, shelf=shelf, lookup=lookup, choice=choice,
        tasks=tasks, clock=clock, counters=counters, leases=leases,
        stubbing=stubbing, etag_is_md5=config.alt.server_side_encryption != "aws:kms",
    )  # fmt: skip
    shelf.on_change += [flights.detach, doors.stubs.drop]
    tally = Tally(
        catalogue=catalogue, clock=clock, counters=counters, rollups=Rollups(counters.sample, alt.sample),
        naming=naming.of, history=history, settings=config.counting,
    )  # fmt: skip
    bookkeeping = Bookkeeping(catalogue, clock, naming.fingerprint(), config.counting)
    reader = Reader(
        hot=hot, disk=disk, only_copies=doors.disk, alt=guarded, catalogue=catalogue, lookup=lookup, flights=flights,
        choice=choice, shelf=shelf, tally=tally, leases=leases, counters=counters, clock=clock, stubbing=stubbing,
        disk_health=disk_health,
    )  # fmt: skip
    writes = AltWrites(guarded, alt, health, clock)
    jobs = Jobs(catalogue=catalogue, disk=doors.disk, writes=writes, alarms=alarms, shelf=shelf)
    queue = UploadQueue(
        catalogue=catalogue, perform=jobs.perform, clock=clock, settings=config.queue,
        max_bytes=config.disk.max_bytes, random=doors.random, counters=counters, alarms=alarms,
    )  # fmt: skip
    patience = Patience(policies, health, clock)
    changes = Changes(
        catalogue=catalogue, disk=disk, lookup=lookup, buckets=buckets, shelf=shelf, queue=queue, writes=writes,
        clock=clock, counters=counters, tally=tally, patience=patience,
    )  # fmt: skip
    describing = Describing(policies=policies, named=naming.said, clock=clock)
    around = Around(alt=guarded, changes=changes, order=order, space=space, tasks=tasks, describing=describing)
    writer = Writer(
        disk=disk, catalogue=catalogue, changes=changes, around=around, buckets=buckets, policies=policies,
        order=order, space=space, queue=queue, health=health, tasks=tasks, clock=clock, counters=counters,
        describing=describing, patience=patience,
    )  # fmt: skip
    deleter = Deleter(
        catalogue=catalogue, changes=changes, buckets=buckets, policies=policies, order=order, shelf=shelf,
        queue=queue, health=health, tasks=tasks, clock=clock, counters=counters, tally=tally,
    )  # fmt: skip
    copier = Copier(
        alt=guarded, disk=disk, lookup=lookup, buckets=buckets, reader=reader, writer=writer, changes=changes,
        order=order, space=space, tasks=tasks, clock=clock, leases=leases, describing=describing,
        stubbing=stubbing, patience=patience, health=health, follow=alt,
    )  # fmt: skip
    multipart = Multipart(
        disk=disk, catalogue=catalogue, buckets=buckets, reader=reader, writer=writer, space=space, order=order,
        tasks=tasks, clock=clock, policies=policies, describing=describing,
    )  # fmt: skip
    listings = Listings(
        catalogue=catalogue, alt=guarded, buckets=buckets, policies=policies, recent=lookup.changes
    )  # fmt: skip
    feed = ChangeFeed(catalogue.find)
    shelf.on_news.append(feed.tell)
    store = TieredStore(
        buckets=buckets, lookup=lookup, reader=reader, writer=writer, deleter=deleter, copier=copier,
        multipart=multipart, listings=listings, shelf=shelf, space=space, counters=counters, tally=tally, feed=feed,
    )  # fmt: skip
    purges = purging(doors, store, space, alarms)
    purges.live.on_change.append(lambda found: setattr(policies, "rules", found.rules))
    scrub = Scrub(
        catalogue=catalogue, disk=disk, mender=shelf, clock=clock, alarms=alarms, settings=config.scrub,
        first_generation=catalogue.next_generation(),
    )  # fmt: skip
    look = LookThrough(catalogue=catalogue, disk=doors.disk, mender=shelf, order=order, leases=leases, left=guard.left)
    DiskFollowers(guard, space, doors.versions, scrub).follow(disk_health, look)
    recovery = Recovery(disk=disk, catalogue=catalogue, lookup=lookup, buckets=buckets, clock=clock)
    near = NearStore(
        table=doors.versions.table, find=catalogue.find, exclusive=buckets.exclusive,
        bodies=InlineBodies(Path(config.node.data_dir).expanduser(), kept_descriptors()),
    )  # fmt: skip
    doors.closers.append(closing(near))
    return Parts(
        config=config, clock=clock, alarms=alarms, catalogue=catalogue, disk=disk, alt=alt, hot=hot, space=space,
        counters=counters, policies=policies, buckets=buckets, lookup=lookup, flights=flights, tally=tally,
        leases=leases, bookkeeping=bookkeeping, naming=naming, stubs=doors.stubs, stubbing=stubbing,
        queue=queue, recovery=recovery, purges=purges, scrub=scrub, tasks=tasks, store=store, mark=doors.mark,
        history=history, versions=doors.versions, near=near, closers=doors.closers, alt_health=health,
        disk_health=disk_health, disk_calls=doors.watched.threads,
        works=[(room_keeper(doors.reserve, space, clock, alarms, doors.watched).run, "room-keeper")],
    )  # fmt: skip


def purging(doors: Doors, store: TieredStore, space: Space, alarms: Alarms) -> PurgeService:
    """Rules, pressure and runs, and the space accounting that calls for them."""
    threads = ThreadPool("rules", 1)
    doors.closers.append(threads.close)
    purges = PurgeService(
        catalogue=doors.catalogue, store=store, space=space, clock=doors.clock, alarms=alarms, threads=threads,
        config=doors.config,
    )  # fmt: skip
    space.on_pressure = purges.pressure.wake
    space.relieve = purges.pressure.relieve
    return purges


async def open_local(
    config: Config, alt: AltTier, clock: Clock, files: Files | None = None, *, shared: bool = True,
    calls_clock: Clock | None = None, reserve_size: int | None = None,
) -> Doors:  # fmt: skip
    """The data directory's side: lock, disk tier, catalogue, memory tier. Raises ConfigError, DataDirectoryInUse,
    DiskError; what was opened before the failure is closed again. ``alt`` is closed with the rest. ``shared``: other
    processes find the version table. ``calls_clock``: by which calls to the disk hang: the machine's. ``reserve_size``:
    bytes kept back for the catalogue, instead of what suits the file system."""
    files = files or Files()
    root = Path(config.node.data_dir).expanduser()
    closers: list[Callable[[], Awaitable[None]]] = [alt.close]
    try:
        refuse_newer(root)  # before the lock, which is a file that would be changed
        refuse_newer_file(catalogue_file(root))
        close_to_others(root, files)
        lock = DataLock.take(root, files)

        async def unlock() -> None:
            lock.release()

        closers.append(unlock)
        record(root, files, version("tierproxy"))
        watched = WatchedDisk(root, files, config.disk, calls_clock or SystemClock())
        page_threads = ThreadPool("catalogue", 2)
        closers += [watched.close, page_threads.close]
        disk = await DiskBlobs.start(root, files, watched.threads, clock, os.urandom)
        closers.append(disk.close)
        reserve = held_back(root, files, reserve_size, closers)
        refuse_lost_catalogue(root)
        refuse_slow(config.naming)
        naming = Naming(config.naming, config.folders)
        stubs = await open_stubs(config.stubs, root / "stubs", files, anew=not catalogue_file(root).exists())
        closers.append(stubs.close)
        catalogue = SqliteCatalogue(root, page_threads, naming=naming.of, reserve=reserve)
        closers.append(catalogue.close)
        mark = CommitMark(root, files)
        catalogue.account_for(mark.read())
        # Not with `files`: of shared memory nothing is meant to outlive a crash. Closed before the
        # catalogue: from then on nobody opens that.
        versions = VersionTable.open(root, Files(), clock.now()) if shared else VersionTable.private()

        async def end_versions() -> None:
            versions.close()

        closers.append(end_versions)
    except BaseException:
        for close in reversed(closers):
            await close()
        raise
    hot = memory_tier(share_of_memory(config).memory)
    return Doors(
        config=config, clock=clock, catalogue=catalogue, disk=disk, alt=alt, hot=hot, mark=mark, naming=naming,
        versions=versions, watched=watched, stubs=stubs, closers=closers, reserve=reserve,
        open_history=history_opener(config, root, files, clock, closers, reserve),
    )  # fmt: skip


def build(
    config: Config, *, clock: Clock | None = None, alt: AltTier | None = None, config_file: Path | None = None,
    openings: Openings | None = None,
) -> Node:  # fmt: skip
    """A node for ``config``, not started. ``alt`` replaces the S3 server of the configuration (tests, demo);
    ``config_file``: where ``config`` is from, for child processes; ``openings``: what was opened for listeners."""
    time = clock or SystemClock()

    async def open_parts() -> Parts:
        backend = alt or open_alt(config, time)
        parts = assemble(await open_local(config, backend, time))
        watch(parts)
        if config.alt.check_at_start:
            parts.check_alt = alt_check(config, parts.alarms, parts.clock)
        return parts

    from tierproxy.wiring_admin import admin_server  # FastAPI: only where a node is built

    return Node(
        open_parts, lambda parts: object_server(config, parts, openings),
        lambda parts: admin_server(config, parts, config_file=config_file, openings=openings),
    )  # fmt: skip


def watch(parts: Parts) -> None:
    """loop. What is looked at from outside: /metrics, and how late the loop is."""

    def activity() -> Activity:
        return parts.activity()  # there is one once clients are served

    lag, live = LoopLag(parts.clock), parts.purges.live
    measured = Measured(parts.catalogue, parts.clock, live.current)
    parts.works.append((lag.run, "loop-lag"))
    parts.closers.append(measured.stop)
    parts.metrics = Exposition(
        Sources(
            config=lambda: parts.config, clock=parts.clock, version=version("tierproxy"), alarms=parts.alarms,
            catalogue=parts.catalogue, alt=parts.alt, hot=parts.hot, stubs=parts.stubs, space=parts.space,
            counters=parts.counters,
            queue=parts.queue, purges=parts.purges, scrub=parts.scrub, history=parts.history, lag=lag,
            measured=measured, activity=activity, conditions=parts.conditions,
            refused=lambda: parts.alt_health.refused,
        )
    )  # fmt: skip


def traced(config: Config, parts: Parts) -> Spans | None:
    """Where requests and operations of alt are traced to, if anywhere. Raises ConfigError."""
    if not config.node.otel_endpoint:
        return None
    spans = otel_spans(config.node.otel_endpoint, version=version("tierproxy"), data=config.node.data_dir)
    parts.closers.append(spans.close)
    parts.alt.spans = spans
    return spans


def hit_lane(config: Config, near: Near, memory: Hot, keys: Authenticator, clock: Clock, naming: Naming) -> Lane | None:
    """What answers before the ordinary way begins; None where nothing may, because every request is to be seen."""
    if not config.lane_answers:
        return None
    return HitLane(near, memory, keys, clock, domain=config.listen.domain, folder_class=naming.folder_class)


def hits_first(parts: Parts) -> HitsFirst | None:
    """What slows reads of alt down while hits need the loop."""
    if not isinstance(parts.alt, OwnThreads):
        return None
    pace = parts.alt.pace
    return HitsFirst(pace.allow, lambda: pace.begun)


def object_server(config: Config, parts: Parts, openings: Openings | None = None) -> Server:
    """The object port. Raises ConfigError."""
    keys, spans = authenticator(config, parts.clock), traced(config, parts)
    app = ObjectApp(
        parts.store, keys, config.listen, parts.clock, access_log=config.node.access_log,
        folder_class=parts.naming.folder_class, spans=spans,
    )  # fmt: skip
    lane = hit_lane(config, parts.near, parts.hot, keys, parts.clock, parts.naming)
    most = allowed_connections(config.listen, others=most_connections(config.alt.concurrency))
    if lane is not None and config.hit_workers:
        shared = SharedServer(
            config.listen, app, parts.clock, lane=lane, setup=lambda: setup_of(parts.config), served=app.served,
            alarms=parts.alarms, openings=openings, most=most, hits_first=hits_first(parts),
        )  # fmt: skip
        parts.activity = lambda: Activity(
            shared.connections, app.running, app.answers, shared.workers, shared.overload() | app.turns.told()
        )
        return shared
    server = ObjectServer(
        config.listen, app, parts.clock, lane=lane, served=app.served, openings=openings, most=most,
        hits_first=hits_first(parts),
    )  # fmt: skip
    parts.activity = lambda: Activity(
        server.connections, app.running, app.answers, overload=server.overload() | app.turns.told()
    )
    return server
