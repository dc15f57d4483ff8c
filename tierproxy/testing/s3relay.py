"""An HTTP relay in front of an S3 server that counts requests by kind and fails on purpose: a process of its own.

with S3Relay("127.0.0.1", 8333) as relay:
    ... clients speak to relay.port ...
    relay.take()                    # what was asked for since the last take, in order
    relay.set(delay=0.1)            # seconds added to each request
    relay.set(delays={"PUT": 0.2, "GET": 0.04})   # to each of these kinds
    relay.set(answer=503)           # SlowDown to everything
    relay.set(mode="refuse")        # nobody listens
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, unquote, urlsplit

PIECE = 256 * 1024
MODES = ("pass", "blackhole", "refuse")
SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"


class Request(NamedTuple):
    """``kind``: an S3 verb: GET, HEAD, PUT, COPY, DELETE, LIST, MULTIPART, BUCKET. ``status``: 0 while it is not
    answered. ``size``: bytes of the request's body."""

    kind: str
    key: str
    status: int
    size: int


def counted(requests: Sequence[Request]) -> Counter[str]:
    """How many of each kind; requests about buckets themselves are left out."""
    return Counter(one.kind for one in requests if one.kind != "BUCKET")


def kind_of(method: str, target: str, headers: dict[str, str]) -> tuple[str, str]:
    """The kind of a request, and its key. ``target``: path-style, ``headers`` by lower-case name."""
    parts = urlsplit(target)
    query = parse_qs(parts.query, keep_blank_values=True)
    _, _, key = parts.path.lstrip("/").partition("/")
    key = unquote(key)
    if {"uploads", "uploadId"} & set(query):
        return "MULTIPART", key
    if method == "PUT" and "x-amz-copy-source" in headers:
        return "COPY", key
    if method == "POST" and "delete" in query:
        return "DELETE", "?delete"
    if not key:
        listing = method == "GET" and not {"versioning", "lifecycle", "location", "policy", "acl"} & set(query)
        return ("LIST", "".join(query.get("prefix", []))) if listing else ("BUCKET", "")
    return method, key


# ---------------------------------------------------------------- one end: what has a connection


class Broken(Exception):
    """The other side is gone, or speaks no HTTP."""


class Head(NamedTuple):
    """``first``: the three words of the first line; header names in lower case; ``raw``: as it came."""

    first: tuple[str, str, str]
    headers: dict[str, str]
    raw: bytes

    @property
    def length(self) -> int | None:
        """Of the body; None: chunked."""
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            return None
        return int(self.headers.get("content-length", "0"))


async def read_head(reader: asyncio.StreamReader) -> Head:
    """Of a request or of an answer. Raises Broken."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError) as error:
        raise Broken from error
    first, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
    words = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Head((words[0], words[1], words[2] if len(words) > 2 else ""), headers, raw)


async def _move(reader: asyncio.StreamReader, writer: asyncio.StreamWriter | None, length: int) -> None:
    """``length`` bytes; without a writer they are thrown away."""
    while length:
        piece = await reader.read(min(length, PIECE))
        if not piece:
            raise Broken
        length -= len(piece)
        if writer is not None:
            writer.write(piece)
            await writer.drain()


async def _body(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter | None) -> None:
    if head.length is not None:
        await _move(reader, writer, head.length)
        return
    while True:  # chunks, RFC 9112 7.1
        line = await reader.readuntil(b"\r\n")
        if writer is not None:
            writer.write(line)
        size = int(line.split(b";")[0], 16)
        await _move(reader, writer, size + 2)
        if size == 0:
            return


class _Server:
    """The relay itself, in its process."""

    def __init__(self, host: str, port: int) -> None:
        self.delay = 0.0
        self.answer = 0
        self.mode = "pass"
        self.kinds: tuple[str, ...] = ()  #: whom delay and answer meet; empty: everybody
        self.delays: Mapping[str, float] = {}  #: by kind, whatever ``delay`` is
        self.requests: list[Request] = []
        self.port = 0
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=PIECE)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def set(
        self, mode: str = "pass", delay: float = 0.0, answer: int = 0, kinds: Sequence[str] = (),
        delays: Mapping[str, float] | None = None,
    ) -> None:  # fmt: skip
        self.mode, self.delay, self.answer, self.kinds = mode, delay, answer, tuple(kinds)
        self.delays = delays or {}
        if mode != "pass":
            for task in self._tasks:  # connections there are end, too
                task.cancel()
        if mode == "refuse" and self._server is not None:
            self._server.close()
            self._server = None
        elif mode != "refuse" and self._server is None:
            await self.listen()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there: asyncio.StreamWriter | None = None
        try:
            with suppress(Broken, OSError, asyncio.IncompleteReadError, ValueError):
                answers, there = await asyncio.open_connection(*self._target, limit=PIECE)
                while await self._exchange(reader, writer, answers, there):
                    pass
        finally:
            writer.transport.abort()
            if there is not None:
                there.transport.abort()

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: asyncio.StreamReader,
        there: asyncio.StreamWriter,
    ) -> bool:  # fmt: skip
        """One request and its answer; False: the connection ends."""
        head = await read_head(reader)
        kind, key = kind_of(head.first[0], head.first[1], head.headers)
        number = len(self.requests)
        self.requests.append(Request(kind, key, 0, head.length or 0))
        kept = self.requests
        if self.mode == "blackhole":
            await asyncio.Event().wait()
        meant = not self.kinds or kind in self.kinds
        if delay := self.delays.get(kind, self.delay if meant else 0.0):
            await asyncio.sleep(delay)
        if "expect" in head.headers:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self.answer and meant:
            await _body(head, reader, None)
            kept[number] = Request(kind, key, self.answer, head.length or 0)
            return await self._fail(writer, head)
        there.write(re.sub(rb"(?i)\r\nexpect:[^\r]*", b"", head.raw))
        await _body(head, reader, there)
        await there.drain()
        answer = await read_head(answers)
        kept[number] = Request(kind, key, int(answer.first[1]), head.length or 0)
        writer.write(answer.raw)
        if head.first[0] != "HEAD" and answer.first[1] not in {"204", "304"}:
            await _body(answer, answers, writer)
        await writer.drain()
        return "close" not in answer.headers.get("connection", "").lower()

    async def _fail(self, writer: asyncio.StreamWriter, head: Head) -> bool:
        body = b"" if head.first[0] == "HEAD" else SLOW_DOWN
        writer.write(f"HTTP/1.1 {self.answer} Failed\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        return True

    def take(self) -> list[Request]:
        found, self.requests = self.requests, []
        return found


async def _relay(host: str, port: int) -> None:
    """Commands come as lines of JSON on standard input, answers go to standard output; ends with the input."""
    server = _Server(host, port)
    await server.listen()
    print(json.dumps(server.port), flush=True)  # noqa: T201 -- this is the protocol
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := await commands.readline():
        command = json.loads(line)
        taken: list[Request] = []
        if command == "take":
            taken = server.take()
        else:
            await server.set(**command)
        print(json.dumps(taken), flush=True)  # noqa: T201


# ---------------------------------------------------------------- the other end: whoever uses it


class S3Relay:
    """A running relay to ``host:port``. Ends with its owner."""

    program = "tierproxy.testing.s3relay"

    def __init__(self, host: str, port: int) -> None:
        self._target: tuple[str, ...] = (host, str(port))
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", self.program, *self._target]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self._answer())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def take(self) -> list[Request]:
        """What was asked for since the last ``take``."""
        return [Request(*one) for one in self.ask("take")]

    def set(
        self, *, mode: str = "pass", delay: float = 0.0, answer: int = 0, kinds: Sequence[str] = (),
        delays: Mapping[str, float] | None = None,
    ) -> None:  # fmt: skip
        """What happens to requests from now on; without arguments everything passes. ``mode``: pass, blackhole (read,
        never answered) or refuse; ``kinds``: whom ``delay`` and ``answer`` meet; ``delays``: seconds by kind."""
        command = {"mode": mode, "delay": delay, "answer": answer, "kinds": list(kinds), "delays": dict(delays or {})}
        self.ask(command)

    def ask(self, command: object) -> Any:
        """Send one command, and return its answer."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return json.loads(self._answer())

    def _answer(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout.readline()


if __name__ == "__main__":
    asyncio.run(_relay(sys.argv[1], int(sys.argv[2])))
