"""A store in a dictionary, with doors for a test to make it slow or broken."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tierproxy.errors import (
    BadBody,
    BucketExists,
    BucketNotEmpty,
    InvalidPart,
    NoSuchBucket,
    NoSuchKey,
    NoSuchUpload,
    PreconditionFailed,
    ShuttingDown,
)
from tierproxy.model import (
    Ack,
    BucketRow,
    ByteRange,
    Entry,
    Headers,
    Listed,
    ListPage,
    ListRequest,
    ObjectName,
    Part,
    State,
    Stub,
    Tier,
    Upload,
)
from tierproxy.ports import BodyCheck
from tierproxy.store.calls import ANYTHING, Precondition, Purge, Reading, Room, Select, Write, Written, whole
from tierproxy.store.feed import Listener
from tierproxy.traffic import NOBODY, Delivery, Outcome, Visitor

NOW = 1_700_000_000.25


class MemoryReading:
    def __init__(
        self, store: MemoryStore, entry: Entry, chosen: ByteRange | None, data: bytes, stub: Stub | None = None
    ) -> None:
        self._store = store
        self.entry = entry
        self.range = chosen
        self._data = data
        self.tier = Tier.STUB if stub else Tier.MEMORY if store.chunk == 0 else Tier.DISK
        self.outcome = Outcome(self.tier)
        self.fill = "stub" if stub else "hit"
        self.purged: Purge | None = None
        self.stub = stub
        self.timings: Mapping[str, float] = {"disk": 0.5}
        self.content = data if stub or store.chunk == 0 else None
        self.closed = False

    async def chunks(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._data), self._store.chunk):
            if self._store.break_at is not None and start >= self._store.break_at:
                raise self._store.break_with
            self._store.chunks_read += 1
            yield self._data[start : start + self._store.chunk]

    async def close(self) -> None:
        assert not self.closed
        self.closed = True
        self._store.open_readings -= 1


@dataclass
class MemoryStore:
    """``chunk``: 0 answers from memory, else reads stream in pieces of this size. ``break_at``: offset at which a
    stream fails with ``break_with``. ``fail``: raised by every call. ``gate``: writes, copies and completions
    wait for it. ``stubs``: what those who accept a stub get of these names."""

    chunk: int = 0
    break_at: int | None = None
    break_with: Exception = field(default_factory=lambda: RuntimeError("secret detail"))
    fail: Exception | None = None
    gate: asyncio.Event | None = None
    objects: dict[ObjectName, tuple[Entry, bytes]] = field(default_factory=dict)
    stubs: dict[ObjectName, Stub] = field(default_factory=dict)
    rows: dict[str, BucketRow] = field(default_factory=lambda: {"mail": BucketRow("mail", NOW, False, True)})
    writes: list[Write] = field(default_factory=list)
    abandoned: list[BaseException] = field(default_factory=list)
    received: int = 0
    chunks_read: int = 0
    open_readings: int = 0
    visitors: list[Visitor] = field(default_factory=list)
    deliveries: list[tuple[str, Visitor, int, float]] = field(default_factory=list)
    told: list[Delivery] = field(default_factory=list)
    generation: int = 0
    min_part: int = 3

    def __post_init__(self) -> None:
        self.multipart = MemoryMultipart(self)

    def put(self, key: str, data: bytes, headers: Headers | None = None, *, parts: tuple[int, ...] = ()) -> Entry:
        return self.keep(ObjectName("mail", key), data, headers or Headers(), hashlib.md5(data).hexdigest(), parts)

    def keep(self, name: ObjectName, data: bytes, headers: Headers, etag: str, parts: tuple[int, ...] = ()) -> Entry:
        self.generation += 1
        entry = Entry(name, self.generation, State.CLEAN, len(data), etag, NOW, headers=headers, parts=parts, blob="b1")
        self.objects[name] = (entry, data)
        return entry

    def data(self, key: str) -> bytes:
        return self.objects[ObjectName("mail", key)][1]

    def _find(self, name: ObjectName) -> tuple[Entry, bytes]:
        if self.fail:
            raise self.fail
        self.bucket(name.bucket)
        if name not in self.objects:
            raise NoSuchKey
        return self.objects[name]

    async def open(
        self, name: ObjectName, select: Select = whole, *, visitor: Visitor = NOBODY, stub: bool = False
    ) -> MemoryReading:  # fmt: skip
        self.visitors.append(visitor)
        entry, data = self._find(name)
        chosen = select(entry)
        self.open_readings += 1
        kept = self.stubs.get(name)
        if kept is not None and stub and chosen is None:
            return MemoryReading(self, entry, None, kept.head + kept.tail, kept)
        return MemoryReading(self, entry, chosen, data if chosen is None else data[chosen.start : chosen.stop])

    def delivered(self, reading: Reading, visitor: Visitor, sent: int, seconds: float) -> None:
        self.deliveries.append((reading.entry.name.key, visitor, sent, seconds))

    def delivered_all(self, deliveries: Sequence[Delivery]) -> None:
        self.told += deliveries

    async def head(self, name: ObjectName, *, full: bool = True) -> Entry:
        return self._find(name)[0]

    def check(self, name: ObjectName, precondition: Precondition) -> None:
        found = self.objects.get(name)
        if precondition.create and found:
            raise PreconditionFailed
        if precondition.match is not None:
            if found is None:
                raise NoSuchKey
            if precondition.match not in {"*", found[0].etag}:
                raise PreconditionFailed

    async def write(self, write: Write) -> Written:
        if self.fail:
            raise self.fail
        self.bucket(write.name.bucket)
        self.check(write.name, write.precondition)
        data = await self.read_body(write.body, write.check)
        write.check.verify(len(data))
        self.writes.append(write)
        if self.gate:
            await self.gate.wait()
        headers = replace(write.headers, checksums={**write.headers.checksums, **write.check.checksums()})
        return Written(self.keep(write.name, data, headers, write.check.etag()), {"disk": 1.25})

    async def read_body(self, body: AsyncIterator[bytes], check: BodyCheck) -> bytes:
        data = bytearray()
        try:
            async for piece in body:
                self.received += len(piece)
                check.update(piece)
                data += piece
        except BaseException as error:
            self.abandoned.append(error)
            raise
        return bytes(data)

    async def delete(
        self, name: ObjectName, precondition: Precondition = ANYTHING, *, visitor: Visitor = NOBODY
    ) -> None:
        if self.fail:
            raise self.fail
        self.bucket(name.bucket)
        self.check(name, precondition)
        self.objects.pop(name, None)

    async def copy(
        self,
        source: ObjectName,
        target: ObjectName,
        *,
        headers: Headers | None,
        select: Select,
        precondition: Precondition,
        ack: Ack | None,
        visitor: Visitor = NOBODY,
    ) -> Written:
        self.visitors.append(visitor)
        entry, data = self._find(source)
        self.bucket(target.bucket)
        select(entry)
        self.check(target, precondition)
        if self.gate:
            await self.gate.wait()
        kept = headers or entry.headers or Headers()
        return Written(self.keep(target, data, kept, entry.etag))

    async def page(self, request: ListRequest) -> ListPage:
        if self.fail:
            raise self.fail
        self.bucket(request.bucket)
        objects: list[Listed] = []
        prefixes: list[str] = []
        for name in sorted(self.objects):
            key = name.key
            if name.bucket != request.bucket or not key.startswith(request.prefix) or key <= request.after:
                continue
            if request.delimiter and request.delimiter in key[len(request.prefix) :]:
                head = key[len(request.prefix) :].split(request.delimiter)[0]
                prefix = request.prefix + head + request.delimiter
                if prefix in prefixes or request.after.startswith(prefix):
                    continue
                if len(objects) + len(prefixes) == request.limit:
                    return ListPage(tuple(objects), tuple(prefixes), self._last(objects, prefixes))
                prefixes.append(prefix)
                continue
            if len(objects) + len(prefixes) == request.limit:
                return ListPage(tuple(objects), tuple(prefixes), self._last(objects, prefixes))
            entry = self.objects[name][0]
            headers = entry.headers if request.headers else None
            objects.append(Listed(key, entry.size, entry.etag, entry.written_at, headers))
        return ListPage(tuple(objects), tuple(prefixes), None)

    @staticmethod
    def _last(objects: list[Listed], prefixes: list[str]) -> str:
        return max([listed.key for listed in objects] + prefixes)

    def listen(self, bucket: str, prefix: str = "") -> Listener:
        """Nobody tells of changes here."""
        self.bucket(bucket)
        raise ShuttingDown

    def room(self) -> Room:
        return Room(2**30, sum(len(data) for _, data in self.objects.values()), len(self.objects))

    def buckets(self) -> list[BucketRow]:
        return sorted(self.rows.values(), key=lambda row: row.name)

    def bucket(self, name: str) -> BucketRow:
        if name not in self.rows:
            raise NoSuchBucket
        return self.rows[name]

    async def create_bucket(self, name: str) -> None:
        if name in self.rows:
            raise BucketExists
        self.rows[name] = BucketRow(name, NOW, True, True)

    async def delete_bucket(self, name: str) -> None:
        self.bucket(name)
        if any(found.bucket == name for found in self.objects):
            raise BucketNotEmpty
        del self.rows[name]


class MemoryMultipart:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._uploads: dict[str, Upload] = {}
        self._parts: dict[str, dict[int, tuple[Part, bytes]]] = {}

    async def create(
        self,
        name: ObjectName,
        headers: Headers,
        ack: Ack | None,
        checksum_algorithm: str | None,
        checksum_type: str | None,
        visitor: Visitor = NOBODY,
    ) -> Upload:
        self._store.visitors.append(visitor)
        self._store.bucket(name.bucket)
        id = f"upload-{len(self._uploads) + 1}"
        self._uploads[id] = Upload(id, name, headers, NOW, ack, checksum_algorithm, checksum_type)
        self._parts[id] = {}
        return self._uploads[id]

    def find(self, id: str, name: ObjectName) -> Upload:
        upload = self._uploads.get(id)
        if upload is None or upload.name != name:
            raise NoSuchUpload
        return upload

    async def put_part(
        self, upload: Upload, number: int, size: int, body: AsyncIterator[bytes], check: BodyCheck
    ) -> Part:
        data = await self._store.read_body(body, check)
        check.verify(len(data))
        part = Part(number, len(data), check.etag(), f"part-{number}", NOW, check.checksums())
        self._parts[upload.id][number] = (part, data)
        return part

    async def copy_part(self, upload: Upload, number: int, source: ObjectName, select: Select) -> Part:
        entry, data = self._store._find(source)
        chosen = select(entry)
        data = data if chosen is None else data[chosen.start : chosen.stop]
        part = Part(number, len(data), hashlib.md5(data).hexdigest(), f"part-{number}", NOW)
        self._parts[upload.id][number] = (part, data)
        return part

    def parts(self, upload: Upload, after: int, limit: int) -> list[Part]:
        found = self._parts[upload.id]
        return [found[number][0] for number in sorted(found) if number > after][:limit]

    def uploads(self, bucket: str, prefix: str, after: tuple[str, str], limit: int) -> list[Upload]:
        def place(upload: Upload) -> tuple[str, str]:
            return upload.name.key, upload.id

        inside: Callable[[Upload], bool] = lambda upload: (  # noqa: E731
            upload.name.bucket == bucket and upload.name.key.startswith(prefix) and place(upload) > after
        )
        return sorted(filter(inside, self._uploads.values()), key=place)[:limit]

    async def complete(
        self,
        upload: Upload,
        chosen: list[tuple[int, str]],
        *,
        precondition: Precondition = ANYTHING,
        checksums: dict[str, str],
        checksum_type: str | None,
        visitor: Visitor = NOBODY,
    ) -> Written:
        self._store.visitors.append(visitor)
        self._store.check(upload.name, precondition)
        parts = []
        for number, etag in chosen:
            found = self._parts[upload.id].get(number)
            if found is None or found[0].etag != etag:
                raise InvalidPart
            parts.append(found)
        if any(part.size < self._store.min_part for part, _ in parts[:-1]):
            raise BadBody("too small", code="EntityTooSmall")
        if self._store.gate:
            await self._store.gate.wait()
        if self._store.fail:
            raise self._store.fail
        digest = hashlib.md5(b"".join(bytes.fromhex(part.etag) for part, _ in parts)).hexdigest()
        headers = replace(upload.headers, checksums=checksums, checksum_type=checksum_type)
        data = b"".join(data for _, data in parts)
        sizes = tuple(part.size for part, _ in parts)
        del self._uploads[upload.id]
        return Written(self._store.keep(upload.name, data, headers, f"{digest}-{len(parts)}", sizes))

    async def abort(self, upload: Upload) -> None:
        del self._uploads[upload.id]
