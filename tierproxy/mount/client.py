"""``NodeClient`` over HTTP: what the file system asks, as requests to the object port.

Uncertain changes
=================

An answer can be lost: a connection ends, a node fails in the middle, a deadline passes. A conditional change whose
connection ended without a word is sent once more: its condition (If-None-Match, If-Match) keeps it from happening
twice, and the node takes requests for one name one after the other, so that the answer to the second tells what became
of the first: 412 where the object now is just what was sent means that the first was carried out. Everything else that
is uncertain is asked after with HEAD. Only then there is doubt.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from tierproxy.mount.client_address import Address
from tierproxy.mount.client_answers import META, Answer
from tierproxy.mount.client_breaker import PATIENCE, Breaker
from tierproxy.mount.client_changes import Feed
from tierproxy.mount.client_content import Outgoing, Scratch, Words
from tierproxy.mount.client_documents import children_page, line_of, room_of
from tierproxy.mount.client_patience import Patience
from tierproxy.mount.client_requests import Answered, Ask, Pool, Requests
from tierproxy.mount.ports import NOBODY, Body, Children, Doubt, File, InTheWay, NotThere, Read, Room, Told, Upload, Who
from tierproxy.mount.signing import Credentials, Fields, Signer
from tierproxy.ports import Clock, FileCalls, Offload

T = TypeVar("T")
MIB = 2**20
IN_MEMORY = MIB
"""Larger bodies go to a scratch file; of those above the whole-object limit this much is brought as the head."""
TAIL = 64 * 1024
MOST_WORDS = MIB
PAGE = 1000
ASKING = 5.0
"""Seconds for the HEAD that asks what became of a change, after the deadline of the change itself is over."""


@dataclass(frozen=True, slots=True)
class Limits:
    """``deadline``: seconds without progress. ``whole``: bytes; larger objects are read in pieces. ``connections``:
    requests at once; more wait."""

    deadline: float = 20.0
    whole: int = 64 * MIB
    connections: int = 32


class HttpNode:
    """``bucket`` and ``prefix`` ("" or with a slash at its end): where the keys are. ``credentials``: None where the
    node has ``auth = "none"``. ``scratch``: a directory for bodies that are too large for memory. ``version``: of this
    program, for the node's log. Confined to the event loop."""

    def __init__(
        self, address: Address, bucket: str, *, prefix: str = "", credentials: Credentials | None, clock: Clock,
        files: FileCalls, threads: Offload, scratch: Path, version: str, limits: Limits | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        self._bucket = bucket
        self._prefix = prefix
        self._threads = threads
        self._limits = limits or Limits()
        self._scratch = Scratch(scratch, files, threads)
        self._patience = Patience(clock, self._limits.deadline)
        self._asking = Patience(clock, min(ASKING, self._limits.deadline))
        self._probing = Patience(clock, PATIENCE)
        self._breaker = Breaker(clock, self._limits.deadline, self._probe)
        self._pool = Pool(address, clock, self._limits.connections, tls, self._breaker.heard)
        signer = None if credentials is None else Signer(credentials, clock)
        self._requests = Requests(
            address, self._pool, self._patience, self._breaker, signer=signer, agent=f"tierproxy-mount/{version}"
        )  # fmt: skip
        self._feed = Feed(self._requests, clock, bucket=bucket, prefix=prefix)

    def __repr__(self) -> str:
        return f"<HttpNode {self._bucket}/{self._prefix} {self._pool!r}>"

    # ---------------------------------------------------------------- looking

    async def look(self, key: str) -> File:
        return (await self._head(key)).file(key)

    async def children(self, directory: str) -> Children:
        files: list[File] = []
        directories: list[str] = []
        marked, after = False, ""
        while True:
            page = children_page(await self._children(directory, after), directory)
            files += page.files
            directories += page.directories
            marked, after = marked or page.marked, page.after
            if not after:
                # The keys' order is not the names': "a-b/" comes before "a/".
                return Children(tuple(files), tuple(sorted(directories)), marked)

    async def room(self) -> Room:
        return room_of(await self._requests.whole(Ask("GET", "/", (("tierproxy-room", ""),))))

    # ---------------------------------------------------------------- reading

    async def open(self, key: str, who: Who = NOBODY, *, stub: bool = True) -> Body:
        fields = [*_reason(who), *([("x-tierproxy-accept", b"stub")] if stub else [])]
        async with self._requests.answered(Ask("GET", self._path(key), fields=fields)) as answered:
            if answered.head.status != 200:
                raise (await answered.whole(MOST_WORDS)).refusal()
            body = await self._brought(answered, key)
        if body.fd is None and not body.stub and len(body.head) < body.file.size:
            size = min(TAIL, body.file.size - len(body.head))
            return replace(body, tail=await self.piece(body.file, body.file.size - size, size, who))
        return body

    async def piece(self, file: File, offset: int, size: int, who: Who = NOBODY) -> bytes:
        stop = min(offset + size, file.size)
        if stop <= offset:
            return b""
        fields = [("range", f"bytes={offset}-{stop - 1}".encode()), _match("if-match", file.etag), *_reason(who)]
        async with self._requests.answered(Ask("GET", self._path(file.key), fields=fields)) as answered:
            if answered.head.status != 206:
                raise _not_good(await answered.whole(MOST_WORDS))
            promised = answered.head.headers.get("content-range", b"")
            if promised != f"bytes {offset}-{stop - 1}/{file.size}".encode():
                raise Doubt("the node answers with another piece than was asked for")
            return _exactly(stop - offset, await answered.beginning(stop - offset, all=True))

    # ---------------------------------------------------------------- changing

    async def put(self, upload: Upload, who: Who = NOBODY) -> File:
        content = Outgoing(upload.fd, upload.size, self._threads)
        fields = [
            ("content-type", content_type(upload.key)),
            *_metadata({**upload.metadata, **_times(upload.modified, upload.changed)}.items()),
            *_condition(create=upload.create, match=upload.match),
            *_named(upload.change),
            *_reason(who),
        ]

        async def done() -> File | None:
            """The object that is there, if it is what was sent: these bytes, with this time."""
            there = await self._asked(upload.key)
            same = there.etag == await content.etag() and there.modified == upload.modified
            return there if same else None

        def stored(answer: Answer) -> File:
            return File(upload.key, upload.size, answer.etag, upload.modified, upload.changed)

        file = await self._change(Ask("PUT", self._path(upload.key), fields=fields, content=content), stored, done)
        if file.etag != await content.etag():
            raise Doubt(f"the node has stored something else than was sent as {upload.key}")
        return file

    async def mark(self, directory: str, modified: float) -> None:
        fields = [
            ("content-type", b"application/x-directory"),
            *_metadata(_times(modified, modified).items()),
            *_condition(create=True),
        ]

        async def there() -> File | None:
            return await self._asked(directory)

        ask = Ask("PUT", self._path(directory), fields=fields)
        try:
            await self._change(ask, lambda answer: answer, there)
        except InTheWay:
            return

    async def copy(
        self, source: File, target: str, *, create: bool = True, who: Who = NOBODY, change: str = ""
    ) -> File:  # fmt: skip
        fields = [*self._source(source), *_condition(create=create), *_named(change), *_reason(who)]
        return await self._copied(source, replace(source, key=target), fields)

    async def touch(self, file: File, modified: float, changed: float) -> File:
        found = await self._head(file.key)
        if found.etag != file.etag:
            raise InTheWay(f"{file.key} has another content by now")
        touched = replace(file, modified=modified, changed=changed)
        times = {name: value.encode() for name, value in _times(modified, changed).items()}
        fields = [*self._source(file), ("x-amz-metadata-directive", b"REPLACE"), *_condition(match=file.etag)]
        return await self._copied(file, touched, [*fields, *_kept(found, times)])

    async def delete(self, key: str, *, match: str = "") -> None:
        async def gone() -> bool | None:
            try:
                found = await self._asked(key)
            except NotThere:
                return True
            if match and found.etag != match:
                raise InTheWay(f"{key} has another content")
            return None

        ask = Ask("DELETE", self._path(key), fields=_condition(match=match))
        try:
            await self._change(ask, lambda _answer: True, gone)
        except InTheWay:
            if not await gone():
                raise

    async def withdraw(self, key: str, *, etag: str, change: str) -> None:
        fields = [*_condition(match=etag), ("x-tierproxy-withdraw", change.encode())]
        answer = await self._requests.whole(Ask("DELETE", self._path(key), fields=fields))
        if not answer.good and not isinstance(refusal := answer.refusal(), InTheWay):
            raise refusal

    # ---------------------------------------------------------------- telling and hearing

    async def report(self, reads: Sequence[Read]) -> None:
        lines = b"".join(line_of(read, self._prefix) for read in reads)
        ask = Ask("POST", f"/{self._bucket}", (("tierproxy-reads", ""),), content=Words(lines))
        answer = await self._requests.whole(ask)
        if not answer.good:
            raise answer.refusal()

    def changes(self) -> AsyncGenerator[Told, None]:
        return self._feed.changes()

    @property
    def fresh(self) -> bool:
        return self._feed.fresh

    async def close(self) -> None:
        """End every connection; what is under way is in doubt."""
        await self._feed.close()
        await self._breaker.close()
        await self._probing.close()
        await self._patience.close()
        await self._asking.close()
        await self._pool.close()

    # ---------------------------------------------------------------- how

    def _path(self, key: str) -> str:
        return f"/{self._bucket}/{self._prefix}{key}"

    def _source(self, file: File) -> Fields:
        """Of a copy of this very content."""
        source = quote(f"{self._bucket}/{self._prefix}{file.key}", safe="/-_.~").encode()
        return [("x-amz-copy-source", source), _match("x-amz-copy-source-if-match", file.etag)]

    async def _head(self, key: str, patience: Patience | None = None) -> Answer:
        answer = await self._requests.whole(Ask("HEAD", self._path(key)), patience)
        if not answer.good:
            raise answer.refusal()
        return answer

    async def _probe(self) -> None:
        await self._requests.whole(Ask("HEAD", f"/{self._bucket}", always=True), self._probing)

    async def _asked(self, key: str) -> File:
        """What is there now, asked once and soon."""
        return (await self._head(key, self._asking)).file(key)

    async def _children(self, directory: str, after: str) -> Answer:
        query = [("tierproxy-children", ""), ("prefix", self._prefix + directory), ("limit", str(PAGE))]
        if after:
            query.append(("after", after))
        return await self._requests.whole(Ask("GET", f"/{self._bucket}", tuple(query)))

    async def _brought(self, answered: Answered, key: str) -> Body:
        stub = answered.head.stub()
        if stub is not None:
            size, head, tail = stub
            data = _exactly(head + tail, await answered.beginning(head + tail, all=True))
            return Body(answered.head.file(key, size), data[:head], data[head:], stub=True)
        file = answered.head.file(key)
        if file.size <= IN_MEMORY:
            return Body(file, _exactly(file.size, await answered.beginning(file.size, all=True)))
        if file.size <= self._limits.whole:
            return Body(file, fd=await self._scratch.keep(answered.pieces()))
        return Body(file, _exactly(IN_MEMORY, await answered.beginning(IN_MEMORY)))

    async def _copied(self, source: File, target: File, fields: Fields) -> File:
        async def done() -> File | None:
            there = await self._asked(target.key)
            same = (there.etag, there.modified, there.changed) == (source.etag, target.modified, target.changed)
            return there if same else None

        def stored(answer: Answer) -> File:
            return replace(target, etag=answer.etag or source.etag)

        return await self._change(Ask("PUT", self._path(target.key), fields=fields), stored, done)

    async def _change(self, ask: Ask, result: Callable[[Answer], T], done: Callable[[], Awaitable[T | None]]) -> T:
        """``done``: asks the node whether what ``ask`` asks for is so; None: it is not. Raises Doubt where nobody
        knows, and what the node's answer means."""
        try:
            answer = await self._requests.whole(ask)
        except Doubt as doubt:
            return await self._after(done, doubt)
        if answer.good:
            return result(answer)
        refusal = answer.refusal()
        if answer.uncertain or (answer.again and isinstance(refusal, InTheWay)):
            return await self._after(done, refusal)
        raise refusal

    @staticmethod
    async def _after(done: Callable[[], Awaitable[T | None]], error: Exception) -> T:
        try:
            found = await done()
        except (Doubt, NotThere) as unknown:
            # Sent twice and refused the second time: the first may be what was in the way.
            raise (unknown if isinstance(error, InTheWay) and isinstance(unknown, Doubt) else error) from None
        if found is None:
            raise error
        return found


def content_type(key: str) -> bytes:
    """What a maildir holds are messages; Dovecot's own formats are its own."""
    parent = key.rpartition("/")[0].rpartition("/")[2]
    return b"message/rfc822" if parent in {"cur", "new"} else b"application/octet-stream"


def _not_good(answer: Answer) -> Exception:
    return Doubt(f"the node answers {answer.status} where it ought not to") if answer.good else answer.refusal()


def _exactly(size: int, data: bytes) -> bytes:
    if len(data) != size:
        raise Doubt(f"{len(data)} bytes came, {size} were promised")
    return data


def _match(name: str, etag: str) -> tuple[str, bytes]:
    return name, b'"%b"' % etag.encode()


def _condition(*, create: bool = False, match: str = "") -> Fields:
    if create:
        return [("if-none-match", b"*")]
    return [_match("if-match", match)] if match else []


def _reason(who: Who) -> Fields:
    return [("x-tierproxy-reason", who.reason.encode())] if who.reason else []


def _named(change: str) -> Fields:
    return [("x-tierproxy-change", change.encode())] if change else []


def _times(modified: float, changed: float) -> dict[str, str]:
    """As s3fs and rclone write them, in nanoseconds: finer than a double of today's times."""
    return {"mtime": f"{modified:.9f}", "ctime": f"{changed:.9f}"}


def _metadata(metadata: Iterable[tuple[str, str]]) -> Fields:
    """Raises ValueError for what cannot be in a header."""
    fields = [(META + name.lower(), value.encode()) for name, value in metadata]
    for name, value in fields:
        if any(byte < 32 or byte == 127 for byte in name.encode() + value):
            raise ValueError(f"{name!r} cannot be a header")
    return fields


def _kept(found: Answer, times: dict[str, bytes]) -> Fields:
    """What a REPLACE of the metadata must send again, all of it, for only the times to change."""
    stored = {"content-type", "cache-control", "content-disposition", "content-encoding", "content-language", "expires"}
    fields = [(name, value) for name, value in found.headers.items() if name in stored]
    metadata = {name[len(META) :]: value for name, value in found.headers.items() if name.startswith(META)} | times
    return fields + [(META + name, value) for name, value in metadata.items()]
