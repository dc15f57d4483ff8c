"""What watches the disk, and who acts on what it sees (decision 32)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from platform import node as host

from tierproxy.catalogue import CatalogueReserve, catalogue_file
from tierproxy.config.sections import Config, DiskSection
from tierproxy.disk.fsio import Files
from tierproxy.disk.guarded import GuardedDisk
from tierproxy.disk.probe import Probe
from tierproxy.errors import ConfigError
from tierproxy.history.log import History, HistoryWriter, NoHistory
from tierproxy.near.store import NearStore
from tierproxy.near.versions import VersionTable
from tierproxy.offload import ThreadPool, WatchedPool
from tierproxy.ports import Alarms, Catalogue, Clock, DiskTier, Reserve, State
from tierproxy.store.commit_watch import CommitWatch
from tierproxy.store.disk_health import DiskHealth
from tierproxy.store.look_through import LookThrough
from tierproxy.store.room import RoomKeeper
from tierproxy.store.scrub import Scrub
from tierproxy.store.space import Space
from tierproxy.store.tasks import Tasks

Closers = list[Callable[[], Awaitable[None]]]


def accounting(settings: DiskSection, catalogue: Catalogue, disk: DiskTier, reserve: Reserve) -> Space:
    """The disk budget, with what is on disk now."""
    buckets = {bucket.name: catalogue.totals(bucket.name).blob_bytes for bucket in catalogue.buckets()}
    used = catalogue.totals().blob_bytes + catalogue.part_bytes()
    return Space(settings, used, disk.free, buckets, reserve)


def refuse_lost_catalogue(root: Path) -> None:
    """Blobs without a catalogue: to begin a new one would make leftovers of all of them, dirty mail included. Raises
    ConfigError."""
    if not catalogue_file(root).exists() and any((root / "blobs").glob("*/*/*")):
        raise ConfigError(
            f"{root} holds blobs and no catalogue",
            hint="run `tierproxy catalogue rebuild`",
        )


def held_back(root: Path, files: Files, size: int | None, closers: Closers) -> CatalogueReserve:
    """Room for the catalogue, before that is opened."""
    reserve = CatalogueReserve(root, files, size)
    reserve.open()

    async def close() -> None:
        reserve.close()

    closers.append(close)
    return reserve


def room_keeper(reserve: Reserve, space: Space, clock: Clock, alarms: Alarms, watched: WatchedDisk) -> RoomKeeper:
    """loop. Of the file system of the catalogue."""
    return RoomKeeper(
        reserve=reserve, clock=clock, alarms=alarms, threads=watched.threads, subject=watched.subject,
        interval=lambda: space.settings.probe_interval, make_room=lambda wanted: space.on_pressure(wanted, ""),
    )  # fmt: skip


def history_opener(
    config: Config, root: Path, files: Files, clock: Clock, closers: Closers, reserve: Reserve
) -> Callable[[Alarms], History]:
    """What makes the history below ``root``, as ``[history]`` says; none is written while ``reserve`` is short."""
    if not config.history.enabled:
        return lambda alarms: NoHistory()
    threads = ThreadPool("history", 1)
    closers.append(threads.close)
    return lambda alarms: HistoryWriter(
        root / "history", files=files, threads=threads, clock=clock, alarms=alarms, settings=config.history,
        node=host(), full=lambda: reserve.short and reserve.shared,
    )  # fmt: skip


def closing(near: NearStore) -> Callable[[], Awaitable[None]]:
    """What gives back the files that ``near`` holds."""

    async def close() -> None:
        near.close()

    return close


class WatchedDisk:
    """The threads in which calls to the disk are made and watched, and one more for probes. ``clock``: by which calls
    hang."""

    def __init__(self, root: Path, files: Files, settings: DiskSection, clock: Clock) -> None:
        self.subject = str(root)
        self._clock = clock
        self.threads = WatchedPool("blobs", settings.threads, clock, patience=settings.patience)
        self._probes = WatchedPool("probe", 1, clock, patience=settings.slow_call)
        self._probe = Probe(root, files, self._probes)
        files.pulse = self.threads.pulse

    def health(self, alarms: Alarms, clock: Clock, config: Config) -> DiskHealth:
        """loop. What judges by them. A probe may take as long as a call that is not slow yet."""
        return DiskHealth(
            calls=self.threads, probe=self._probe.ask, clock=clock, alarms=alarms, settings=config.disk,
            subject=self.subject,
        )  # fmt: skip

    def commits(self, tasks: Tasks, health: DiskHealth) -> CommitWatch:
        """loop. What watches the catalogue. Twice the patience: a change may wait for a file, which has its own."""
        return CommitWatch(self._clock, lambda: 2 * health.patience, tasks.let_go)

    async def close(self) -> None:
        await self.threads.close()
        await self._probes.close()


class DiskFollowers:
    """Everybody who goes round the disk, or spares it."""

    def __init__(self, guard: GuardedDisk, space: Space, versions: VersionTable, scrub: Scrub) -> None:
        self._guard = guard
        self._space = space
        self._versions = versions
        self._scrub = scrub

    def follow(self, health: DiskHealth, look: LookThrough) -> None:
        """loop. From now on they do what ``health`` says, and it does ``look`` before the disk is trusted again."""
        health.look_through = look.run
        health.on_change.append(lambda state: self._changed(health, state))

    def _changed(self, health: DiskHealth, state: State) -> None:
        """The lane, workers and mounts read files without a patience, so they do it while all is well, and not
        otherwise."""
        self._guard.closed = self._space.closed = health.closed
        self._space.strained = health.strained
        if state is State.NORMAL:
            self._versions.resume()
            self._scrub.resume("disk health")
        else:
            self._versions.suspend()
            self._scrub.pause("disk health")
