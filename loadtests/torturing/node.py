"""``tierproxy serve`` under torture: with a point where it ends itself, a clock that jumps, and looks from outside."""

from __future__ import annotations

import json
import os
import re
import signal
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psutil
from served import Outcome, Process, Served

from tierproxy.catalogue import CatalogueReader, open_reader
from tierproxy.config.sections import Config
from tierproxy.disk.fsio import Files
from tierproxy.errors import TierproxyError
from tierproxy.near.versions import withdraw
from tierproxy.testing.doomed import CallsFile, Point, set_clock
from tierproxy.testing.nursery import Nursery

COMMAND = 120.0  #: seconds that a command may take
STILL = 10.0  #: seconds until every thread has stopped
LOOKING = 10.0  #: seconds in which a node says which tasks it has
WORKERS_END = 10.0  #: seconds in which hit workers end after their node
WORKER = "tierproxy.wiring_worker"
STOPPED = re.compile(r"\bstopped\b.*\bcancelled=(\d+)")
SERIOUS = re.compile(r"CRITICAL|Traceback|background task broke|never retrieved|was destroyed but it is pending")


class Node(Served):
    """``points``: where the next start ends itself, at the first it comes to. It is begun by ``nursery``, in a process
    group of its own: what is sent to ours (by timeout(1), or a terminal) would else look like an end by itself."""

    def __init__(self, directory: Path, config: Config, nursery: Nursery) -> None:
        super().__init__(directory, config)
        self._nursery = nursery
        self._commands = 0
        self._status: int | None = None
        self.points: list[Point] = []
        self.names = 0  #: that it remembers, at most; 0: as many as always
        self.called: Counter[tuple[str, str]] = Counter()  #: calls of processes that have ended, by kind
        self._clock_file = directory / "clock"
        self._calls_file, self._look_file = directory / "calls", directory / "look"
        set_clock(self._clock_file, 0.0)

    @property
    def data(self) -> Path:
        return Path(self.config.node.data_dir)

    def line(self) -> list[str]:
        kill = [word for point in self.points for word in ("--kill", str(point))]
        files = ["--clock", str(self._clock_file), "--calls", str(self._calls_file), "--look", str(self._look_file)]
        names = ["--names", str(self.names)] if self.names else []
        return [*kill, *files, *names, "serve", "--config", str(self.file)]

    def begin(self) -> Process:
        return self._nursery.begin(self.line(), self.log, self.log)

    def start(self) -> None:
        self._harvest()
        self._status = None
        super().start()

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._status = self._process.poll()
        workers = self.workers() if how is signal.SIGKILL and self.alive else []
        super()._end(how)
        psutil.wait_procs(workers, WORKERS_END)  # they hear of it by themselves, and keep files open until then

    def _harvest(self) -> None:
        self.called += CallsFile.read(self._calls_file)
        self._calls_file.unlink(missing_ok=True)

    def calls(self) -> Counter[tuple[str, str]]:
        """What its processes were called to do, by kind, since ``forget_calls``."""
        return self.called + CallsFile.read(self._calls_file)

    def forget_calls(self) -> None:
        """It does not run."""
        self._harvest()
        self.called.clear()

    def forget_status(self) -> None:
        """Its end has been judged."""
        self._process, self._status = None, None

    def ended_in_order(self) -> bool:
        """SIGTERM; waits for its end, by itself and with nothing broken off."""
        process = self._process
        self.stop()
        self._status = process.returncode if process is not None else None
        return self._status == 0 and not self.cancelled()

    def cancelled(self) -> int:
        """Tasks that the last orderly end broke off, as the log says; -1: it says nothing."""
        found = STOPPED.findall(self.log.read_text(errors="replace"))
        return int(found[-1]) if found else -1

    def begin_command(self, *arguments: str) -> Process:
        """Another ``tierproxy`` command with the same configuration, beside the node."""
        nowhere = Path(os.devnull)
        return self._nursery.begin([*arguments, "--config", str(self.file)], nowhere, nowhere)

    def command(self, *arguments: str) -> Outcome:
        self._commands += 1
        texts = [self.directory / f"command-{self._commands}.{kind}" for kind in ("out", "errors")]
        code = self._nursery.begin([*arguments, "--config", str(self.file)], *texts).wait(COMMAND)
        return Outcome(code, *(text.read_text() for text in texts))

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def status(self) -> int | None:
        """What it ended with by itself; negative: a signal. None: it was told to, or it runs."""
        return self._process.poll() if self._process is not None else self._status

    @property
    def at_point(self) -> Point | None:
        """Where it has ended itself; None if it runs, or ended otherwise."""
        if self.status != -signal.SIGKILL:
            return None
        calls = CallsFile.read(self._calls_file)
        return next((point for point in self.points if calls[point.door, point.kind] >= point.nth), None)

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

    @contextmanager
    def still(self) -> Iterator[None]:
        """None of its threads is inside a call of the system, and none begins one (SIGSTOP)."""
        if not self.alive:
            yield
            return
        pid = self.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            deadline = time.monotonic() + STILL
            while not _stopped(pid) and time.monotonic() < deadline:
                time.sleep(0.001)
            yield
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def workers(self) -> list[psutil.Process]:
        """Its hit workers; none while it does not run."""
        if not self.alive:
            return []
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

    def running(self) -> dict[str, Counter[str]]:
        """Its ``tasks`` and ``threads`` by name, as it says itself. Raises TimeoutError."""
        self._look_file.unlink(missing_ok=True)
        os.kill(self.pid, signal.SIGUSR1)
        deadline = time.monotonic() + LOOKING
        while not self._look_file.exists():
            if time.monotonic() > deadline:
                raise TimeoutError(f"the node does not say what runs for {LOOKING:g} s")
            time.sleep(0.02)
        return {kind: Counter(names) for kind, names in json.loads(self._look_file.read_text()).items()}

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


def _stopped(pid: int) -> bool:
    """Every thread is: one that sleeps in a disk's driver stops when its call is over."""
    try:
        stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:  # a thread has ended, or all of them
        return not Path(f"/proc/{pid}").exists()
    return all(stat.rpartition(")")[2].split()[0] in "TtZX" for stat in stats)


def settled(config: Config, *, workers: int, linger: float) -> Config:
    """``config`` with what changes from round to round."""
    queue = replace(config.queue, linger=type(config.queue.linger)(linger))
    return replace(config, listen=replace(config.listen, workers=workers), queue=queue)
