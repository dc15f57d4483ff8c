"""The demo from start to end: an embedded S3 server, the node in this process, mails through its object port."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tierproxy.alt.limit import Counted
from tierproxy.alt.opening import open_alt
from tierproxy.cli.client import Door
from tierproxy.cli.demo.home import BUCKET, Delivered, Home
from tierproxy.cli.demo.play import CLIENTS, Phase, Player
from tierproxy.cli.demo.report import phases_table, to_try
from tierproxy.cli.outcome import out
from tierproxy.cli.signals import handled
from tierproxy.cli.words import bytes_text
from tierproxy.clock import SystemClock
from tierproxy.config.checks import host_and_port
from tierproxy.config.sections import Config
from tierproxy.disk.fsio import Files
from tierproxy.disk.lock import DataLock
from tierproxy.embedded import EmbeddedS3
from tierproxy.model import ObjectName
from tierproxy.node import Node
from tierproxy.offload import ThreadPool
from tierproxy.purges import OPERATOR, Drop
from tierproxy.wiring import build

HOST = "127.0.0.1"
PORT = 9300
ADMIN_PORT = 9301
SETTLING = 10.0
"""Seconds at most to wait for copies that are being made."""


class Demo:
    """One run. ``port`` None: 9300, or a free one when that is taken."""

    def __init__(self, directory: Path, mails: int, port: int | None, once: bool) -> None:
        self._home = Home(directory)
        self._mails = mails
        self._port = port
        self._once = once
        self._clock = SystemClock()
        self._console = out()
        self._stop = asyncio.Event()
        self._phases: list[Phase] = []
        self._good = False

    async def run(self) -> bool:
        """Whether every mail came back byte for byte; with ``once`` a run that was interrupted is not good either.
        Raises DataDirectoryInUse, ConfigError, AltUnavailable."""
        lock = DataLock.take(self._home.root, Files())
        threads = ThreadPool("demo", CLIENTS)
        try:
            with handled(self._stop, lambda: None):
                async with self._embedded(threads) as server, self._node(server) as (node, counted):
                    await self._play(node, counted, threads)
                    if not self._once and not self._stop.is_set():
                        self._console.print(
                            to_try(self._home, node.url or "", self._an_example(), _dashboard(node)), markup=False
                        )
                        await self._stop.wait()
                    self._console.print("stopping", style="dim")
        finally:
            await threads.close()
            lock.release()
        return self._good

    # ------------------------------------------------------------ what runs

    @asynccontextmanager
    async def _embedded(self, threads: ThreadPool) -> AsyncIterator[EmbeddedS3]:
        server = EmbeddedS3(self._home.alt_directory, secret_key=self._home.alt_secret())
        with self._console.status("starting the embedded S3 server (SeaweedFS)"):
            await threads.run(server.start)
        try:
            await threads.run(server.make_bucket, BUCKET)
            yield server
        finally:
            await threads.run(server.stop)

    @asynccontextmanager
    async def _node(self, server: EmbeddedS3) -> AsyncIterator[tuple[Node, Counted]]:
        config = self._home.config(server.section(), f"{HOST}:{self._free_port()}", self._admin_address())
        self._home.write_rules()
        counted = Counted(open_alt(config, self._clock))
        node = build(config, clock=self._clock, alt=counted, config_file=self._home.config_file)
        await node.start()
        try:
            self._home.write_credentials()
            self._home.write_config(_at(config, node))
            yield node, counted
        finally:
            await node.stop()

    def _free_port(self) -> int:
        """The port asked for; the usual one if it is free; else any."""
        if self._port is not None:
            return self._port
        if _is_free(PORT):
            return PORT
        self._console.print(f"port {PORT} is taken: choosing another", style="yellow")
        return 0

    def _admin_address(self) -> str:
        """The usual one beside the usual object port, if it is free; else any."""
        usual = self._port is None and _is_free(ADMIN_PORT)
        return f"{HOST}:{ADMIN_PORT if usual else 0}"

    # ------------------------------------------------------------ what is played

    async def _play(self, node: Node, counted: Counted, threads: ThreadPool) -> None:
        player = Player(Door.of(_at(node.parts.config, node)), threads, self._clock, self._stop.is_set)
        await self._find_again(player, node, counted)
        await self._deliver(player, counted)
        mails = list(self._home.manifest().values())
        for name in ("read", "read again"):
            await self._read(player, name, mails, counted)
        half = mails[::2]
        if not self._stop.is_set():
            purged = await _purge(node, half)
            self._say(f"removed {bytes_text(purged)} from disk and memory: {len(half)} mails are in alt only now")
        await self._read(player, "read from alt", half, counted)
        await self._settle(node)
        await self._read(player, "read once more", half, counted)
        if self._phases:
            self._console.print(phases_table(self._phases))
        self._judge()

    async def _deliver(self, player: Player, counted: Counted) -> None:
        known = self._home.manifest()
        missing = [number for number in range(self._mails) if number not in known]
        if missing and not self._stop.is_set():
            with self._counting("deliver", len(missing), counted) as (advance, done):
                done(await player.deliver(missing, self._home.remember, advance))

    async def _settle(self, node: Node) -> None:
        """A client has its last byte a moment before the copy on disk is durable; what comes next should find it."""
        deadline = self._clock.monotonic() + SETTLING
        while len(node.parts.tasks) and self._clock.monotonic() < deadline:
            await self._clock.sleep(0.02)

    async def _find_again(self, player: Player, node: Node, counted: Counted) -> None:
        known = self._home.manifest()
        if known:
            totals = node.parts.catalogue.totals(BUCKET)
            size = bytes_text(totals.bytes)
            self._say(f"found again: {totals.objects} objects, {size}, {totals.blobs} of them on disk")
            await self._read(player, "from last time", list(known.values()), counted)

    async def _read(self, player: Player, name: str, mails: list[Delivered], counted: Counted) -> None:
        if self._stop.is_set():
            return
        with self._counting(name, len(mails), counted) as (advance, done):
            done(await player.read(name, mails, advance))

    @contextmanager
    def _counting(
        self, name: str, total: int, counted: Counted
    ) -> Iterator[tuple[Callable[[], None], Callable[[Phase], None]]]:
        """A progress bar for a phase, and the requests alt saw meanwhile."""
        before = _by_class(counted)
        columns = (TextColumn("{task.description:<15}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console) as bars:
            task = bars.add_task(name, total=total)

            def done(phase: Phase) -> None:
                phase.alt = _by_class(counted) - before
                self._phases.append(phase)

            yield lambda: bars.advance(task), done

    def _judge(self) -> None:
        wrong = [text for phase in self._phases for text in phase.failures]
        cut_short = self._stop.is_set()
        self._good = not wrong and not (cut_short and self._once)
        for text in wrong[:10]:
            self._console.print(text, style="red", markup=False)
        compared = sum(phase.bytes for phase in self._phases if phase.name != "deliver")
        reads = sum(phase.requests for phase in self._phases if phase.name != "deliver")
        if wrong:
            self._console.print(f"{len(wrong)} of {reads} reads and deliveries went wrong", style="red bold")
        elif cut_short:
            self._say(f"interrupted after {reads} reads; nothing went wrong so far")
        else:
            self._say(f"every mail came back byte for byte: {reads} reads, {bytes_text(compared)} compared")

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False)

    def _an_example(self) -> str:
        return next((mail.key for mail in self._home.manifest().values()), "")


def _at(config: Config, node: Node) -> Config:
    """``config`` with the port the node really listens on."""
    address = (node.url or "").partition("//")[2]
    host_and_port(address)
    return replace(config, listen=replace(config.listen, address=address))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _dashboard(node: Node) -> str:
    return node.admin.login_url() if node.admin is not None else ""


def _by_class(counted: Counted) -> Counter[str]:
    totals: Counter[str] = Counter()
    for (kind, _), count in counted.requests.items():
        totals[kind] += count
    return totals


async def _purge(node: Node, mails: Iterable[Delivered]) -> int:
    """As an operator's purge: through the store, so that memory and catalogue follow. Returns the bytes released."""
    found = (node.parts.catalogue.find(ObjectName(BUCKET, mail.key)) for mail in mails)
    drops = [Drop.of(entry, OPERATOR) for entry in found if entry is not None and entry.blob is not None]
    return (await node.store.purge(drops)).bytes
