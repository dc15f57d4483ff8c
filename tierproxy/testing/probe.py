"""An in-process HTTP client for ASGI apps that sees what a socket client cannot: which bytes of a body the app has
asked for, which bytes of the answer it has produced while nobody takes them, and what it does when the client leaves.

    probe = Probe(app)
    answer = await probe.put("/mail/ann/1", b"...")
    assert answer.status == 200

    async with probe.call("PUT", "/mail/ann/1", headers={"content-length": "10"}) as call:
        await call.send(b"01234")       # returns when the app has taken it
        call.leave()                    # http.disconnect
        assert await call.ended() is Ending.SILENT

The rules of a real server are kept: no byte more or less than Content-Length, no body for HEAD, nothing after the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from xml.etree import ElementTree

Message = MutableMapping[str, Any]
App = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]
PATIENCE = 60.0  #: real seconds a test waits for something that should have happened at once


class Ending(StrEnum):
    """How an exchange ended."""

    WHOLE = "whole"  #: every byte promised was sent
    CUT = "cut"  #: the app raised, or dropped the connection, in the middle of the answer
    SILENT = "silent"  #: the app returned without an answer (nobody was there to read it)


@dataclass(frozen=True, slots=True)
class Answer:
    """A response. ``headers`` maps lower-case names to values; ``pieces`` are the body's messages as they were sent."""

    status: int
    headers: dict[str, str]
    body: bytes
    ending: Ending = Ending.WHOLE
    pieces: tuple[bytes, ...] = field(default=(), repr=False)

    @property
    def whole(self) -> bool:
        return self.ending is Ending.WHOLE

    @property
    def xml(self) -> ElementTree.Element:
        """The body as XML, namespaces stripped from the tags."""
        root = ElementTree.fromstring(self.body)
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
        return root

    def text(self, path: str) -> str | None:
        """The text of the first XML element at ``path`` (``Contents/Key``); None if there is none."""
        found = self.xml.find(path)
        return None if found is None else found.text or ""

    def texts(self, path: str) -> list[str]:
        return [element.text or "" for element in self.xml.findall(path)]

    @property
    def code(self) -> str | None:
        """The S3 error code, None where the body is not an error."""
        return self.text("Code") if self.xml.tag == "Error" else None


class Call:
    """One exchange under the test's control. It is also the app's view of the connection (``extensions``)."""

    def __init__(self, method: str, *, hold: bool) -> None:
        self.asked = 0  #: how often the app has asked for a piece of the body
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.pieces: list[bytes] = []
        self._method = method
        self._hold = hold
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._asks = asyncio.Semaphore(0)
        self._takes = asyncio.Semaphore(0)
        self._changed = asyncio.Condition()
        self._left = False
        self._complete = False
        self._aborted = False
        self._promised: int | None = None
        self._over = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # ---------------------------------------------------------------- the client's side

    async def send(self, piece: bytes, *, last: bool = False) -> None:
        """Give the app a piece of the body once it asks for one; back-pressure is what makes this wait."""
        async with asyncio.timeout(PATIENCE):
            await self._asks.acquire()
        self._inbox.put_nowait({"type": "http.request", "body": piece, "more_body": not last})

    def leave(self) -> None:
        """The client closes the connection."""
        self._left = True
        self._inbox.put_nowait({"type": "http.disconnect"})
        self._takes.release()

    async def take(self, pieces: int = 1) -> None:
        """With ``hold``: let the app send ``pieces`` more messages of the body."""
        for _ in range(pieces):
            self._takes.release()
        await asyncio.sleep(0)

    async def started(self) -> int:
        """Wait for the status line."""
        await self._until(lambda: self.status is not None)
        assert self.status is not None
        return self.status

    async def received(self, size: int) -> bytes:
        """Wait until at least ``size`` bytes of the answer's body are here."""
        await self._until(lambda: sum(map(len, self.pieces)) >= size)
        return b"".join(self.pieces)

    async def ended(self) -> Ending:
        """Wait for the app to return. Raises what it raised before it answered, or after its answer was complete."""
        assert self._task is not None
        await asyncio.wait({self._task}, timeout=PATIENCE)
        assert self._task.done(), f"the app is still running: {self._task}"
        error = None if self._task.cancelled() else self._task.exception()
        if error is not None and (self.status is None or self._complete):
            raise error
        if self._complete and not self._aborted:
            return Ending.WHOLE
        return Ending.SILENT if self.status is None else Ending.CUT

    async def answer(self) -> Answer:
        ending = await self.ended()
        return Answer(self.status or 0, self.headers, b"".join(self.pieces), ending, tuple(self.pieces))

    async def _until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: reached() or self._over.is_set())
        assert reached(), "the exchange ended before that"

    # ---------------------------------------------------------------- the connection, as the app sees it

    def is_closing(self) -> bool:
        return self._left or self._aborted

    def get_write_buffer_size(self) -> int:
        return 65536 if self._hold else 0

    def progress(self) -> int:
        return -self.get_write_buffer_size()

    def abort(self) -> None:
        self._aborted = True

    # ---------------------------------------------------------------- ASGI

    def begin(self, app: App, scope: MutableMapping[str, Any]) -> None:
        """Start the app's side of the exchange."""

        async def serve() -> None:
            try:
                await app(scope, self._asgi_receive, self._asgi_send)
            finally:
                self._over.set()
                async with self._changed:
                    self._changed.notify_all()

        self._task = asyncio.create_task(serve())

    async def stop(self) -> None:
        """End what is still running, so that a failed test leaves no task."""
        assert self._task is not None
        self.leave()
        await asyncio.wait({self._task}, timeout=10)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _asgi_receive(self) -> Message:
        self.asked += 1
        self._asks.release()
        if self._left or self._complete:
            return {"type": "http.disconnect"}
        return await self._inbox.get()

    async def _asgi_send(self, message: Message) -> None:
        if message["type"] == "http.response.body" and self._hold and not self._left:
            await self._takes.acquire()
        if self._left:
            return
        self._accept(message)
        async with self._changed:
            self._changed.notify_all()

    def _accept(self, message: Message) -> None:
        if self._complete:
            raise RuntimeError("a message after the end of the response")
        if message["type"] == "http.response.start":
            self._begin(message)
            return
        if self.status is None:
            raise RuntimeError("a body before the status line")
        body, more = message.get("body", b""), message.get("more_body", False)
        self._count(len(body), last=not more)
        if body and self._method != "HEAD":
            self.pieces.append(bytes(body))
        self._complete = not more

    def _begin(self, message: Message) -> None:
        if self.status is not None:
            raise RuntimeError("a second status line")
        self.status = message["status"]
        for name, value in message["headers"]:
            if name != name.lower() or b"\n" in value or b"\r" in value:
                raise RuntimeError(f"not a header: {name!r}: {value!r}")
            self.headers[name.decode("latin-1")] = value.decode("latin-1")
        if self._method != "HEAD" and "content-length" in self.headers:
            self._promised = int(self.headers["content-length"])

    def _count(self, size: int, *, last: bool) -> None:
        if self._promised is None:
            return
        self._promised -= size
        if self._promised < 0:
            raise RuntimeError("Response content longer than Content-Length")
        if last and self._promised:
            raise RuntimeError("Response content shorter than Content-Length")


class Probe:
    """Calls ``app``. ``headers`` are sent with every request."""

    def __init__(self, app: App, headers: Mapping[str, str] | None = None) -> None:
        self.app = app
        self._headers = {"host": "127.0.0.1", **(headers or {})}

    @asynccontextmanager
    async def call(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, *, hold: bool = False
    ) -> AsyncIterator[Call]:
        """An exchange step by step. ``target`` is the path, percent-encoded, with its query. ``hold``: the client takes
        no bytes of the answer's body until ``take``."""
        call = Call(method, hold=hold)
        scope = self.scope(method, target, headers or {})
        scope["extensions"] = {"tierproxy.connection": call}
        call.begin(self.app, scope)
        try:
            yield call
        finally:
            await call.stop()

    async def request(
        self,
        method: str,
        target: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """A whole exchange. Content-Length is added for a body given as bytes."""
        pieces = [body] if isinstance(body, bytes) else list(body or ())
        sent = dict(headers or {})
        if isinstance(body, bytes):
            sent.setdefault("content-length", str(len(body)))
        async with self.call(method, target, sent) as call:
            feeding = asyncio.ensure_future(_feed(call, pieces or [b""]))
            try:
                return await call.answer()
            finally:
                feeding.cancel()
                await asyncio.gather(feeding, return_exceptions=True)

    async def get(self, target: str, headers: Mapping[str, str] | None = None) -> Answer:
        return await self.request("GET", target, None, headers)

    async def head(self, target: str, headers: Mapping[str, str] | None = None) -> Answer:
        return await self.request("HEAD", target, None, headers)

    async def put(self, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        return await self.request("PUT", target, body, headers)

    async def post(self, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        return await self.request("POST", target, body, headers)

    async def delete(self, target: str, headers: Mapping[str, str] | None = None) -> Answer:
        return await self.request("DELETE", target, None, headers)

    def scope(self, method: str, target: str, headers: Mapping[str, str]) -> dict[str, Any]:
        """The ASGI scope of a request."""
        path, _, query = target.partition("?")
        merged = {**self._headers, **headers}
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "scheme": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode("ascii"),
            "query_string": query.encode("ascii"),
            "root_path": "",
            "headers": [(name.lower().encode("latin-1"), value.encode("utf-8")) for name, value in merged.items()],
            "client": ("127.0.0.1", 12345),
            "server": ("127.0.0.1", 9300),
        }


async def _feed(call: Call, pieces: list[bytes]) -> None:
    for number, piece in enumerate(pieces, 1):
        await call.send(piece, last=number == len(pieces))
