"""``tierproxy serve``: run the node until a signal."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import MutableMapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from tierproxy import logs
from tierproxy.cli.settings import ConfigFile, data_directory
from tierproxy.cli.signals import handled
from tierproxy.clock import SystemClock
from tierproxy.config.load import Loaded, examine
from tierproxy.config.reload import reloaded
from tierproxy.config.sections import Config
from tierproxy.errors import ConfigError
from tierproxy.heaps import CHeaps, GivingBack, share_arenas
from tierproxy.logs import event
from tierproxy.mount.supervisor import Supervisor
from tierproxy.node import Node
from tierproxy.offload import ThreadPool
from tierproxy.ports import Clock
from tierproxy.server.descriptors import allow_many
from tierproxy.server.openings import Openings
from tierproxy.server.privileges import ROOT, Identity, take_over
from tierproxy.wiring import build

log = logging.getLogger(__name__)


User = Annotated[
    str,
    typer.Option(
        "--user",
        metavar="NAME",
        help="Started by root: go on as NAME, as user of the configuration.",
        show_default=False,
    ),
]


def serve(config: ConfigFile = None, user: User = "") -> None:
    """Serve S3 clients until SIGTERM or Ctrl-C; SIGHUP reloads the configuration."""
    loaded = examine(config, os.environ)
    found = as_user(loaded.config, user)
    logs.configure(found.node.log_level, found.node.log_format)
    doubts(loaded)
    share_arenas(os.environ)
    allow_many()
    with closing(Openings()) as openings:
        go_on_as_user(found, config, openings)
        uvloop.run(run(found, config, openings, user))


def as_user(config: Config, user: str) -> Config:
    """``config`` with ``user``, if one is named, in place of its own; the group is then the user's."""
    return replace(config, node=replace(config.node, user=user, group="")) if user else config


def go_on_as_user(config: Config, path: Path | None, openings: Openings) -> None:
    """What takes root is done, and then, for good, the process is the user of ``[node]``, if one is named. Raises
    ConfigError."""
    if not config.node.user:
        return
    identity = Identity.of(config.node.user, config.node.group)
    if identity.is_ours:
        return
    if os.geteuid() == ROOT:
        openings.prepare(config)
        take_over(data_directory(config), identity)
    identity.become()
    event(log, logging.INFO, "goes on as user", user=identity.name, uid=identity.uid, gid=identity.gid)
    _tell_of_unreadable(config, path, identity)


def _tell_of_unreadable(config: Config, path: Path | None, identity: Identity) -> None:
    """Files that root could read: what is read again later will not be. Raises ConfigError for those that a process yet
    to be started needs."""
    listen = config.listen
    if config.hit_workers and listen.tls_key and not os.access(listen.tls_key, os.R_OK):
        raise ConfigError(
            f"hit workers cannot read {listen.tls_key} as {identity.name}",
            hint=f"let the group of {identity.name} read it, or set [listen] workers = 0",
        )
    lost = [str(file) for file in _files_of(config, path) if not os.access(file, os.R_OK)]
    if lost:
        hint = f"a reload needs them: let the group of {identity.name} read them, or restart instead"
        event(log, logging.WARNING, "files not readable any more", files=", ".join(lost), hint=hint)


def _files_of(config: Config, path: Path | None) -> list[str | Path]:
    """What a reload reads."""
    listen, admin = config.listen, config.admin
    files = [listen.tls_certificate, listen.tls_key, admin.tls_certificate, admin.tls_key, config.purge.rules]
    files += [config.purge.shadow, config.alt.secret_access_key_file]
    files += [key.secret_file for key in config.key] + [account.password_file for account in config.account]
    return [*([path] if path else []), *(file for file in files if file)]


def doubts(loaded: Loaded) -> None:
    """Warnings go to the log here, so that whoever reads it as JSON can."""
    for text in loaded.warnings:
        event(log, logging.WARNING, "configuration doubtful", about=text)


async def run(config: Config, path: Path | None, openings: Openings | None = None, user: str = "") -> None:
    """The node from start to stop; systemd is told what it is at. Raises what ``Node.start`` raises."""
    node, clock = build(config, config_file=path, openings=openings), SystemClock()
    supervisor, beat = Supervisor(os.environ.pop("NOTIFY_SOCKET", "")), heartbeat(os.environ)
    stop = asyncio.Event()
    reloads = Reloads(node, config, path, supervisor=supervisor, clock=clock, user=user)
    with handled(stop, reloads.reload):
        await node.start()
        gc.freeze()  # else each full collection looks at all modules again: tens of ms in which nobody is served
        reloads.started = True
        supervisor.tell(READY=1, STATUS=f"serves {node.url or config.listen.unix_socket}")
        beside = [
            asyncio.create_task(keep_telling(supervisor, beat, clock), name="watchdog"),
            asyncio.create_task(keep_giving_back(clock), name="heaps"),
        ]
        try:
            await stop.wait()
        finally:
            supervisor.tell(STOPPING=1)
            await node.stop()
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)


def heartbeat(environment: MutableMapping[str, str]) -> float:
    """Seconds between two signs of life, half of what systemd allows (sd_watchdog_enabled(3)); 0: it wants none. The
    words are taken out: what this process starts is not meant."""
    allowed, whose = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
    ours = not whose or whose == str(os.getpid())
    return int(allowed) / 2e6 if ours and allowed.isdigit() else 0.0


async def keep_telling(supervisor: Supervisor, every: float, clock: Clock) -> None:
    """Until cancelled: the loop turns. One that hangs says nothing, and is started again by systemd."""
    while every:
        supervisor.tell(WATCHDOG=1)
        await clock.sleep(every)


async def keep_giving_back(clock: Clock) -> None:
    """Until cancelled: memory that a burst has left free goes back to the system, where the C library can do that."""
    heaps = CHeaps.found()
    if heaps is None:
        return
    thread = ThreadPool("heaps", 1)
    try:
        await GivingBack(heaps, thread, clock).run()
    finally:
        await thread.close()


class Reloads:
    """Applies a changed configuration file, and changed rule files, to a running node."""

    def __init__(
        self, node: Node, running: Config, path: Path | None, *, supervisor: Supervisor, clock: Clock, user: str = ""
    ) -> None:  # fmt: skip
        """``supervisor`` hears of each begin and end of a reload; ``user``: what the command line says."""
        self._node = node
        self._running = running
        self._path = path
        self._supervisor = supervisor
        self._clock = clock
        self._user = user
        self.started = False

    def reload(self) -> None:
        """loop. A file that cannot be used changes nothing; what needs a restart is named."""
        if not self.started:
            event(log, logging.WARNING, "configuration not reloaded", error="the node is still starting")
            return
        microseconds = int(self._clock.monotonic() * 1e6)
        self._supervisor.tell(RELOADING=1, MONOTONIC_USEC=microseconds)  # systemd.service(5), Type=notify-reload
        try:
            self._reload()
        finally:
            self._supervisor.tell(READY=1)

    def _reload(self) -> None:
        try:
            loaded = examine(self._path, os.environ)
        except ConfigError as error:
            event(log, logging.ERROR, "configuration not reloaded", error=error, hint=error.hint)
            self._node.parts.purges.live.hurry()
            return
        doubts(loaded)
        result = reloaded(self._running, as_user(loaded.config, self._user))
        self._node.reload(result.config)
        self._running = result.config
        logs.configure(result.config.node.log_level, result.config.node.log_format)
        event(log, logging.INFO, "configuration in force", changed=",".join(result.changed) or "nothing")
        if result.waiting:
            event(log, logging.WARNING, "options wait for a restart", options=",".join(result.waiting))
