"""Sample rows for tests of the catalogue, and how its contract suites get one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tierproxy.catalogue import SqliteCatalogue
from tierproxy.model import (
    Ack,
    BucketRow,
    Entry,
    Headers,
    Job,
    JobKind,
    ObjectName,
    Part,
    State,
    Upload,
)
from tierproxy.offload import ThreadPool
from tierproxy.ports import Catalogue
from tierproxy.purges import Drop
from tierproxy.traffic import DAY, Counts, ReadCount

BUCKETS = ("mail", "mailbox", "other")  #: what is published goes into one of these
MAIL = ObjectName("mail", "user/INBOX/u.1")
OTHER = ObjectName("mail", "user/INBOX/u.2")
HEADERS = Headers(
    content_type="message/rfc822",
    cache_control="no-cache",
    metadata={"grüße": "✉ \U0001f4e8"},
    checksums={"crc32": "AAAAAA=="},
    checksum_type="FULL_OBJECT",
)


def entry(name: ObjectName = MAIL, generation: int = 1, **changes: Any) -> Entry:
    """A CLEAN entry without a blob."""
    plain = Entry(
        name, generation, State.CLEAN, 100, "etag", 1000.0, alt_etag=f"alt{generation}", headers=HEADERS, owner="",
        folder="",
    )  # fmt: skip
    return replace(plain, **changes)


def stored(name: ObjectName = MAIL, generation: int = 1, **changes: Any) -> Entry:
    """A CLEAN entry with a blob named after it."""
    blob = f"{name.key}#{generation}"
    facts: dict[str, Any] = {"blob": blob, "blob_bytes": 4096, "xxh3": bytes(16), "stored_at": 1000.0 + generation}
    return entry(name, generation, **(facts | changes))


def dirty(name: ObjectName = MAIL, generation: int = 1, **changes: Any) -> Entry:
    return stored(name, generation, **({"state": State.DIRTY, "alt_etag": None} | changes))


def put(name: ObjectName = MAIL, generation: int = 1, **changes: Any) -> Job:
    return replace(Job(name, generation, JobKind.PUT, 100, queued_at=1000.0 + generation), **changes)


def removal(name: ObjectName = MAIL, generation: int = 1, **changes: Any) -> Job:
    return replace(Job(name, generation, JobKind.DELETE, 0, queued_at=1000.0 + generation), **changes)


def read(name: ObjectName = MAIL, reads: int = 1, *, at: float = 2000.0, **changes: Any) -> ReadCount:
    """People's reads on the day of ``at``, the last of them then."""
    return replace(ReadCount(name, int(at // DAY), reads, last_read_at=at), **changes)


def machine(name: ObjectName = MAIL, reads: int = 1, *, at: float = 2000.0) -> ReadCount:
    return ReadCount(name, int(at // DAY), machine_reads=reads)


def counted(*reads: ReadCount, at: float = 2000.0, **changes: Any) -> Counts:
    """A flush of these reads."""
    return replace(Counts(at, reads), **changes)


def drop(entry: Entry, by: str = "rule:old", **changes: Any) -> Drop:
    """The purge of ``entry`` as it is."""
    return replace(Drop(entry.name, entry.generation, entry.blob or "", entry.blob_bytes, by), **changes)


def upload(id: str = "upload-1", name: ObjectName = MAIL, **changes: Any) -> Upload:
    return replace(Upload(id, name, HEADERS, 1000.0, Ack.DISK, "crc32", "COMPOSITE"), **changes)


def part(number: int, size: int = 5, file: str = "") -> Part:
    return Part(number, size, "etag", file or f"part-{number}", 1000.0, {"crc32": "AAAAAA=="})


@asynccontextmanager
async def sqlite_catalogue(data: Path, **options: Any) -> AsyncIterator[SqliteCatalogue]:
    """The real one on a data directory, with ``BUCKETS``; closed at the end."""
    threads = ThreadPool("catalogue", 2)
    try:
        catalogue = SqliteCatalogue(data, threads, **options)
        try:
            for bucket in BUCKETS:
                if catalogue.bucket(bucket) is None:
                    await catalogue.add_bucket(BucketRow(bucket, 0.0, created=True, complete=False))
            yield catalogue
        finally:
            await catalogue.close()
    finally:
        await threads.close()


class Opening:
    """How the suites below get a catalogue."""

    def opened(self) -> AbstractAsyncContextManager[Catalogue]:
        """A catalogue with ``BUCKETS`` and nothing in them; closed at the end."""
        raise NotImplementedError

    @asynccontextmanager
    async def catalogue(self) -> AsyncIterator[Catalogue]:
        async with self.opened() as catalogue:
            yield catalogue
            assert await catalogue.check() == []
