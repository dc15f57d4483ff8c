"""``tierproxy serve``: run the node until a signal."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from pathlib import Path

import uvloop

from tierproxy import logs
from tierproxy.cli.settings import ConfigFile
from tierproxy.cli.signals import handled
from tierproxy.config.load import Loaded, examine
from tierproxy.config.reload import reloaded
from tierproxy.config.sections import Config
from tierproxy.errors import ConfigError
from tierproxy.logs import event
from tierproxy.mount.supervisor import Supervisor
from tierproxy.node import Node
from tierproxy.server.descriptors import allow_many
from tierproxy.wiring import build

log = logging.getLogger(__name__)


def serve(config: ConfigFile = None) -> None:
    """Serve S3 clients until SIGTERM or Ctrl-C; SIGHUP reloads the configuration."""
    loaded = examine(config, os.environ)
    found = loaded.config
    logs.configure(found.node.log_level, found.node.log_format)
    doubts(loaded)
    allow_many()
    uvloop.run(run(found, config))


def doubts(loaded: Loaded) -> None:
    """Warnings go to the log here, so that whoever reads it as JSON can."""
    for text in loaded.warnings:
        event(log, logging.WARNING, "configuration doubtful", about=text)


async def run(config: Config, path: Path | None) -> None:
    """The node from start to stop; systemd is told when clients are served. Raises what ``Node.start`` raises."""
    node = build(config, config_file=path)
    supervisor = Supervisor(os.environ.get("NOTIFY_SOCKET", ""))
    stop = asyncio.Event()
    reloads = Reloads(node, config, path)
    with handled(stop, reloads.reload):
        await node.start()
        gc.freeze()  # else each full collection looks at all modules again: tens of ms in which nobody is served
        reloads.started = True
        supervisor.tell(READY=1)
        try:
            await stop.wait()
        finally:
            supervisor.tell(STOPPING=1)
            await node.stop()


class Reloads:
    """Applies a changed configuration file, and changed rule files, to a running node."""

    def __init__(self, node: Node, running: Config, path: Path | None) -> None:
        self._node = node
        self._running = running
        self._path = path
        self.started = False

    def reload(self) -> None:
        """loop. A file that cannot be used changes nothing; what needs a restart is named."""
        if not self.started:
            event(log, logging.WARNING, "configuration not reloaded", error="the node is still starting")
            return
        try:
            loaded = examine(self._path, os.environ)
        except ConfigError as error:
            event(log, logging.ERROR, "configuration not reloaded", error=error, hint=error.hint)
            self._node.parts.purges.live.hurry()
            return
        doubts(loaded)
        result = reloaded(self._running, loaded.config)
        self._node.reload(result.config)
        self._running = result.config
        logs.configure(result.config.node.log_level, result.config.node.log_format)
        event(log, logging.INFO, "configuration in force", changed=",".join(result.changed) or "nothing")
        if result.waiting:
            event(log, logging.WARNING, "options wait for a restart", options=",".join(result.waiting))
