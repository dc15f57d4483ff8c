"""Requests over a bounded pool of kept connections.

A connection goes back to the pool only behind a whole answer; whoever is cancelled, or meets anything odd, closes his.
The node closes connections nobody used for a while, and the request that meets such an end has not been seen: it is
sent again, on a new connection. ``again`` in the answer says so.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from types import TracebackType

from tierproxy.mount.client_address import Address
from tierproxy.mount.client_answers import Answer
from tierproxy.mount.client_breaker import Breaker
from tierproxy.mount.client_connection import Broken, Connection
from tierproxy.mount.client_content import Outgoing, Words
from tierproxy.mount.client_patience import Patience, Progress
from tierproxy.mount.ports import Doubt, Unsent
from tierproxy.mount.signing import Fields, Signer, target_of
from tierproxy.ports import Clock
from tierproxy.s3api.auth import EMPTY_SHA256, Payload

IDLE = 55.0
"""Seconds after which an unused connection is not trusted: below the least idle time-out in use (60 s)."""
CONDITIONS = frozenset({"if-match", "if-none-match"})
MOST_WORDS = 2**20
"""Bytes of an answer that is no object."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. ``fields``: headers beside those that every request has. ``always``: sent also to a node that is
    silent."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    fields: Fields = field(default_factory=list)
    content: Outgoing | Words | None = None
    always: bool = False

    @property
    def conditional(self) -> bool:
        """A change with a condition: sent twice it happens once, whatever others did in between, and the answer to the
        second tells what became of the first."""
        return self.method in {"PUT", "DELETE"} and any(name in CONDITIONS for name, _ in self.fields)


class Pool:
    """Connections to one node, at most ``most`` in use."""

    def __init__(
        self, address: Address, clock: Clock, most: int, tls: ssl.SSLContext | None, heard: Callable[[], None]
    ) -> None:
        self._heard = heard
        self._address = address
        self._clock = clock
        self._tls = (tls or ssl.create_default_context()) if address.tls else None
        self._room = asyncio.Semaphore(most + 1)  # one is the change feed's
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"<Pool {self._address}, {len(self._open)} open, {len(self._idle)} idle>"

    @property
    def idle(self) -> int:
        """Connections that wait for a request."""
        return len(self._idle)

    @property
    def open(self) -> int:
        """Connections there are."""
        return len(self._open)

    async def take(self, *, fresh: bool = False) -> Connection:
        """A connection for one request; ``give`` it back always. ``fresh``: one that was never used. Raises Broken."""
        await self._room.acquire()
        try:
            return (None if fresh else self._kept()) or await self.connect()
        except BaseException:
            self._room.release()
            raise

    def give(self, connection: Connection) -> None:
        """loop. Kept if its answer is all here, else closed."""
        self._room.release()
        if connection.reusable:
            connection.idle_since = self._clock.monotonic()
            self._idle.append(connection)
        else:
            self.drop(connection)

    def drop(self, connection: Connection) -> None:
        connection.close()
        self._open.discard(connection)

    async def connect(self) -> Connection:
        """A connection that does not count against the limit; ``drop`` it. Raises Broken."""
        loop, address = asyncio.get_running_loop(), self._address
        if self._closed:
            raise Broken("the client is closed")
        try:
            if address.socket:
                _, connection = await loop.create_unix_connection(self._connection, address.socket)
            else:
                _, connection = await loop.create_connection(
                    self._connection, address.host, address.port, ssl=self._tls
                )
        except OSError as error:  # ssl.SSLError is one
            raise Broken(f"cannot connect to {address}: {error}") from error
        self._open.add(connection)
        return connection

    async def close(self) -> None:
        self._closed = True
        for connection in list(self._open):
            self.drop(connection)
        self._idle.clear()
        await asyncio.sleep(0)  # transports close in the next turn of the loop

    def _connection(self) -> Connection:
        return Connection(self._heard)

    def _kept(self) -> Connection | None:
        late = self._clock.monotonic() - IDLE
        while self._idle:
            connection = self._idle.pop()  # the one used last: the others may grow old and go
            if not connection.closed and connection.idle_since > late:
                return connection
            self.drop(connection)
        return None


class Requests:
    """``agent``: the User-Agent. ``signer``: None where the node asks for no signatures."""

    def __init__(
        self, address: Address, pool: Pool, patience: Patience, breaker: Breaker, *, signer: Signer | None, agent: str
    ) -> None:  # fmt: skip
        self.breaker = breaker
        self._address = address
        self._pool = pool
        self._patience = patience
        self._signer = signer
        self._agent = agent.encode()

    async def whole(self, ask: Ask, patience: Patience | None = None) -> Answer:
        """The answer with its body, which is not an object's. A request that was not heard for sure is sent again,
        once: what a second time may mean is the caller's to know (``Answer.again``). Raises Doubt."""
        async with self.answered(ask, patience) as incoming:
            return await incoming.whole(MOST_WORDS)

    def answered(self, ask: Ask, patience: Patience | None = None) -> Answered:
        """``async with``: the answer as far as its head. Raises Doubt, also out of the block when the body ends early
        or does not come."""
        return Answered(self, ask, patience or self._patience)

    async def send(self, ask: Ask, connection: Connection, progress: Progress) -> None:
        """The request, and its answer as far as its head. Raises Broken, Doubt."""
        connection.begin(no_body=ask.method == "HEAD", progress=progress.note)
        head = await self._head(ask)
        if ask.content is None or not ask.content.size:
            connection.send(head)
        else:
            await self._send_content(head, ask.content, connection)
        await connection.head()

    async def _send_content(self, head: bytes, content: Outgoing | Words, connection: Connection) -> None:
        sent = 0
        async with aclosing(content.pieces()) as pieces:
            async for piece in pieces:
                connection.send(head + piece if head else piece)
                head, sent = b"", sent + len(piece)
                await connection.drained()
                if connection.headed and sent < content.size:  # refused: the rest is not wanted, nor the connection
                    connection.end_of_use()
                    return

    async def _head(self, ask: Ask) -> bytes:
        path, query = target_of(ask.path, ask.query)
        fields = [("host", self._address.authority.encode()), ("user-agent", self._agent), *ask.fields]
        if ask.method in {"PUT", "POST"}:
            fields.append(("content-length", b"%d" % (ask.content.size if ask.content else 0)))
        if self._signer is not None:
            fields = self._signer.signed(ask.method, path, query, fields, await self._payload(ask))
        lines = [f"{ask.method} {path}{'?' if query else ''}{query} HTTP/1.1".encode()]
        lines += [name.encode() + b": " + value for name, value in fields]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    async def _payload(self, ask: Ask) -> str:
        """What is signed of the body. Where nobody can change it on the way (unix socket, TLS, loopback) its digest
        would protect nothing, and cost a second pass over the bytes before the first can be sent."""
        if ask.content is None or not ask.content.size:
            return EMPTY_SHA256
        return Payload.UNSIGNED.value if self._address.private else await ask.content.sha256()

    @property
    def pool(self) -> Pool:
        return self._pool


class Answered:
    """``async with`` an answer. See ``Requests.answered``."""

    def __init__(self, requests: Requests, ask: Ask, patience: Patience) -> None:
        self._requests = requests
        self._ask = ask
        self._progress = patience.limited()
        self._connection: Connection | None = None
        self._again = False

    async def __aenter__(self) -> Answered:
        if not self._ask.always:
            await self._requests.breaker.admit()
        await self._progress.__aenter__()
        try:
            await self._send()
        except BaseException as error:
            await self._leave(error)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave(error)

    @property
    def connection(self) -> Connection:
        """Over which it comes."""
        assert self._connection is not None
        return self._connection

    @property
    def head(self) -> Answer:
        """Without the body."""
        assert self._connection is not None
        return Answer(self._connection.status, self._connection.headers, again=self._again)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body: exactly as much as was promised, or an error. Raises Broken."""
        assert self._connection is not None
        while piece := await self._connection.more():
            self._progress.note()
            yield piece

    async def whole(self, most: int) -> Answer:
        """With the body. Raises Broken, Doubt when it has more than ``most`` bytes."""
        head = self.head
        return Answer(head.status, head.headers, await self.beginning(most, all=True), self._again)

    async def beginning(self, most: int, *, all: bool = False) -> bytes:
        """The first ``most`` bytes of the body. ``all``: there must not be more. Raises Broken, Doubt."""
        assert self._connection is not None
        body = await self._connection.more()
        while len(body) <= most and (piece := await self._connection.more()):
            body += piece
        if all and len(body) > most:
            raise Doubt("the node's answer has no end")
        return body[:most]

    async def _send(self) -> None:
        try:
            connection = self._connection = await self._requests.pool.take()
        except Broken as error:
            raise Unreachable(str(error)) from error
        try:
            await self._requests.send(self._ask, connection, self._progress)
        except Broken as error:
            # A kept connection that ends without a word was closed by the node before the request came. Elsewhere the
            # request may have been heard, and without a condition to send it again could undo what others did since.
            if error.answered or not (connection.stale or self._ask.conditional):
                raise
            await self._send_again()

    async def _send_again(self) -> None:
        assert self._connection is not None
        self._requests.pool.give(self._connection)
        self._connection, self._again = None, True
        self._connection = await self._requests.pool.take(fresh=True)
        await self._requests.send(self._ask, self._connection, self._progress)

    async def _leave(self, error: BaseException | None) -> None:
        """Raises Doubt for what the connection, or the clock, did."""
        if self._connection is not None:
            self._requests.pool.give(self._connection)
            self._connection = None
        try:
            await self._progress.__aexit__(type(error) if error else None, error, None)
        except TimeoutError:
            if not self._ask.always:
                self._requests.breaker.gave_up()
            raise Slow("the node did not answer within the deadline") from None
        if isinstance(error, Unreachable):
            raise Unsent(str(error)) from error
        if isinstance(error, Broken):
            raise Lost(str(error)) from error


class Unreachable(Broken):
    """There was no connection to send anything over."""


class Lost(Doubt):
    """The connection ended before the answer did."""


class Slow(Doubt):
    """The deadline has passed without progress."""
