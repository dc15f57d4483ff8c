"""``python -m tierproxy.wiring_worker CHANNEL SOCKET``: the program of a hit worker, started by the node alone.

These are numbers of descriptors it inherits, and it ends when the node does (``tierproxy.leash``). Its configuration
comes over the channel: secrets are neither in its arguments nor in its environment. Nothing is imported here that a
worker does not need.
"""

from __future__ import annotations

import logging
import pickle
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path

import uvloop

from tierproxy import logs
from tierproxy.catalogue.beside import CatalogueBeside
from tierproxy.clock import SystemClock
from tierproxy.config.operators import AdminSection
from tierproxy.config.sections import AltSection, Config
from tierproxy.config.values import Size
from tierproxy.disk.inline import InlineBodies
from tierproxy.errors import DiskError, TierproxyError
from tierproxy.hot.memory import memory_tier
from tierproxy.logs import event
from tierproxy.mail.names import Naming
from tierproxy.near.store import NearStore
from tierproxy.near.versions import SharedTable
from tierproxy.ports import Clock
from tierproxy.s3api.auth import AccessKey, Authenticator, Open, SigV4
from tierproxy.s3api.grants import Grants
from tierproxy.s3api.lane.lane import HitLane
from tierproxy.s3api.lane.ports import Lane
from tierproxy.server.descriptors import kept_descriptors
from tierproxy.server.worker import Worker

log = logging.getLogger(__name__)


def main(arguments: list[str]) -> int:
    """Its exit code."""
    channel, bound = (int(argument) for argument in arguments)
    # A terminal's Ctrl-C and a supervisor's TERM reach every process of the service: the node says when to stop.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    clock = SystemClock()
    worker = Worker(
        socket.socket(fileno=channel), socket.socket(fileno=bound), lambda config: open_lane(config, clock), clock
    )
    try:
        uvloop.run(worker.run())
    except TierproxyError as error:
        event(log, logging.ERROR, "hit worker failed", error=error)
        return 1
    return 0


def setup_of(config: Config) -> bytes:
    """What a worker is sent: the configuration, without what is the node's alone."""
    return pickle.dumps(replace(config, alt=AltSection(), admin=AdminSection(), account=()))


def share_of_memory(config: Config) -> Config:
    """With that part of the memory tier that a process has: the node and each worker have the same."""
    size = Size(config.memory.max_bytes // (config.hit_workers + 1))
    return replace(config, memory=replace(config.memory, max_bytes=size))


def open_lane(config: Config, clock: Clock) -> Lane:
    """The lane of a worker. Raises DiskError when it could not answer anything."""
    logs.configure(config.node.log_level, config.node.log_format)
    data = Path(config.node.data_dir).expanduser()
    table, catalogue = SharedTable.map(data), CatalogueBeside.open(data)
    if table is None or catalogue is None:
        raise DiskError(f"the version table or the catalogue of {data} cannot be read")
    shared = {bucket.name for bucket in config.bucket if not bucket.exclusive}
    near = NearStore(
        table=table.table, find=catalogue.find, bodies=InlineBodies(data, kept_descriptors()),
        exclusive=lambda name: name not in shared,
    )  # fmt: skip
    return HitLane(
        near, memory_tier(share_of_memory(config).memory), authenticator(config, clock), clock,
        domain=config.listen.domain, folder_class=Naming(config.naming, config.folders).folder_class,
    )  # fmt: skip


def authenticator(config: Config, clock: Clock) -> Authenticator:
    """Who may come in, as ``[listen] auth`` and ``[[key]]`` say."""
    if config.listen.auth == "none":
        return Open()
    keys = [AccessKey(key.access_key_id, key.secret, Grants.of(key.buckets, key.access)) for key in config.key]
    return SigV4(keys, config.listen.region, clock)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
