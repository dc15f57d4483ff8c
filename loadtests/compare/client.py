"""Who asks: wrk where it can, a client of our own where it cannot (PUT, HEAD, listings, each object once). Both say
what processor time they took themselves, because client and server share the machine."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import resource
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httptools
from keepalive import head, signed
from measuring import Sample
from served import Failed

from compare.objects import SIZE, digest
from compare.peers import Server
from compare.programs import processor_seconds

PATIENCE = 120.0
UNIT = {"us": 0.001, "ms": 1.0, "s": 1000.0}


@dataclass(frozen=True, slots=True)
class Taken(Sample):
    """``client``: processor seconds of the client in a second; ``server``: microseconds of processor time that the
    server took for an operation, 0 where there is none of its own; ``asked``: operations."""

    client: float = 0.0
    server: float = 0.0
    asked: int = 0


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, made and signed. ``least``: bytes that its answer has at least."""

    head: bytes
    body: bytes = b""
    least: int = 0


def ask(
    server: Server,
    method: str,
    name: str,
    body: bytes = b"",
    *,
    least: int = 0,
    headers: Mapping[str, str] | None = None,
) -> Ask:
    """For an object. Signatures are valid for fifteen minutes."""
    path = f"{server.path}/{name}"
    fields = {"host": server.host} if server.key is None else signed(method, server.host, path, server.key, body)
    fields |= headers or {}
    if method == "PUT":
        fields["content-length"] = str(len(body))
    return Ask(head(method, path, fields), body, least)


def gets(server: Server, names: Sequence[str], least: int = SIZE) -> list[Ask]:
    return [ask(server, "GET", name, least=least) for name in names]


# ---------------------------------------------------------------- our own


class Connection(asyncio.Protocol):
    """A keep-alive connection, one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[tuple[int, int]] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._length = 0
        self._bodyless = False

    @classmethod
    async def open(cls, address: tuple[str, int]) -> Connection:
        _, protocol = await asyncio.get_running_loop().create_connection(cls, *address)
        return protocol

    async def ask(self, request: Ask) -> tuple[int, int]:
        """Status and length of the answer's body, when its last byte is here."""
        assert self._transport is not None
        self._waiter = asyncio.get_running_loop().create_future()
        self._length, self._bodyless = 0, request.head.startswith(b"HEAD")
        self._transport.write(request.head + request.body if len(request.body) < 2**18 else request.head)
        if len(request.body) >= 2**18:
            self._transport.write(request.body)
        return await self._waiter

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's is not asyncio's class

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(ConnectionError("closed in the middle of an answer"))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_exception(Failed(f"not an answer: {error} {data[:200]!r}"))

    def on_headers_complete(self) -> None:
        if self._bodyless:  # the parser would wait for the body that Content-Length speaks of
            status, self._parser = self._parser.get_status_code(), httptools.HttpResponseParser(self)
            self._answered(status)

    def on_body(self, data: bytes) -> None:
        self._length += len(data)

    def on_message_complete(self) -> None:
        if not self._bodyless:
            self._answered(self._parser.get_status_code())

    def _answered(self, status: int) -> None:
        if status >= 200 and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result((status, self._length))


async def exchange(
    server: Server, requests: Sequence[Ask], connections: int, seconds: float, *, again: bool = False
) -> Taken:
    """Ask all of ``requests`` once, or for ``seconds``, whichever ends first; ``again``: from the beginning until the
    time is over. Raises Failed for a status beyond 299 and for a short answer."""
    opened = [await Connection.open(server.address) for _ in range(min(connections, len(requests)))]
    taken: list[float] = []
    at, served = 0, processor_seconds(server.pid)
    own, begin = time.process_time(), time.perf_counter()
    end = begin + seconds

    async def loop(connection: Connection) -> None:
        nonlocal at
        while (now := time.perf_counter()) < end and (again or at < len(requests)):
            request, at = requests[at % len(requests)], at + 1
            status, length = await connection.ask(request)
            if status >= 300 or length < request.least:
                raise Failed(f"{server.name}: {request.head[:80]!r} was answered {status} with {length} bytes")
            taken.append(time.perf_counter() - now)

    try:
        async with asyncio.timeout(seconds + PATIENCE):
            await asyncio.gather(*(loop(connection) for connection in opened))
    finally:
        for connection in opened:
            connection.close()
    wall, own = time.perf_counter() - begin, time.process_time() - own
    return sample(taken, wall, own, processor_seconds(server.pid) - served)


def sample(taken: Sequence[float], wall: float, client: float, server: float) -> Taken:
    """``taken``: seconds of each operation."""
    many = len(taken)
    if not many:
        raise Failed("nothing was answered within a round")
    late = sorted(taken)[min(many - 1, many * 99 // 100)]
    return Taken(
        many / wall, statistics.median(taken) * 1000, late * 1000, client / wall, server / many * 1e6, many
    )  # fmt: skip


# ---------------------------------------------------------------- wrk

LUA = """
local requests = {{ {requests} }}
local at = 0
request = function() at = at % #requests + 1; return requests[at] end
done = function(all, latency)
  local bad = all.errors.connect + all.errors.read + all.errors.write + all.errors.status + all.errors.timeout
  io.write(string.format("found %d %d %d %d %d %d\\n", all.requests, all.bytes, all.duration, bad,
    latency:percentile(50), latency:percentile(99)))
end
"""


async def wrk(directory: Path, server: Server, requests: Sequence[Ask], connections: int, seconds: float) -> Taken:
    """``requests``, all of bodies of at least as many bytes, again and again; whole seconds. Raises Failed."""
    script = directory / "requests.lua"
    script.write_text(LUA.format(requests=", ".join(json.dumps(one.head.decode("latin-1")) for one in requests)))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(script)]
    served, own, begin = processor_seconds(server.pid), _children(), time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *command, f"http://{server.host}/", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output = (await process.communicate())[0].decode()
    wall, own = time.perf_counter() - begin, _children() - own
    found = re.search(r"^found (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)$", output, re.MULTILINE)
    if process.returncode or found is None:
        raise Failed(f"wrk: {output}")
    asked, received, micros, bad, median, late = map(int, found.groups())
    if bad or not asked or received < asked * requests[0].least:
        raise Failed(f"{server.name}: {bad} of {asked} requests failed, {received} bytes: {output}")
    took = processor_seconds(server.pid) - served
    return Taken(asked / micros * 1e6, median / 1000, late / 1000, own / wall, took / asked * 1e6, asked)


def _children() -> float:
    """Processor seconds of children that have ended; nobody else's ends while wrk runs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


# ---------------------------------------------------------------- is it right?


def check(server: Server, expected: Sequence[tuple[str, bytes]], *, hit: bool) -> None:
    """Each object's status, length and digest; ``hit``: and that it came from the server's cache. Raises Failed."""
    connection = http.client.HTTPConnection(*server.address, timeout=60)
    try:
        for name, content in expected:
            _check(connection, server, name, content, hit)
    finally:
        connection.close()


def _check(
    connection: http.client.HTTPConnection, server: Server, name: str, content: bytes, hit: bool
) -> None:  # fmt: skip
    path = f"{server.path}/{name}"
    connection.request("GET", path, headers=signed("GET", server.host, path, server.key) if server.key else {})
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200 or digest(body) != digest(content):
        raise Failed(f"{server.name}: {path} was answered {answer.status} with {len(body)} bytes that are not its own")
    headers = {field.lower(): value for field, value in answer.getheaders()}
    if hit and not server.hit(headers):
        raise Failed(f"{server.name}: {path} did not come from its cache: {headers}")
