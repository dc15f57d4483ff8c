"""What is known of an object, and when alt has to be asked."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import NamedTuple, NoReturn

from cachetools import LRUCache

from tierproxy.errors import AltError, AltMissing, LostInAlt, NoSuchKey, StaleGeneration
from tierproxy.logs import event
from tierproxy.model import AltObject, Entry, Job, JobKind, ObjectName, State
from tierproxy.ports import Alarms, AltTier, Catalogue, Clock
from tierproxy.store.buckets import Buckets
from tierproxy.store.order import KeyOrder
from tierproxy.store.policies import Policies
from tierproxy.store.recent import RecentChanges
from tierproxy.store.shelf import Shelf
from tierproxy.store.space import Space
from tierproxy.store.tasks import Tasks

log = logging.getLogger(__name__)
FRESH_NAMES = 100_000
LOST = "lost in alt"
CHANGED = "alt changed by somebody else"
CONTRADICTED = (LOST, CHANGED)  #: alarms that end when alt shows what the row says


class Seen(NamedTuple):
    """A row, and ``Lookup.asking`` from before the catalogue was asked for it."""

    row: Entry
    asked: int


class Lookup:
    """Reads rows, settles SUSPECT ones, revalidates those of buckets with other writers, learns what alt says."""

    def __init__(
        self, *, catalogue: Catalogue, alt: AltTier, buckets: Buckets, policies: Policies, order: KeyOrder,
        shelf: Shelf, tasks: Tasks, clock: Clock, alarms: Alarms, space: Space, late: float = 0.0,
    ) -> None:  # fmt: skip
        """``late``: seconds in which alt may still do what it was asked to by somebody who did not hear its answer."""
        self._catalogue = catalogue
        self._alt = alt
        self._buckets = buckets
        self._policies = policies
        self._order = order
        self._shelf = shelf
        self._tasks = tasks
        self._clock = clock
        self._alarms = alarms
        self._space = space
        self._late = late
        self._begun = clock.monotonic()  # an earlier process, which was killed, may have asked until now
        self._doubts: LRUCache[ObjectName, float] = LRUCache(FRESH_NAMES)  # since when a change may be on its way
        self._replaced: set[ObjectName] = set()
        self.changes = RecentChanges()
        shelf.on_change.append(self.changes.note)
        self._asked: LRUCache[ObjectName, float] = LRUCache(FRESH_NAMES)
        self._attempts: LRUCache[ObjectName, tuple[int, str]] = LRUCache(FRESH_NAMES)
        shelf.on_change.append(self._settled)

    async def known(self, name: ObjectName) -> Entry | None:
        """The row a read may rely on. None: only alt can say. Raises NoSuchBucket, NoSuchKey (certain), AltError."""
        entry = self._catalogue.find(name)
        if entry is None:
            if self._gone(name):
                raise NoSuchKey
            return None
        if entry.state is State.DELETING:
            raise NoSuchKey
        if entry.state is State.SUSPECT and name not in self._replaced:
            return await self.settled(name)
        if entry.state is State.CLEAN and not self.fresh(name):
            return await self._revalidated(entry)
        return entry

    async def head(self, name: ObjectName) -> Entry:
        """The row with headers. Raises as ``known``; LostInAlt."""
        entry = await self.known(name)
        if entry is not None and entry.headers is not None:
            return entry
        asked = self.asking()
        try:
            found = await self._alt.head(name)
        except AltMissing:
            await self.missing(name, entry, asked)
        return await self.learn(found, asked)

    async def current(self, name: ObjectName) -> Entry | None:
        """What a change of ``name`` would replace, as a precondition sees it; the caller holds the name's order."""
        row = self._catalogue.find(name)
        if row is not None and row.state is State.SUSPECT:
            return await self._settle(row)
        if row is not None and row.state is State.DELETING:
            return None
        if row is None and self._gone(name):
            return None
        if row is not None and (row.state is State.DIRTY or (self.fresh(name) and row.headers is not None)):
            return row  # without headers the ETag is alt's, from a listing, and not the one clients were told
        try:
            found = await self._alt.head(name)
        except AltMissing:
            return None
        return await self._write_down(found, row)

    def _gone(self, name: ObjectName) -> bool:
        """Without a row it is not there, whatever alt says: the catalogue knows all, or it was deleted here lately, and
        an alt that still shows it is behind the times."""
        return self._buckets.authoritative(name.bucket) or (
            self._buckets.exclusive(name.bucket) and name in self.changes
        )

    def fresh(self, name: ObjectName) -> bool:
        """loop. The row needs no word from alt: this node is the only writer, or alt was asked recently enough."""
        bucket = self._policies.bucket(name.bucket)
        if bucket.exclusive:
            return True
        asked = self._asked.get(name)
        return asked is not None and self._clock.monotonic() - asked < bucket.revalidate

    @contextmanager
    def being_replaced(self, name: ObjectName) -> Iterator[None]:
        """loop. This process is overwriting ``name`` and knows that the old content is still the right one to serve."""
        self._replaced.add(name)
        try:
            yield
        finally:
            self._replaced.discard(name)

    async def settled(self, name: ObjectName) -> Entry | None:
        """SUSPECT -> what alt holds. Raises AltError: then nobody can say which content is the right one. That alt
        still holds the old content is believed for this time, and not for good, as long as the new one may be on its
        way: then the row stays SUSPECT."""
        async with self._order.hold(name):
            row = self._catalogue.find(name)
            if row is None or row.state is State.DELETING:
                raise NoSuchKey
            return row if row.state is not State.SUSPECT else await self._settle(row)

    def asking(self) -> int:
        """loop. Take this before alt is asked, and give it to ``learn`` or ``identify`` with the answer."""
        return self.changes.now()

    def outdated(self, name: ObjectName, asked: int) -> bool:
        """loop. What alt was ``asked`` then must not be written down now: the object changed, or is being changed."""
        return self._order.held(name) or self.changes.since(name, asked)

    async def learn(self, found: AltObject, asked: int) -> Entry:
        """Write down what alt said of an object, if it is still true, and return the row that now speaks for it."""
        row = self._catalogue.find(found.name)
        if self.outdated(found.name, asked):
            return row if row is not None and row.state is not State.DELETING else self._entry(found)
        return await self._write_down(found, row)

    async def _write_down(self, found: AltObject, row: Entry | None) -> Entry:
        """A read does not fail for want of room for what it has learned: the next one learns it again."""
        entry, expected = self._match(found, row)
        if row is None and self._space.short():
            return entry
        if expected is not UNSHARED and entry is not row and entry != row:
            await self._tasks.finish(self._learn(entry, expected, row), "learn")
            entry = self._catalogue.find(found.name) or entry
        self._asked[found.name] = self._clock.monotonic()
        return entry

    async def _learn(self, entry: Entry, expected: int | None, row: Entry | None) -> None:
        let_go = await self._catalogue.learn(entry, expected=expected)
        if row is not None and (let_go is not None or row.generation != entry.generation):
            self._shelf.changed(entry.name, let_go)  # another content: a flight of the old one takes nobody on any more
        else:
            self._shelf.news(entry.name)

    def identify(self, found: AltObject, asked: int, seen: Seen | None = None) -> tuple[Entry, int | None]:
        """loop. The entry for what alt shows, and the generation of the row it belongs to: None to insert one,
        ``UNSHARED`` when the object changed meanwhile, or is being changed, and the row must be left alone. ``seen``
        saves a look at the catalogue if the object has not changed since."""
        if self.outdated(found.name, asked):
            return self._entry(found), UNSHARED
        if seen is not None and not self.changes.since(found.name, seen.asked):
            return self._match(found, seen.row)
        return self._match(found, self._catalogue.find(found.name))

    def _match(self, found: AltObject, row: Entry | None) -> tuple[Entry, int | None]:
        if row is None:
            return self._entry(found), None
        if row.state is not State.CLEAN:
            return replace(self._entry(found), generation=row.generation), UNSHARED
        exclusive = self._buckets.exclusive(found.name.bucket)
        etag = found.client_etag or found.etag
        if row.size == found.size and (row.alt_etag == found.etag or row.etag == etag) and not _hearsay(found, row):
            self.shown(found.name)
            return self._same(found, row, exclusive), row.generation
        if not exclusive or _hearsay(found, row) or self._attempts.get(found.name) == (found.size, etag):
            return self._entry(found), row.generation
        # A tool that ought not to, or an old write of ours that arrived late: what was acknowledged is not there.
        self._alarms.set(CHANGED, str(found.name), was=row.alt_etag, is_now=found.etag)
        raise LostInAlt(f"alt has another content of {found.name} than was stored there")

    def _settled(self, name: ObjectName) -> None:
        self._attempts.pop(name, None)

    def attempted(self, name: ObjectName, size: int, etag: str) -> None:
        """loop. Alt has not taken a change to this content, as it says. If it shows it all the same, and nothing has
        changed since, it has: nobody else writes there."""
        self._attempts[name] = size, etag

    def doubtful(self, name: ObjectName) -> None:
        """loop. The row is SUSPECT from now on: alt was asked for a change, and did not say what became of it."""
        self._doubts[name] = self._clock.monotonic()

    def shown(self, name: ObjectName) -> None:
        """loop. Alt has shown what the row says: whatever it said before is over."""
        for alarm in CONTRADICTED:
            self._alarms.clear(alarm, str(name))

    @staticmethod
    def _same(found: AltObject, row: Entry, exclusive: bool) -> Entry:
        """``row``, with what ``found`` says beyond it: headers a listing did not tell, or another writer changed."""
        if row.headers is None:
            etag = found.client_etag or found.etag
            return replace(row, headers=found.headers, etag=etag, alt_etag=found.etag, parts=found.parts)
        if not exclusive and found.headers is not None and found.headers != row.headers:
            return replace(row, headers=found.headers, alt_etag=found.etag)
        return row if row.alt_etag == found.etag else replace(row, alt_etag=found.etag)

    async def missing(self, name: ObjectName, entry: Entry | None, asked: int | None = None) -> NoReturn:
        """Alt says 404, ``asked`` then (None: the caller holds the name's order). Raises NoSuchKey where alt decides,
        LostInAlt where the catalogue knows better."""
        if entry is None:
            raise NoSuchKey
        row = self._catalogue.find(name)
        if row is None or row.state is State.DELETING:  # deleted while alt was asked
            raise NoSuchKey
        if not self._buckets.exclusive(name.bucket) and row.state in {State.CLEAN, State.SUSPECT}:
            if row.generation == entry.generation and (asked is None or not self.outdated(name, asked)):
                await self._tasks.finish(self._forget(row), "forget")
            raise NoSuchKey  # what was written after alt was asked stays; when it was asked nothing was there
        if row.generation == entry.generation:
            self._alarms.set(LOST, str(name), generation=row.generation, alt_etag=row.alt_etag)
        raise LostInAlt(f"alt does not have {name}, which it had before")

    async def _forget(self, row: Entry) -> None:
        with suppress(StaleGeneration):
            await self._catalogue.forget(row.name, row.generation)
            self._shelf.changed(row.name, row)

    async def _revalidated(self, entry: Entry) -> Entry:
        asked = self.asking()
        try:
            return await self.learn(await self._alt.head(entry.name), asked)
        except AltMissing:
            await self.missing(entry.name, entry, asked)
        except AltError as error:
            if entry.blob is None:
                raise
            event(log, logging.WARNING, "served without asking alt", name=entry.name, error=error)
            return entry

    async def _settle(self, row: Entry) -> Entry:
        """Under the name's order. Ask alt which content it holds."""
        return await self._tasks.finish(self._ask_and_settle(row), "settle")

    async def _ask_and_settle(self, row: Entry) -> Entry:
        try:
            found = await self._alt.head(row.name)
        except AltMissing:
            if row.blob is None or not self._buckets.exclusive(row.name.bucket):
                await self.missing(row.name, row)
            return await self._send_again(row)
        if found.etag == row.alt_etag and found.size == row.size:
            if self._clock.monotonic() - self._doubts.get(row.name, self._begun) >= self._late:
                await self._catalogue.settle(row.name, row.generation)
            return replace(row, state=State.CLEAN)
        entry = self._entry(found)
        old = await self._catalogue.publish(entry)
        self._shelf.changed(row.name, old)
        event(log, logging.WARNING, "interrupted overwrite took effect", name=row.name, size=entry.size)
        return entry

    async def _send_again(self, row: Entry) -> Entry:
        """Alt lost an object that is on disk: it is ours to upload."""
        self._alarms.set(LOST, str(row.name), generation=row.generation, alt_etag=row.alt_etag)
        now = self._clock.now()
        job = Job(row.name, row.generation, JobKind.PUT, row.size, queued_at=now, next_try_at=now)
        dirty = replace(row, state=State.DIRTY)
        await self._catalogue.publish(dirty, job=job)
        return dirty

    def _entry(self, found: AltObject) -> Entry:
        return Entry(
            name=found.name, generation=self._catalogue.next_generation(), state=State.CLEAN, size=found.size,
            etag=found.client_etag or found.etag, alt_etag=found.etag, written_at=found.modified_at,
            headers=found.headers, parts=found.parts,
        )  # fmt: skip


def _hearsay(found: AltObject, row: Entry) -> bool:
    """``row`` is not what ``found`` says, and all that is known of it is what alt said before, of the same version of
    the object (its date shows that): one of the two is wrong. Nothing was acknowledged here: the newer word counts."""
    of_one_version = row.xxh3 is None and row.headers is not None and row.written_at == found.modified_at
    said = (found.size, found.client_etag or found.etag, found.etag)
    return of_one_version and said != (row.size, row.etag, row.alt_etag)


UNSHARED = -1
"""``identify``'s "leave the row alone"."""
