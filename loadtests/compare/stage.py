"""Where a run takes place: the objects, and every server that is asked, started when it is first wanted."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path

from measuring import Contender
from served import ACCESS_KEY_ID, BUCKET, SECRET, Failed, Served, config_for

from compare.client import Taken, ask, check, exchange, gets
from compare.findings import Findings
from compare.objects import SIZE, Objects, large, letter, small
from compare.peers import JuiceFS, Server, nginx_cache, nginx_static, rclone, seaweed_servers, varnish
from compare.programs import Missing, children_of
from tierproxy.cli.node import far
from tierproxy.config.sections import Config, MemorySection
from tierproxy.config.values import Size
from tierproxy.embedded import EmbeddedS3
from tierproxy.wire.status import Status

PEERS = ("nginx", "varnish", "rclone", "juicefs", "seaweed", "obstore", "boto3")
LOADING = 16  #: PUTs at once
Measure = Callable[[int], Awaitable[Taken]]
CHECKED = 24  #: objects of each contender whose digests are compared, before and after
WORKERS = (0, 2)
WARMING = 6  #: times all objects are read at most
COUNTING = 1.5  #: seconds; counts are brought together once a second


class Stage:
    """Enter it before use; leaving it ends every program."""

    def __init__(self, options: argparse.Namespace, directory: Path, alt: EmbeddedS3) -> None:
        self.options = options
        self.directory = directory
        self.alt = alt
        self.findings = Findings()
        self.objects: list[Objects] = []
        self.small = self._kept("hits", options.objects, small)
        self.letters = self._kept("letters", options.objects, letter)
        self.large = self._kept("large", 2, lambda number: large(number, options.large))
        self._stack = ExitStack()
        self._servers: dict[str, Server | None] = {}
        self._juicefs: JuiceFS | None = None
        self._proxies: dict[str, Served] = {}
        self._without: dict[int, str] = {}  #: settings of workers that do not start, and why

    async def __aenter__(self) -> Stage:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stack.close()

    def _kept(self, directory: str, count: int, content: Callable[[int], bytes]) -> Objects:
        self.objects.append(Objects(directory, count, content))
        return self.objects[-1]

    def cold(self, mark: str, count: int) -> Objects:
        """Objects of which nobody will have read any; before ``load``."""
        return self._kept(f"cold-{mark}", count, small)

    # ------------------------------------------------------------ objects

    async def load(self) -> None:
        """Put all objects into SeaweedFS and into files. Programs that remember listings start after this."""
        await self._put(seaweed_servers(self.alt)["seaweed-s3"], self.objects)
        for kept in self.objects:
            (self.directory / "files" / BUCKET / kept.directory).mkdir(parents=True)
            for name, content in kept.items():
                (self.directory / "files" / BUCKET / name).write_bytes(content)

    async def _put(self, server: Server, objects: Sequence[Objects]) -> None:
        for kept in objects:
            for some in _batches(kept):
                puts = [ask(server, "PUT", name, content) for name, content in some]
                await exchange(server, puts, LOADING, 600)

    # ------------------------------------------------------------ servers

    def wants(self, peer: str) -> bool:
        return peer in self.options.peers

    async def server(self, name: str) -> Server | None:
        """A peer, running; None, and a note, when it cannot take part or is not wanted."""
        if name not in self._servers:
            peer = name.partition("-")[0]
            try:
                self._servers[name] = await self._started(name) if self.wants(peer) else None
            except Missing as error:
                self._servers[name] = None
                self.findings.note(f"{name}: {error}")
        return self._servers[name]

    async def servers(self, *names: str) -> list[Server]:
        return [found for name in names if (found := await self.server(name)) is not None]

    async def _started(self, name: str) -> Server:
        if name.startswith("seaweed"):
            return seaweed_servers(self.alt)[name]
        directory = self.directory / name
        directory.mkdir()
        if name.startswith("juicefs"):
            return await self._gateway(name, directory)
        kinds: dict[str, Callable[[], AbstractContextManager[Server]]] = {
            "nginx-static": lambda: nginx_static(directory, self.directory / "files"),
            "nginx-cache": lambda: nginx_cache(directory, self.alt),
            "varnish-malloc": lambda: varnish(directory, self.alt, "malloc"),
            "varnish-file": lambda: varnish(directory, self.alt, "file"),
            "rclone": lambda: rclone(directory, self.alt),
        }  # fmt: skip
        return self._stack.enter_context(kinds[name]())

    async def _gateway(self, name: str, directory: Path) -> Server:
        """The first one puts the objects in: JuiceFS has a format of its own."""
        if self._juicefs is None:
            juicefs = JuiceFS(directory, self.alt)
            self._stack.enter_context(juicefs.volume())
            server = self._stack.enter_context(juicefs.gateway("loading"))
            await self._put(server, self.objects)
            self._juicefs = juicefs
        return self._stack.enter_context(self._juicefs.gateway(name))

    # ------------------------------------------------------------ tierproxy

    async def tierproxy(
        self, *, auth: bool = False, memory: bool = True, workers: int = 0, mark: str = "", synced: bool = False
    ) -> Server:
        """A ``tierproxy serve`` of its own for each combination; ``mark``: one more; ``synced``: its catalogue knows
        what is in alt. Raises Missing for workers that do not come."""
        name = f"tierproxy-{'memory' if memory else 'disk'}-{'signed' if auth else 'open'}-{workers}{mark}"
        kept = self._servers.get(name)
        if kept is not None:
            return kept
        if workers in self._without:
            raise Missing(self._without[workers])
        try:
            kept = self._servers[name] = self._serve(name, auth, memory, workers, synced)
        except Missing as error:
            self._without[workers] = str(error)
            raise
        return kept

    async def workers(self, *, auth: bool = False, memory: bool = True, mark: str = "") -> list[Server]:
        """One with each setting of [listen] workers; settings that this version does not have are a note."""
        found = []
        for workers in self.options.workers:
            try:
                found.append(await self.tierproxy(auth=auth, memory=memory, workers=workers, mark=mark))
            except Missing as error:
                self.findings.note(f"tierproxy, workers {workers}: {error}")
        return found

    def proxy(self, server: Server) -> Served:
        return self._proxies[server.host]

    async def counted(self, servers: Sequence[Server]) -> list[int]:
        """Reads that each tierproxy has counted so far, when these numbers have come to rest."""
        last, now = list[int](), [0]
        while last != now:
            await asyncio.sleep(COUNTING)
            told = await asyncio.gather(*(asyncio.to_thread(_status, self.proxy(server)) for server in servers))
            last, now = now, [one.speed.hits["day"].gets + one.speed.hits["day"].stubs for one in told]
        return now

    async def uploaded(self, server: Server) -> None:
        """Until everything that a tierproxy has acknowledged is in alt."""
        while (await asyncio.to_thread(_status, self.proxy(server))).safety.queue_jobs:
            await asyncio.sleep(0.1)

    def _serve(self, name: str, auth: bool, memory: bool, workers: int, synced: bool) -> Server:
        directory = self.directory / name
        directory.mkdir()
        proxy = Served(directory, self._config(directory, auth, memory, workers))
        self._stack.callback(proxy.kill)
        if synced and (outcome := proxy.command("catalogue", "sync")).code:
            raise Failed(f"catalogue sync: {outcome.errors}")
        try:
            proxy.start()
        except Failed as error:
            if not workers:
                raise
            raise Missing(f"it does not start: {str(error).strip().splitlines()[-1]}") from error
        if workers and children_of(proxy.pid) < workers:
            proxy.kill()
            raise Missing("no hit workers in this version")
        self._proxies[f"{proxy.address[0]}:{proxy.address[1]}"] = proxy
        tier, many = "memory" if memory else "disk", f", workers {workers}" if workers else ""
        title = f"tierproxy {tier}{many}{', SigV4' if auth else ''}"
        return Server(
            title, proxy.address, key=(ACCESS_KEY_ID, SECRET) if auth else None, pid=proxy.pid,
            hit=lambda of: of["x-tierproxy-tier"] in ("memory", "disk") if memory else of["x-tierproxy-tier"] == "disk",
        )  # fmt: skip

    def _config(self, directory: Path, auth: bool, memory: bool, workers: int) -> Config:
        base = config_for(directory, self.alt.section())
        listen = replace(base.listen, auth="sigv4" if auth else "none", workers=workers)
        return replace(base, listen=listen, memory=MemorySection(max_bytes=Size(64 * 2**20 if memory else 0)))

    # ------------------------------------------------------------ warm

    async def warm(self, servers: Sequence[Server], objects: Objects, least: int = SIZE) -> list[Server]:
        """Those that answer ``objects`` rightly and from their caches. A peer that does not is a note, tierproxy an
        error."""
        fine = []
        for server in servers:
            try:
                await self._warmed(server, objects, least)
                fine.append(server)
            except (Failed, OSError) as error:
                if server.name.startswith("tierproxy"):
                    raise
                self.findings.note(f"{server.name} left out: {error}")
        return fine

    async def _warmed(self, server: Server, objects: Objects, least: int) -> None:
        """What is kept in the background may take some time."""
        for attempt in range(WARMING):
            await exchange(server, gets(server, objects.names, least), 8, 600)
            await asyncio.sleep(0.2)
            try:
                check(server, objects.sample(CHECKED), hit=attempt > 0)
            except Failed:
                if attempt == WARMING - 1:
                    raise
            else:
                if attempt:
                    return


def _batches(kept: Objects, many: int = 500) -> list[list[tuple[str, bytes]]]:
    items = list(kept.items())
    return [items[first : first + many] for first in range(0, len(items), many)]


def _status(proxy: Served) -> Status:
    node = far(proxy.config)
    if node is None:
        raise Failed(f"{proxy} has no admin port")
    return node.get(Status, "/status")


def named(contenders: Sequence[Contender], start: str) -> Contender | None:
    """The first whose name begins so."""
    return next((one for one in contenders if one.name.startswith(start)), None)


def plainly(server: Server) -> str:
    """Its name where memory makes no difference."""
    return server.name.replace("tierproxy memory", "tierproxy")


def contender(
    server: Server, measure: Measure, name: str = "",
    settle: Callable[[], Awaitable[None]] | None = None,
) -> Contender:  # fmt: skip
    return Contender(name or server.name, measure, *([settle] if settle else []))
