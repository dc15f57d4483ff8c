"""Clients that ask too much, too slowly, or nothing at all, and what they were answered."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

PATIENCE = 60.0  #: seconds for an answer
PIECE = 512  #: bytes a slow client moves at a time
PAUSE = 0.5  #: seconds between two times
RECEIVE = 4096  #: bytes of a slow client's receive buffer, as far as the kernel allows


class Address(NamedTuple):
    """Where the proxy is. ``tls``: it has a certificate that nobody knows."""

    host: str
    port: int
    tls: bool = False


def trusting() -> ssl.SSLContext:
    """Of a client that asks nobody whose certificate it is."""
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    found.check_hostname = False
    found.verify_mode = ssl.CERT_NONE
    return found


TRUSTING = trusting()


@dataclass
class Tally:
    """What clients saw. ``refused``: 503 with Retry-After. ``closed``: without a word, where that is allowed (an idle
    connection, one that had its answer, one that was slow while others waited). ``errors``: everything else."""

    served: int = 0
    refused: int = 0
    closed: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    def note(self, status: int, head: bytes) -> None:
        if 200 <= status < 300:
            self.served += 1
        elif status == 503 and re.search(rb"(?i)\r\nretry-after: \d+\r\n", head):
            self.refused += 1
        else:
            self.errors[str(status)] += 1

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.served + other.served, self.refused + other.refused, self.closed + other.closed,
            self.errors + other.errors,
        )  # fmt: skip


class Client:
    """One raw connection from ``source``, an address of the loopback: by that clients are told apart."""

    def __init__(self, address: Address, source: str, tally: Tally, *, receive: int = 0) -> None:
        self._address = address
        self._source = source
        self._receive = receive
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None  # with TLS
        self.tally = tally
        self.socket = socket.socket()

    async def connect(self) -> bool:
        """False: nobody let it in, which is noted."""
        self.socket.setblocking(False)
        if self._receive:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive)
        try:
            self.socket.bind((self._source, 0))
            await asyncio.get_running_loop().sock_connect(self.socket, self._address[:2])
        except OSError as error:
            self.tally.errors[type(error).__name__] += 1
            return False
        return not self._address.tls or await self._shake_hands()

    async def _shake_hands(self) -> bool:
        """Who is not let in is told nothing before hands are shaken: the connection is closed."""
        try:
            self._streams = await asyncio.open_connection(
                sock=self.socket, ssl=TRUSTING, server_hostname="", limit=self._receive or 65536
            )
        except OSError:
            self.tally.closed += 1
            return False
        return True

    async def send(self, data: bytes) -> bool:
        try:
            if self._streams is not None:
                self._streams[1].write(data)
                await self._streams[1].drain()
            else:
                await asyncio.get_running_loop().sock_sendall(self.socket, data)
        except OSError:
            return False
        return True

    async def receive(self, most: int = 65536) -> bytes:
        """b"": it was closed."""
        try:
            if self._streams is not None:
                return await self._streams[0].read(most)
            return await asyncio.get_running_loop().sock_recv(self.socket, most)
        except OSError:
            return b""

    async def answer(self, *, may_close: bool = False) -> int:
        """Read one answer and note it; its status. ``may_close``: to be cut off is no error."""
        found = b""
        while b"\r\n\r\n" not in found:
            piece = await self.receive()
            if not piece:
                return self._cut(may_close)
            found += piece
        head, _, body = found.partition(b"\r\n\r\n")
        status, length = int(head[9:12]), re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        left = int(length[1]) - len(body) if length else 0
        while left > 0:
            piece = await self.receive()
            if not piece:
                return self._cut(may_close)
            left -= len(piece)
        self.tally.note(status, head + b"\r\n")
        return status

    def _cut(self, may_close: bool) -> int:
        if may_close:
            self.tally.closed += 1
        else:
            self.tally.errors["closed unanswered"] += 1
        return 0

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None
        self.socket.close()


def get(path: str, *, more: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: x\r\n{more}\r\n".encode()


def put(path: str, size: int, *, more: str = "") -> bytes:
    return f"PUT {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\n{more}\r\n".encode()


async def asked(client: Client, requests: Iterable[bytes], *, may_close: bool = False, tries: int = 1) -> None:
    """``requests`` one after the other on one connection; a new one where the old one was closed. ``tries``: of each,
    a second apart, while it is refused."""
    connected = await client.connect()
    for request in requests:
        for number in range(tries):
            status = await client.answer(may_close=may_close) if connected and await client.send(request) else 0
            if not 200 <= status < 300:
                client.close()
                client.socket = socket.socket()
                await asyncio.sleep(1.0 if status == 503 and number + 1 < tries else 0.0)
                connected = await client.connect()
            if status != 503:
                break
    client.close()


async def slow_read(client: Client, path: str, seconds: float, *, times: int = 1) -> None:
    """Takes a few bytes now and then, and leaves in the middle. ``times``: that it asks, at once."""
    if not await client.connect() or not await client.send(get(path) * times):
        return
    head = await client.receive(PIECE)
    while head and b"\r\n\r\n" not in head:
        more = await client.receive(PIECE)
        head = head + more if more else b""
    if not head:
        client.tally.closed += 1
        return
    client.tally.note(int(head[9:12]), head.partition(b"\r\n\r\n")[0] + b"\r\n")
    for _ in range(int(seconds / PAUSE)):
        await asyncio.sleep(PAUSE)
        if not await client.receive(PIECE):
            client.tally.closed += 1
            break
    client.close()


async def slow_write(client: Client, path: str, size: int, seconds: float) -> None:
    """Sends a few bytes now and then, and leaves in the middle."""
    if not await client.connect() or not await client.send(put(path, size)):
        return
    answer = asyncio.ensure_future(client.receive())
    for _ in range(int(seconds / PAUSE)):
        if (await asyncio.wait({answer}, timeout=PAUSE))[0] or not await client.send(b"x"):
            break
    if answer.done() and answer.result():
        head = answer.result().partition(b"\r\n\r\n")[0]
        client.tally.note(int(head[9:12]), head + b"\r\n")
    elif answer.done():
        client.tally.closed += 1
    answer.cancel()
    await asyncio.gather(answer, return_exceptions=True)
    client.close()


async def slow_head(client: Client, seconds: float) -> None:
    """A head that never ends."""
    if not await client.connect() or not await client.send(b"GET /mail/hot HTTP/1.1\r\nhost: x\r\n"):
        return
    closed = asyncio.ensure_future(client.receive())
    for number in range(int(seconds / PAUSE)):
        if (await asyncio.wait({closed}, timeout=PAUSE))[0] or not await client.send(b"x-%d: 1\r\n" % number):
            client.tally.closed += 1
            break
    closed.cancel()
    await asyncio.gather(closed, return_exceptions=True)
    client.close()


async def all_of(work: Iterable[Awaitable[None]]) -> None:
    """Side by side, each within its time."""

    async def one(task: Awaitable[None]) -> None:
        async with asyncio.timeout(2 * PATIENCE):
            await task

    await asyncio.gather(*(one(task) for task in work))


async def meanwhile(work: Awaitable[None], beside: Callable[[], Awaitable[None]]) -> None:
    """``beside`` begins when ``work`` has had a second, and ``work`` is waited for."""
    running = asyncio.ensure_future(work)
    try:
        await asyncio.sleep(1.0)
        await beside()
    finally:
        await running
