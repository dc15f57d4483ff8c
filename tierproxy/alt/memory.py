"""S3 in memory: the alt tier of tests and experiments, with S3's semantics (``tierproxy.ports.AltTier``)."""

from __future__ import annotations

import asyncio
import functools
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, replace

from tierproxy.clock import SystemClock
from tierproxy.errors import AltCorrupt, AltMissing, AltPrecondition, AltRefused, AltUnavailable, RangeUnsatisfiable
from tierproxy.model import AltObject, ByteRange, Headers, Listed, ListPage, ListRequest, ObjectName
from tierproxy.ports import AltBody, Clock, Source

CHUNK = 64 * 1024
MULTIPART_THRESHOLD = 64 * 2**20
PART_SIZE = 16 * 2**20
ENCRYPTED = b"encrypted:"  #: before the bytes that an ETag under encryption is of


@dataclass(frozen=True, slots=True)
class Held:
    """One stored object."""

    meta: AltObject
    content: bytes


class MemoryBody:
    """A body cut into pieces of ``CHUNK`` bytes, a breath of the loop between them (``ports.AltBody``)."""

    def __init__(self, held: Held, range: ByteRange) -> None:
        self._held = held
        self._range = range
        self.closed = False

    @property
    def meta(self) -> AltObject:
        return self._held.meta

    @property
    def range(self) -> ByteRange:
        return self._range

    async def chunks(self) -> AsyncIterator[bytes]:
        for start in range(self._range.start, self._range.stop, CHUNK):
            await asyncio.sleep(0)
            yield self._held.content[start : min(start + CHUNK, self._range.stop)]

    async def close(self) -> None:
        self.closed = True


class MemoryAlt:
    """Objects in a dictionary. ``requests`` counts by class (get, head, put, delete, copy, list).

    ``buckets``: those that exist, None for any. ETags are S3's: the MD5, or "<MD5 of MD5s>-<parts>" for a body above
    ``multipart_threshold`` and for streams. ``encrypts``: the bucket's default is SSE-KMS, and ETags that look like an
    MD5 are something else.
    """

    def __init__(
        self, *, clock: Clock | None = None, buckets: Collection[str] | None = None,
        multipart_threshold: int = MULTIPART_THRESHOLD, part_size: int = PART_SIZE, encrypts: bool = False,
    ) -> None:  # fmt: skip
        self._clock = clock or SystemClock()
        self._buckets = None if buckets is None else set(buckets)
        self._threshold = multipart_threshold
        self._part_size = part_size
        self._encrypts = encrypts
        self._objects: dict[ObjectName, Held] = {}
        self.requests: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<MemoryAlt {len(self._objects)} objects>"

    # what a test looks at

    def names(self) -> list[ObjectName]:
        """Every object there is, in order."""
        return sorted(self._objects, key=lambda name: (name.bucket, name.key.encode()))

    def content(self, name: ObjectName) -> bytes | None:
        """The bytes of ``name`` without a request; None when it is not there."""
        held = self._objects.get(name)
        return None if held is None else held.content

    def corrupt(self, name: ObjectName, content: bytes) -> None:
        """Replace the bytes behind S3's back: size and ETag stay as they were."""
        self._objects[name] = replace(self._objects[name], content=content)

    def lose(self, name: ObjectName) -> None:
        """Remove the object behind everybody's back."""
        self._objects.pop(name, None)

    # ports.AltTier

    async def get(self, name: ObjectName, range: ByteRange | None = None, *, etag: str | None = None) -> AltBody:
        self._count("get", name.bucket)
        held = self._find(name)
        if etag is not None and held.meta.etag != etag:
            raise AltPrecondition(f"{name} has ETag {held.meta.etag}, not {etag}")
        if range is None:
            return MemoryBody(held, ByteRange(0, held.meta.size))
        if range.start >= held.meta.size:
            raise RangeUnsatisfiable(held.meta.size)
        return MemoryBody(held, ByteRange(range.start, min(range.stop, held.meta.size)))

    async def head(self, name: ObjectName) -> AltObject:
        self._count("head", name.bucket)
        return self._find(name).meta

    async def put(
        self, name: ObjectName, source: Source, headers: Headers, *, md5: str, etag: str | None = None,
        parts: tuple[int, ...] = (), create: bool = False, match: str | None = None,
    ) -> str:  # fmt: skip
        self._count("put", name.bucket)
        self._check(name, create, match)
        content = await _read(source)
        self._check(name, create, match)  # another put may have come while this one was read
        single = len(content) <= self._threshold
        if single and not self._encrypts:
            own = self._store(name, content, headers, single=True, etag=etag, parts=parts)
            if md5 and own != md5:
                raise AltCorrupt(f"{name}: the bytes sent do not have MD5 {md5}")
            return own
        return self._store(name, content, headers, single=single, etag=etag or md5 or None, parts=parts)

    async def put_stream(
        self, name: ObjectName, chunks: AsyncIterator[bytes], headers: Headers, *, create: bool = False,
        match: str | None = None,
    ) -> str:  # fmt: skip
        self._count("put", name.bucket)
        collected = [bytes(chunk) async for chunk in chunks]
        self._check(name, create, match)
        return self._store(name, b"".join(collected), headers, single=False)

    async def delete(self, name: ObjectName) -> None:
        self._count("delete", name.bucket)
        self._objects.pop(name, None)

    async def copy(
        self, source: ObjectName, target: ObjectName, headers: Headers | None, *, etag: str | None = None,
        match: str | None = None, create: bool = False, target_match: str | None = None, known: AltObject | None = None,
    ) -> str:  # fmt: skip
        self._count("copy", target.bucket)
        held = self._find(source)
        if {match, known and known.etag} - {None, held.meta.etag}:
            raise AltUnavailable(f"{source} has ETag {held.meta.etag}, not {match}")
        self._check(target, create, target_match)
        if source == target and headers is None:
            raise AltRefused("S3 does not copy an object onto itself without new headers")
        kept = headers if headers is not None else (known or held.meta).headers or Headers()
        return self._store(target, held.content, kept, single=True, etag=etag)

    async def etag_is_md5(self, name: ObjectName) -> bool:
        return not self._encrypts

    async def page(self, request: ListRequest) -> ListPage:
        self._count("list", request.bucket)
        found = {
            name.key: Listed(name.key, held.meta.size, held.meta.etag, held.meta.modified_at)
            for name, held in self._objects.items()
            if name.bucket == request.bucket
        }
        return page_of(found, request)

    async def walk(self, bucket: str) -> AsyncIterator[list[AltObject]]:
        self._count("list", bucket)
        names = [name for name in self.names() if name.bucket == bucket]
        for start in range(0, len(names), 1000):
            batch = [self._objects.get(name) for name in names[start : start + 1000]]
            yield [replace(held.meta, headers=None, client_etag=None, parts=()) for held in batch if held is not None]
            await asyncio.sleep(0)

    async def close(self) -> None:
        pass

    def _count(self, kind: str, bucket: str) -> None:
        self.requests[kind] += 1
        if self._buckets is not None and bucket not in self._buckets:
            raise AltRefused(f"alt has no bucket {bucket}", hint="create the bucket, or correct alt_bucket")

    def _find(self, name: ObjectName) -> Held:
        held = self._objects.get(name)
        if held is None:
            raise AltMissing(f"alt has no {name}")
        return held

    def _check(self, name: ObjectName, create: bool, match: str | None) -> None:
        held = self._objects.get(name)
        if create and held is not None:
            raise AltPrecondition(f"{name} exists")
        if match is not None and (held is None or held.meta.etag != match):
            raise AltPrecondition(f"{name} does not have ETag {match}")

    def _store(
        self, name: ObjectName, content: bytes, headers: Headers, *, single: bool, etag: str | None = None,
        parts: tuple[int, ...] = (),
    ) -> str:  # fmt: skip
        own = etag_of(ENCRYPTED + content if self._encrypts else content, None if single else self._part_size)
        client_etag = etag if etag != own else None
        meta = AltObject(name, len(content), own, self._clock.now(), headers, client_etag, parts)
        self._objects[name] = Held(meta, content)
        return own


async def _read(source: Source) -> bytes:
    return source.content if source.content is not None else await source.read(0, source.size)


_md5 = functools.partial(hashlib.md5, usedforsecurity=False)  # S3's ETag


def etag_of(content: bytes, part_size: int | None = None) -> str:
    """S3's ETag of ``content``: its MD5, or that of a multipart upload in parts of ``part_size`` bytes."""
    if part_size is None:
        return _md5(content).hexdigest()
    starts = range(0, len(content), part_size) if content else (0,)
    digests = [_md5(content[start : start + part_size]).digest() for start in starts]
    return f"{_md5(b''.join(digests)).hexdigest()}-{len(digests)}"


def page_of(found: dict[str, Listed], request: ListRequest) -> ListPage:
    """One page of ListObjectsV2 over ``found`` (by key), in byte order of UTF-8."""
    items: dict[str, Listed | None] = {}
    for key in sorted(found, key=str.encode):
        group = common_prefix(key, request.prefix, request.delimiter)
        item = key if group is None else group
        if key.startswith(request.prefix) and item.encode() > request.after.encode():
            items.setdefault(item, found[key] if group is None else None)
    page = list(items)[: max(request.limit, 0)]
    return ListPage(
        tuple(listed for item in page if (listed := items[item]) is not None),
        tuple(item for item in page if items[item] is None),
        page[-1] if page and len(items) > len(page) else None,
    )


def common_prefix(key: str, prefix: str, delimiter: str) -> str | None:
    """What stands for ``key`` in a listing, also for a key that ends there (S3 CommonPrefixes). None: itself."""
    end = key.find(delimiter, len(prefix)) if delimiter else -1
    return None if end < 0 else key[: end + len(delimiter)]
