"""The mount process from its start to its end."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tierproxy.disk.fsio import Files
from tierproxy.disk.lock import DataLock
from tierproxy.errors import DataDirectoryInUse
from tierproxy.fuse.mounting import CannotMount, MountOptions
from tierproxy.fuse.point import clear, examine
from tierproxy.fuse.session import Session
from tierproxy.logs import event
from tierproxy.metrics.mount import page
from tierproxy.mount.client import HttpNode, Limits
from tierproxy.mount.exposition import exposed
from tierproxy.mount.filesystem import Filesystem
from tierproxy.mount.gauges import Gauges
from tierproxy.mount.location import Location
from tierproxy.mount.nearby import Beside
from tierproxy.mount.scratch import Scratch
from tierproxy.mount.settings import MountSettings
from tierproxy.mount.signing import Credentials
from tierproxy.mount.supervisor import Supervisor
from tierproxy.near.beside import NearBeside
from tierproxy.offload import ThreadPool
from tierproxy.ports import Clock

log = logging.getLogger(__name__)
NAME = "tierproxy"
KIND = f"fuse.{NAME}"
THREADS = 8
BODIES = "bodies"  #: directory below the scratch directory for bodies on their way


class ScratchInUse(DataDirectoryInUse):
    """Another mount has the scratch directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What is mounted, where and how. ``scratch``: a directory for this mount alone. ``metrics``: host and port, None
    for none. ``tls``: whom to trust, None for the system's authorities. ``version``: of this program.
    ``data``: the node's data directory, if its files may be read here."""

    location: Location
    point: Path
    scratch: Path
    settings: MountSettings
    credentials: Credentials | None
    allow_other: bool = True
    metrics: tuple[str, int] | None = None
    tls: ssl.SSLContext | None = None
    version: str = ""
    data: Path | None = None

    @property
    def options(self) -> MountOptions:
        source = f"{NAME}:{self.location.bucket}/{self.location.prefix}".rstrip("/")
        return MountOptions(NAME, source, allow_other=self.allow_other)

    def check(self) -> None:
        """Whether it could be mounted: takes a dead mount away, and looks at the mount point. Blocking. Raises
        BadPoint, AlreadyMounted."""
        if gone := clear(self.point, KIND):
            event(log, logging.WARNING, "dead mount taken away", point=self.point, count=gone)
        examine(self.point, self.settings.uid, self.settings.gid)


async def run(
    service: Service, stop: asyncio.Event, ready: Callable[[], None], supervisor: Supervisor, clock: Clock
) -> None:
    """Mount, call ``ready`` when the mount answers, serve until ``stop`` is set or somebody unmounts. However it ends,
    nothing stays mounted. Raises ConfigError (ScratchInUse, BadPoint, AlreadyMounted, CannotMount among them)."""
    files = Files()
    async with AsyncExitStack() as stack:
        threads = ThreadPool("mount", THREADS)
        stack.push_async_callback(threads.close)
        stack.callback((await threads.run(_locked, service.scratch, files)).release)
        await threads.run(service.check)
        await threads.run(files.mkdir, service.scratch / BODIES)
        client = _client(service, clock, files, threads)
        stack.push_async_callback(client.close)
        session = Session(service.point, service.options, clock, patience=service.settings.deadline)
        scratch = Scratch(service.scratch, files, threads, durable=service.settings.scratch_fsync)
        beside = _beside(service, stack)
        filesystem = Filesystem(client, session.kernel, scratch, service.settings, clock, threads, beside)
        stack.push_async_callback(filesystem.close)
        await filesystem.start()
        stack.callback(supervisor.tell, STOPPING=1)
        gauges = Gauges(session, filesystem, client, service.scratch)
        ended = await stack.enter_async_context(session.serving(filesystem))
        life = await stack.enter_async_context(_living(filesystem))
        if service.metrics:
            port = await stack.enter_async_context(exposed(*service.metrics, lambda: page(gauges)))
            event(log, logging.INFO, "metrics", port=port)
        await _answers(threads, service)
        event(log, logging.INFO, "mounted", point=service.point, what=service.location)
        supervisor.tell(READY=1, STATUS=f"{service.location} is mounted at {service.point}")
        ready()
        await _until(stop, ended, life)
        event(log, logging.INFO, "unmounting", unmounted_by="somebody else" if ended.is_set() else "us")


def _locked(scratch: Path, files: Files) -> DataLock:
    try:
        return DataLock.take(scratch, files)
    except DataDirectoryInUse as error:
        raise ScratchInUse(
            f"the scratch directory {scratch} is another mount's",
            hint=f"{error.hint}; each mount has its own --scratch",
        ) from error


def _client(service: Service, clock: Clock, files: Files, threads: ThreadPool) -> HttpNode:
    location, settings = service.location, service.settings
    return HttpNode(
        location.address, location.bucket, prefix=location.prefix, credentials=service.credentials, clock=clock,
        files=files, threads=threads, scratch=service.scratch / BODIES, version=service.version,
        limits=Limits(settings.deadline, settings.whole_limit), tls=service.tls,
    )  # fmt: skip


def _beside(service: Service, stack: AsyncExitStack) -> Beside | None:
    if service.data is None:
        return None
    near = NearBeside(service.data)
    stack.callback(near.close)
    return Beside(near, service.location.bucket, service.location.prefix)


async def _answers(threads: ThreadPool, service: Service) -> None:
    """The way a program asks: through the kernel, from another thread. Raises CannotMount."""
    try:
        async with asyncio.timeout(service.settings.deadline):
            await threads.run(service.point.stat)
    except (OSError, TimeoutError) as error:
        raise CannotMount(f"the mount at {service.point} does not answer: {error!r}") from error


@asynccontextmanager
async def _living(filesystem: Filesystem) -> AsyncIterator[asyncio.Task[None]]:
    """The file system's own work while inside."""
    life = asyncio.create_task(filesystem.run())
    try:
        yield life
    finally:
        life.cancel()
        with suppress(asyncio.CancelledError):
            await life


async def _until(stop: asyncio.Event, ended: asyncio.Event, life: asyncio.Task[None]) -> None:
    """Raises what the file system's own work raises: without it, memory is not believed any more."""
    waits = [asyncio.create_task(stop.wait()), asyncio.create_task(ended.wait())]
    try:
        await asyncio.wait([*waits, life], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
    if life.done():
        life.result()
