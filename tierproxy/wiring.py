"""The only place that knows everybody: from a configuration to a node."""

from __future__ import annotations

import os
import platform
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

from tierproxy.alt.limit import Counted
from tierproxy.alt.opening import alt_check, open_alt
from tierproxy.catalogue import SqliteCatalogue, catalogue_file
from tierproxy.clock import SystemClock
from tierproxy.config.sections import Config
from tierproxy.disk.blobs import DiskBlobs
from tierproxy.disk.fsio import Files
from tierproxy.disk.inline import InlineBodies
from tierproxy.disk.lock import DataLock
from tierproxy.disk.mark import CommitMark
from tierproxy.errors import ConfigError
from tierproxy.history.log import History, HistoryWriter, NoHistory
from tierproxy.hot.memory import memory_tier
from tierproxy.mail.names import Naming
from tierproxy.mail.probes import refuse_slow
from tierproxy.metrics import Activity, Exposition, LoopLag, Measured, Sources, otel_spans
from tierproxy.near.store import NearStore
from tierproxy.near.versions import VersionTable
from tierproxy.node import Node, Parts, Server
from tierproxy.offload import ThreadPool
from tierproxy.ports import Alarms, AltTier, Catalogue, Clock, DiskTier, Hot, Near, Spans, Stubs
from tierproxy.purge.service import PurgeService
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.auth import Authenticator
from tierproxy.s3api.lane.lane import HitLane
from tierproxy.s3api.lane.ports import Lane
from tierproxy.server import ObjectServer
from tierproxy.server.descriptors import kept_descriptors
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
from tierproxy.store.health import AltHealth
from tierproxy.store.jobs import AltWrites, Jobs
from tierproxy.store.leases import Leases
from tierproxy.store.listing import Listings
from tierproxy.store.lookup import Lookup
from tierproxy.store.multipart import Multipart
from tierproxy.store.order import KeyOrder
from tierproxy.store.patience import Patience
from tierproxy.store.policies import Policies
from tierproxy.store.reader import Reader
from tierproxy.store.recover import Recovery
from tierproxy.store.rollups import Rollups
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
    stubs: Stubs = field(default_factory=NoStubs)
    random: Callable[[], float] = random.random
    open_history: Callable[[Alarms], History] = lambda alarms: NoHistory()
    closers: list[Callable[[], Awaitable[None]]] = field(default_factory=list)


def assemble(doors: Doors) -> Parts:
    """loop. Wire a store and everything that works beside it; nothing is started."""
    doors = replace(doors, catalogue=VersionedCatalogue(doors.catalogue, doors.versions).port)
    config, clock, catalogue, disk, hot = doors.config, doors.clock, doors.catalogue, doors.disk, doors.hot
    alt = doors.alt if isinstance(doors.alt, Counted) else Counted(doors.alt, clock)
    alarms, counters, tasks, order = AlarmBoard(), Counters(), Tasks(), KeyOrder()
    history = doors.open_history(alarms)
    naming, leases = doors.naming, Leases()
    policies = Policies(config, clock, naming.of)
    space = accounting(doors)
    stubbing = Stubbing(doors.stubs, disk, clock, config.stubs)
    shelf = Shelf(
        disk=disk, catalogue=catalogue, hot=hot, space=space, tasks=tasks, clock=clock, counters=counters,
        alarms=alarms, history=history, held=leases.held, stubbing=stubbing,
    )  # fmt: skip
    buckets = Buckets(
        catalogue=catalogue, alt=alt, policies=policies, tasks=tasks, clock=clock, dynamic=config.dynamic_buckets
    )
    lookup = Lookup(
        catalogue=catalogue, alt=alt, buckets=buckets, policies=policies, order=order, shelf=shelf, tasks=tasks,
        clock=clock, alarms=alarms,
    )  # fmt: skip
    choice = FillChoice(policies, clock)
    flights = Flights(
        alt=alt, disk=disk, catalogue=catalogue, hot=hot, space=space, shelf=shelf, lookup=lookup, choice=choice,
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
        hot=hot, disk=disk, alt=alt, catalogue=catalogue, lookup=lookup, flights=flights, choice=choice, shelf=shelf,
        tally=tally, leases=leases, counters=counters, clock=clock, stubbing=stubbing,
    )  # fmt: skip
    health = AltHealth(alarms)
    writes = AltWrites(alt, health)
    jobs = Jobs(catalogue=catalogue, disk=disk, writes=writes, alarms=alarms, shelf=shelf)
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
    around = Around(alt=alt, changes=changes, order=order, space=space, tasks=tasks, describing=describing)
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
        alt=alt, disk=disk, lookup=lookup, buckets=buckets, reader=reader, writer=writer, changes=changes,
        order=order, space=space, tasks=tasks, clock=clock, leases=leases, describing=describing,
        stubbing=stubbing, patience=patience, health=health,
    )  # fmt: skip
    multipart = Multipart(
        disk=disk, catalogue=catalogue, buckets=buckets, reader=reader, writer=writer, space=space, order=order,
        tasks=tasks, clock=clock, policies=policies, describing=describing,
    )  # fmt: skip
    listings = Listings(catalogue=catalogue, alt=alt, buckets=buckets, policies=policies)
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
        history=history, versions=doors.versions, near=near, closers=doors.closers,
    )  # fmt: skip


def closing(near: NearStore) -> Callable[[], Awaitable[None]]:
    """What gives back the files that ``near`` holds."""

    async def close() -> None:
        near.close()

    return close


def accounting(doors: Doors) -> Space:
    """The disk budget, with what is on disk now."""
    catalogue = doors.catalogue
    buckets = {bucket.name: catalogue.totals(bucket.name).blob_bytes for bucket in catalogue.buckets()}
    used = catalogue.totals().blob_bytes + catalogue.part_bytes()
    return Space(doors.config.disk, used, doors.disk.free, buckets)


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
    config: Config, alt: AltTier, clock: Clock, files: Files | None = None, *, shared: bool = True
) -> Doors:
    """The data directory's side: lock, disk tier, catalogue, memory tier. Raises ConfigError, DataDirectoryInUse,
    DiskError; what was opened before the failure is closed again. ``alt`` is closed with the rest. ``shared``: other
    processes find the version table."""
    files = files or Files()
    root = Path(config.node.data_dir).expanduser()
    closers: list[Callable[[], Awaitable[None]]] = [alt.close]
    try:
        lock = DataLock.take(root, files)

        async def unlock() -> None:
            lock.release()

        closers.append(unlock)
        blob_threads = ThreadPool("blobs", config.disk.threads)
        page_threads = ThreadPool("catalogue", 2)
        closers += [blob_threads.close, page_threads.close]
        disk = await DiskBlobs.start(root, files, blob_threads, clock, os.urandom)
        closers.append(disk.close)
        refuse_lost_catalogue(root)
        refuse_slow(config.naming)
        naming = Naming(config.naming, config.folders)
        stubs = await open_stubs(config.stubs, root / "stubs", files, anew=not catalogue_file(root).exists())
        closers.append(stubs.close)
        catalogue = SqliteCatalogue(root, page_threads, naming=naming.of)
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
        versions=versions, stubs=stubs, closers=closers,
        open_history=history_opener(config, root, files, clock, closers),
    )  # fmt: skip


def history_opener(
    config: Config, root: Path, files: Files, clock: Clock, closers: list[Callable[[], Awaitable[None]]]
) -> Callable[[Alarms], History]:
    """What makes the history below ``root``, as ``[history]`` says."""
    if not config.history.enabled:
        return lambda alarms: NoHistory()
    threads = ThreadPool("history", 1)
    closers.append(threads.close)
    return lambda alarms: HistoryWriter(
        root / "history", files=files, threads=threads, clock=clock, alarms=alarms, settings=config.history,
        node=platform.node(),
    )  # fmt: skip


def refuse_lost_catalogue(root: Path) -> None:
    """Blobs without a catalogue: to begin a new one would make leftovers of all of them, dirty mail included. Raises
    ConfigError."""
    if not catalogue_file(root).exists() and any((root / "blobs").glob("*/*/*")):
        raise ConfigError(
            f"{root} holds blobs and no catalogue",
            hint="run `tierproxy catalogue rebuild`",
        )


def build(
    config: Config, *, clock: Clock | None = None, alt: AltTier | None = None, config_file: Path | None = None
) -> Node:
    """A node for ``config``, not started. ``alt`` replaces the S3 server of the configuration (tests, demo);
    ``config_file``: where ``config`` is from, for child processes."""
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
        open_parts, lambda parts: object_server(config, parts),
        lambda parts: admin_server(config, parts, config_file=config_file),
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
            measured=measured, activity=activity,
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


def object_server(config: Config, parts: Parts) -> Server:
    """The object port. Raises ConfigError."""
    keys, spans = authenticator(config, parts.clock), traced(config, parts)
    app = ObjectApp(
        parts.store, keys, config.listen, parts.clock, access_log=config.node.access_log,
        folder_class=parts.naming.folder_class, spans=spans,
    )  # fmt: skip
    lane = hit_lane(config, parts.near, parts.hot, keys, parts.clock, parts.naming)
    if lane is not None and config.hit_workers:
        shared = SharedServer(
            config.listen, app, parts.clock, lane=lane, setup=lambda: setup_of(parts.config), served=app.served,
            alarms=parts.alarms,
        )  # fmt: skip
        parts.activity = lambda: Activity(shared.connections, app.running, app.answers, shared.workers)
        return shared
    server = ObjectServer(config.listen, app, parts.clock, lane=lane, served=app.served)
    parts.activity = lambda: Activity(server.connections, app.running, app.answers)
    return server
