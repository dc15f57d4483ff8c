"""``tierproxy serve`` under torture: with a point where it ends itself, a clock that jumps, and looks from outside."""

from __future__ import annotations

import os
import re
import signal
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psutil
from served import Served

from tierproxy.catalogue import CatalogueReader, open_reader
from tierproxy.config.sections import Config
from tierproxy.disk.fsio import Files
from tierproxy.errors import TierproxyError
from tierproxy.near.versions import withdraw
from tierproxy.testing.doomed import Point, set_clock

WORKER = "tierproxy.wiring_worker"
SERIOUS = re.compile(r"CRITICAL|Traceback|background task broke|never retrieved|was destroyed but it is pending")


class Node(Served):
    """``point``: where the next start ends itself."""

    def __init__(self, directory: Path, config: Config) -> None:
        super().__init__(directory, config)
        self.point: Point | None = None
        self._clock_file = directory / "clock"
        set_clock(self._clock_file, 0.0)

    @property
    def data(self) -> Path:
        return Path(self.config.node.data_dir)

    def line(self) -> list[str]:
        kill = ["--kill", str(self.point)] if self.point else []
        clock = ["--clock", str(self._clock_file)]
        command = ["serve", "--config", str(self.file)]
        return [sys.executable, "-m", "tierproxy.testing.doomed", *kill, *clock, *command]

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def status(self) -> int | None:
        """What it ended with; negative: a signal."""
        return self._process.poll() if self._process is not None else None

    def configure(self, config: Config) -> None:
        """For the next start or reload. Addresses stay."""
        self.config = config
        self.write_config()

    def reload(self) -> None:
        """SIGHUP."""
        if self.alive:
            os.kill(self.pid, signal.SIGHUP)

    def jump(self, seconds: float) -> None:
        """Its clock is off by ``seconds`` from now on."""
        set_clock(self._clock_file, seconds)

    def workers(self) -> list[psutil.Process]:
        """Its hit workers."""
        with suppress(psutil.Error):
            return [child for child in psutil.Process(self.pid).children() if WORKER in child.cmdline()]
        return []

    # ---------------------------------------------------------------- looks

    @contextmanager
    def catalogue(self) -> Iterator[CatalogueReader]:
        """Beside the node, or without it. Raises TierproxyError."""
        with open_reader(self.data) as reader:
            yield reader

    def pending(self) -> int | None:
        """Jobs in the journal, whether it runs or not; None when there is no telling."""
        try:
            with self.catalogue() as catalogue:
                return catalogue.queue_totals().jobs
        except TierproxyError:
            return None

    def metrics(self) -> dict[str, float]:
        """Those without labels by name, of the running node. Raises OSError."""
        host, _, port = self.config.admin.address.rpartition(":")
        with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def open_files(self) -> Counter[str]:
        """Descriptors of the node and its workers by what they are: socket, blob, gone (a blob without a name),
        staging, memory, other."""
        found: Counter[str] = Counter()
        with suppress(psutil.Error, OSError):
            for pid in [self.pid, *(worker.pid for worker in self.workers())]:
                for link in Path(f"/proc/{pid}/fd").iterdir():
                    with suppress(OSError):
                        found[self._kind(os.readlink(link))] += 1
        return found

    def _kind(self, target: str) -> str:
        if target.startswith("socket:"):
            return "socket"
        if not target.startswith(str(self.data)):
            return "memory" if target.startswith("/dev/shm") else "other"
        if "/staging/" in target:
            return "staging"
        if "/blobs/" in target:
            return "gone" if target.endswith(" (deleted)") else "blob"
        return "other"

    def threads(self) -> int:
        with suppress(psutil.Error):
            return int(psutil.Process(self.pid).num_threads())
        return 0

    def served_connections(self) -> int:
        """Connections of clients, of the node and its workers."""
        port = self.address[1]
        found = 0
        with suppress(psutil.Error):
            for process in [psutil.Process(self.pid), *self.workers()]:
                found += sum(
                    one.laddr.port == port and one.status not in {psutil.CONN_LISTEN, psutil.CONN_NONE}
                    for one in process.net_connections("tcp")
                )
        return found

    def complaints(self) -> list[str]:
        """Lines of its log that must never be there."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if SERIOUS.search(line)]

    def clean_up(self) -> None:
        """What a killed node leaves in shared memory goes, too."""
        self.kill()
        if self.data.is_dir():
            withdraw(self.data, Files())


def settled(config: Config, *, workers: int, linger: float) -> Config:
    """``config`` with what changes from round to round."""
    queue = replace(config.queue, linger=type(config.queue.linger)(linger))
    return replace(config, listen=replace(config.listen, workers=workers), queue=queue)
