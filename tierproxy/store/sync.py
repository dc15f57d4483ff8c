"""Teaches the catalogue what alt holds (`tierproxy catalogue sync`), so that an exclusive bucket answers for itself.

The caller holds the data directory's lock, that is, the node is stopped. Beside a running node the walk could bring a
deleted object back: a page of the listing shows a key, then a client deletes it (tombstone, delete in alt, row gone),
then the page is written down, and the key has a row again. Completeness could not be claimed either: an object that a
client wrote straight to alt behind the walk's back is in no page of it.

A walk that was cut off is begun again: keys that have a row, and rows that have headers, cost nothing twice.

With the headers come the ends of mails whose metadata proves them (``tierproxy.mail.skeleton``): with them as stubs a
mail server rebuilds its index on an empty host, and no body was read.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from tierproxy.errors import AltCorrupt, AltMissing
from tierproxy.mail.metadata import facts_of
from tierproxy.mail.skeleton import skeleton
from tierproxy.model import AltObject, Entry, ObjectName, State, Stub
from tierproxy.ports import AltTier, Catalogue, Stubs
from tierproxy.store.evidence import Seen, agrees
from tierproxy.store.walks import Progress, each, rows_in, silent

EXAMPLES = 10
BEHIND = "run it again when the S3 server shows in listings what it holds"
PARALLEL = 16


@dataclass(slots=True)
class SyncReport:
    """What the walk found. ``objects`` = ``added`` + those that had a row already."""

    bucket: str
    objects: int = 0
    added: int = 0
    heads: int = 0  #: objects whose headers were learnt
    stubs: int = 0  #: mails of which a stub was made from their metadata
    differing: int = 0  #: CLEAN rows that say another size or ETag than alt; left as they are, `check --alt` lists them
    lost: int = 0  #: CLEAN rows whose object alt does not have
    complete: bool = False
    examples: dict[str, list[str]] = field(default_factory=dict)

    def note(self, kind: str, example: object) -> None:
        """Keep one of the first few of ``differing`` and ``lost``."""
        kept = self.examples.setdefault(kind, [])
        if len(kept) < EXAMPLES:
            kept.append(str(example))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class Sync:
    """One walk over ``bucket``. ``heads``: also ask for the headers of each object whose row has none, ``parallel`` at
    a time; without it a row learns them at its first read. ``stubs``: where those go that the headers make."""

    def __init__(
        self, *, catalogue: Catalogue, alt: AltTier, bucket: str, heads: bool = False, progress: Progress = silent,
        parallel: int = PARALLEL, stubs: Stubs | None = None,
    ) -> None:  # fmt: skip
        self._catalogue = catalogue
        self._alt = alt
        self._bucket = bucket
        self._heads = heads
        self._progress = progress
        self._parallel = parallel
        self._stubs = stubs
        self._seen = Seen()
        self.report = SyncReport(bucket)

    async def run(self) -> SyncReport:
        """Raises AltError, DiskError; NoSuchBucket when the catalogue has no such bucket. Then it is not complete."""
        async for batch in self._alt.walk(self._bucket):
            await self._take(batch)
            self._progress("alt", self.report.objects, None)
        await self._count_lost()
        await self._catalogue.complete_bucket(self._bucket, True)
        self.report.complete = True
        return self.report

    async def _take(self, batch: list[AltObject]) -> None:
        for found in batch:
            self._seen.add(found.name)
        rows = [self._catalogue.find(found.name) for found in batch]
        new = [self._listed(found) for found, row in zip(batch, rows, strict=True) if row is None]
        self.report.added += await self._catalogue.insert_listed(new)
        self.report.objects += len(batch)
        for found, row in zip(batch, rows, strict=True):
            if row is not None and row.state is State.CLEAN and not agrees(found, row):
                self.report.differing += 1
                self.report.note("differing", f"{found.name}: {found.size} bytes {found.etag}")
        if self._heads:
            made: list[tuple[ObjectName, int, Stub]] = []
            await each([found.name for found in batch], lambda name: self._headers(name, made), self._parallel)
            await self._keep(made)
            self._progress("headers", self.report.heads, None)

    def _listed(self, found: AltObject) -> Entry:
        """What a listing tells: no headers, and alt's ETag, which may not be the client's."""
        generation = self._catalogue.next_generation()
        return Entry(
            found.name, generation, State.CLEAN, found.size, found.etag, found.modified_at, alt_etag=found.etag
        )  # fmt: skip

    async def _headers(self, name: ObjectName, made: list[tuple[ObjectName, int, Stub]]) -> None:
        """Learn them, and add the stub they make to ``made``."""
        row = self._catalogue.find(name)
        if row is None or row.state is not State.CLEAN:
            return
        if row.headers is None:
            await self._learn(row)
        row = self._catalogue.find(name)
        stub = None if row is None else await self._skeleton(row)
        if row is not None and stub is not None:
            made.append((row.name, row.generation, stub))

    async def _learn(self, row: Entry) -> None:
        try:
            found = await self._alt.head(row.name)
        except AltMissing:  # another writer removed it; the walk cannot hold that against the bucket
            return
        if agrees(found, row):
            await self._catalogue.learn(_learnt(row, found), expected=row.generation)
            self.report.heads += 1

    async def _skeleton(self, row: Entry) -> Stub | None:
        """Of a mail whose body is not on disk. A stub that is there already may hold more."""
        if self._stubs is None or row.headers is None or row.blob is not None:
            return None
        made = skeleton(facts_of(row.headers.metadata), row.size)
        return None if made is None or await self._stubs.has(row.name, row.generation) else made

    async def _keep(self, made: list[tuple[ObjectName, int, Stub]]) -> None:
        if self._stubs is not None and made:
            await self._stubs.put_all(made)
            self.report.stubs += len(made)

    async def _count_lost(self) -> None:
        async for page in rows_in(self._catalogue, State.CLEAN, self._bucket):
            for entry in page:
                if entry.name not in self._seen:
                    await self._count_one_lost(entry)

    async def _count_one_lost(self, entry: Entry) -> None:
        """Raises AltCorrupt if alt has it all the same: then its listing is behind the times, and other keys may be
        missing as well. The first few are asked for."""
        if self.report.lost < EXAMPLES:
            try:
                await self._alt.head(entry.name)
            except AltMissing:
                pass
            else:
                raise AltCorrupt(f"alt's listing does not show {entry.name}, which is there", hint=BEHIND)
        self.report.lost += 1
        self.report.note("lost", entry.name)


def _learnt(row: Entry, found: AltObject) -> Entry:
    etag = found.client_etag or found.etag
    return replace(row, headers=found.headers, etag=etag, alt_etag=found.etag, parts=found.parts)
