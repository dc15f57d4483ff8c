"""What a node does while the power fails: every way that writes, as short stories.

``before`` is long ago and durable. ``act`` is what the node does; starting before it and stopping after it are part of
every story. A ``Teller`` has the verbs and notes, by the count of the disk's operations, what was asked and what was
acknowledged.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tierproxy.alt.memory import MemoryAlt
from tierproxy.catalogue import catalogue_file
from tierproxy.catalogue.migrations import known_migrations, migrate
from tierproxy.config.sections import HistorySection, StubsSection
from tierproxy.config.values import Size
from tierproxy.disk.blobs import DiskBlobs
from tierproxy.disk.fsio import Files
from tierproxy.errors import NoSuchUpload
from tierproxy.model import Ack, BlobLabel, Headers, SealedBlob
from tierproxy.offload import ThreadPool
from tierproxy.store.body import Md5Check, MemorySource
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.forgetful_disk import DROPPED, SECTOR, Cut
from tierproxy.testing.ground import etag_of
from tierproxy.testing.rig import BUCKET, Rig, name, pieces

OLD, NEW = b"the old mail\r\n" * 500, b"the new mail\r\n" * 700
LARGE = b"a large mail with a picture\r\n" * 60_000
PART = 900_000
Promise = Callable[[Rig], Awaitable[None]]
Allowed = dict[str, set[bytes | None]]


@dataclass
class Truth:
    """What was asked and what was acknowledged, in order, with the count of operations at that moment."""

    notes: list[tuple[int, str, bytes | None, bool]] = field(default_factory=list)
    promises: list[tuple[int, Promise]] = field(default_factory=list)

    def allowed(self, at: int) -> Allowed:
        """What each key may be when the power fails after ``at`` operations; None: not there."""
        found: Allowed = {}
        for when, key, content, acknowledged in self.notes:
            if when <= at:
                found[key] = {content} if acknowledged else found.get(key, {None}) | {content}
        return found

    def acknowledged(self) -> list[int]:
        """The counts at which something was."""
        return [when for when, _, _, acknowledged in self.notes if acknowledged and when >= 0]

    def long_ago(self) -> None:
        """What was noted so far is from before."""
        self.notes = [(-1, key, content, acknowledged) for _, key, content, acknowledged in self.notes]


class Teller:
    """The verbs of a story. ``alt`` can be down."""

    def __init__(self, r: Rig, alt: FaultyAlt, truth: Truth, count: Callable[[], int]) -> None:
        self.r = r
        self.alt = alt
        self._truth = truth
        self._count = count

    @contextmanager
    def told(self, key: str, becomes: bytes | None) -> Iterator[None]:
        """Inside, ``key`` is on its way to its new content; afterwards it is there, and somebody was told so."""
        self._truth.notes.append((self._count(), key, becomes, False))
        yield
        self._truth.notes.append((self._count(), key, becomes, True))

    def promised(self, promise: Promise) -> None:
        """``promise`` holds from now on: it raises AssertionError if it does not."""
        self._truth.promises.append((self._count(), promise))

    async def put(self, key: str, body: bytes, ack: Ack = Ack.BOTH) -> None:
        with self.told(key, body):
            await self.r.put(key, body, ack=ack)

    async def delete(self, key: str) -> None:
        with self.told(key, None):
            await self.r.delete(key)

    async def copy(self, source: str, target: str, content: bytes) -> None:
        with self.told(target, content):
            await self.r.parts.store.copy(name(source), name(target))


Act = Callable[[Teller], Awaitable[object]]
Sections = Callable[[], dict[str, Any]]


@dataclass(frozen=True)
class Story:
    """``made`` makes a data directory by itself, before any node was there. ``bare``: there is none. ``cut``: the power
    has failed in the middle of ``before``, so that the story begins on what that left."""

    act: Act
    before: Act | None = None
    sections: Sections = dict
    made: Callable[[Path, MemoryAlt, Truth], Awaitable[None]] | None = None
    bare: bool = False
    cut: Cut | None = None


def put(body: bytes, ack: Ack) -> Act:
    return lambda t: t.put("u.1", body, ack)


async def nothing(_t: Teller) -> None:
    """Only a start and a stop."""


async def one(t: Teller) -> None:
    await t.put("u.1", OLD)


async def then_purged(t: Teller) -> None:
    await one(t)
    await t.r.purge()


async def fill(t: Teller) -> None:
    assert await t.r.get("u.1") == OLD
    await t.r.idle()


async def upload(t: Teller) -> None:
    await t.put("u.1", NEW, Ack.DISK)
    await t.r.drained()


async def queued(t: Teller) -> None:
    """Alt is down all the time: what was queued has to go on after the next start."""
    t.alt.down()
    await t.put("u.1", NEW, Ack.DISK)
    await t.put("u.2", OLD)
    await t.delete("u.1")
    await t.put("u.1", OLD, Ack.DISK)


async def several(t: Teller) -> None:
    """Many at once, so that they are committed together."""
    keys = [f"m.{number}" for number in range(6)]
    await asyncio.gather(*(t.put(key, NEW + key.encode(), Ack.DISK) for key in keys))
    await asyncio.gather(
        *(t.delete(key) for key in keys[:2]), *(t.put(key, OLD + key.encode()) for key in keys[2:4])
    )  # fmt: skip


async def busy(t: Teller) -> None:
    """A bit of everything, with an upload that is not completed and a queue that does not get empty."""
    await several(t)
    await t.r.purge("m.3")
    parts = t.r.parts.store.multipart
    up = await parts.create(name("u.3"), Headers(), None, None, None)
    await parts.put_part(up, 1, PART, pieces(LARGE[:PART], 2**18), Md5Check())
    await queued(t)
    t.alt.heal()


async def rename(t: Teller) -> None:
    """As the mount does it."""
    await t.copy("u.1", "u.2", OLD)
    await t.delete("u.1")


async def copy_while_down(t: Teller) -> None:
    t.alt.down()
    await t.copy("u.1", "u.2", OLD)


async def delete_while_down(t: Teller) -> None:
    t.alt.down()
    await t.delete("u.1")


async def multipart(t: Teller) -> None:
    """Parts that were acknowledged are there until the upload is completed."""
    parts = t.r.parts.store.multipart
    up = await parts.create(name("u.1"), Headers(), None, None, None)
    part = await parts.put_part(up, 1, PART, pieces(LARGE[:PART], 2**18), Md5Check())
    last = await parts.put_part(up, 2, len(LARGE) - PART, pieces(LARGE[PART:], 2**18), Md5Check())
    chosen = [(1, part.etag), (2, last.etag)]

    async def can_be_completed(r: Rig) -> None:
        again = r.parts.store.multipart
        again._min_part = 0
        try:
            await again.complete(again.find(up.id, up.name), chosen)
        except NoSuchUpload:
            assert r.parts.catalogue.find(up.name) is not None, "the upload is gone, and its object is not there"
        assert await r.get("u.1") == LARGE

    with t.told("u.1", LARGE):
        t.promised(can_be_completed)
        parts._min_part = 0
        await parts.complete(up, chosen)


async def abort(t: Teller) -> None:
    parts = t.r.parts.store.multipart
    up = await parts.create(name("u.1"), Headers(), None, None, None)
    await parts.put_part(up, 1, PART, pieces(LARGE[:PART], 2**18), Md5Check())
    await parts.abort(up)

    async def is_gone(r: Rig) -> None:
        assert r.parts.catalogue.upload(up.id) is None, "an aborted upload is back"

    t.promised(is_gone)


async def purge(t: Teller) -> None:
    await t.r.purge()


async def history(t: Teller) -> None:
    """Journals begin, end, and become segments, while reads and writes are noted."""
    log = t.r.parts.history
    for number in range(4):
        await t.put(f"h.{number}", OLD)
        await t.r.get(f"h.{number}")
        if isinstance(t.r.parts.clock, VirtualClock):
            await t.r.parts.clock.advance(1)
        await log.flush()  # type: ignore[union-attr]
        await log._keep()  # type: ignore[union-attr]


def with_history() -> dict[str, Any]:
    return {"history": HistorySection(segment_events=3)}


def with_stubs() -> dict[str, Any]:
    return {"stubs": StubsSection(max_bytes=Size(2**20))}


async def trimmed(t: Teller) -> None:
    """Purged down to stubs, and written anew."""
    await t.r.purge()
    await t.r.parts.stubbing.settle()
    await t.put("u.1", NEW)
    await t.r.purge()


# ---------------------------------------------------------------------------- a catalogue of an older version

ENTRY = """INSERT INTO entry (bucket, key, generation, state, size, etag, written_at, alt_etag, headers, parts, blob,
        blob_bytes, xxh3, stored_at, last_read_at, reads, purged_at, purged_by)
    VALUES (?, ?, ?, ?, ?, ?, 1000, ?, '{}', NULL, ?, ?, ?, ?, NULL, 0, NULL, NULL)"""
JOB = "INSERT INTO job VALUES (?, ?, ?, ?, ?, 1000, 0, 0, NULL)"


async def older(root: Path, alt: MemoryAlt, truth: Truth) -> None:
    """A data directory as the first version's catalogue has it: an object on disk and in alt, one in alt alone, one on
    disk alone, and a delete that alt has not heard of."""
    pool = ThreadPool("older", 2)
    disk = await DiskBlobs.start(root, Files(), pool, VirtualClock())
    try:
        both, waiting = await _blob(disk, "both", 1, OLD), await _blob(disk, "waiting", 2, NEW)
    finally:
        await disk.close()
        await pool.close()
    for key in ("both", "cold", "going"):
        await alt.put(name(key), MemorySource(OLD), Headers(), md5=etag_of(OLD))
    file = catalogue_file(root)
    file.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        migrate(connection, dict(list(known_migrations().items())[:1]))
        connection.execute("INSERT INTO bucket VALUES (?, 0, 0, 1)", (BUCKET,))
        rows = [("both", 1, "clean", OLD, both), ("waiting", 2, "dirty", NEW, waiting), ("cold", 3, "clean", OLD, None)]
        for key, generation, state, content, sealed in rows:
            connection.execute(ENTRY, _row(key, generation, state, content, sealed))
        connection.execute(ENTRY, _row("going", 4, "deleting", OLD, None))
        connection.execute(JOB, (BUCKET, "waiting", 2, "put", len(NEW)))
        connection.execute(JOB, (BUCKET, "going", 4, "delete", 0))
        connection.execute("UPDATE fact SET value = 1000 WHERE name = 'generation_ceiling'")
    kept = {"both": OLD, "waiting": NEW, "cold": OLD, "going": None}
    truth.notes += [(-1, key, content, True) for key, content in kept.items()]


async def _blob(disk: DiskBlobs, key: str, generation: int, content: bytes) -> SealedBlob:
    staged = disk.stage()
    try:
        await staged.write(content)
        sealed = await staged.seal(BlobLabel(name(key), generation, etag_of(content), Headers(), 1000.0))
        await staged.publish()
        return sealed
    finally:
        await staged.close()


def _row(key: str, generation: int, state: str, content: bytes, sealed: SealedBlob | None) -> tuple[object, ...]:
    alt_etag = etag_of(content) if state == "clean" else None
    there = (sealed.name, sealed.footprint, sealed.xxh3, 1001.0) if sealed else (None, 0, None, None)
    return (BUCKET, key, generation, state, len(content), etag_of(content), alt_etag, *there)


STORIES = {
    "PUT, ack both": Story(put(NEW, Ack.BOTH)),
    "PUT, ack disk": Story(put(NEW, Ack.DISK)),
    "PUT, ack alt": Story(put(NEW, Ack.ALT)),
    "PUT, 1.7 MB": Story(put(LARGE, Ack.BOTH)),
    "overwrite, ack both": Story(put(NEW, Ack.BOTH), one),
    "overwrite, ack disk": Story(put(NEW, Ack.DISK), one),
    "overwrite, ack alt": Story(put(NEW, Ack.ALT), one),
    "overwrite of a purged mail": Story(put(NEW, Ack.BOTH), then_purged),
    "several at once": Story(several),
    "upload from the queue": Story(upload),
    "queue while alt is down": Story(queued),
    "fill": Story(fill, then_purged),
    "purge": Story(purge, one),
    "purge to stubs": Story(trimmed, one, with_stubs),
    "DELETE": Story(lambda t: t.delete("u.1"), one),
    "DELETE of a purged mail": Story(lambda t: t.delete("u.1"), then_purged),
    "DELETE while alt is down": Story(delete_while_down, one),
    "copy": Story(lambda t: t.copy("u.1", "u.2", OLD), one),
    "copy while alt is down": Story(copy_while_down, one),
    "rename": Story(rename, one),
    "multipart, completed": Story(multipart),
    "multipart, aborted": Story(abort),
    "history rotation": Story(history, sections=with_history),
    "migration": Story(nothing, made=older),
    "first start": Story(put(NEW, Ack.DISK), bare=True),
    "start and stop": Story(nothing, one),
    "start after a power cut": Story(nothing, busy, cut=Cut(0.5, SECTOR, seed=1)),
    "start after another": Story(nothing, busy, cut=DROPPED),
}
