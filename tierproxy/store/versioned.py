"""A catalogue that says what its commits have made void (``tierproxy.ports.Versions``)."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar, cast

from tierproxy.model import BucketRow, Entry, Job, ObjectName
from tierproxy.ports import Catalogue, Durable, Versions
from tierproxy.purges import Booking, Drop
from tierproxy.store.commit_watch import CommitWatch

T = TypeVar("T")


class VersionedCatalogue:
    """Every change of a row, whoever makes it, is followed by ``Versions.changed`` before its caller goes on, and so
    before anybody is told of it. Here, and not where changes are made: nobody can forget it.

    A change that fails is followed by it, too: it may have been made (``Catalogue``: a commit whose outcome is not
    known). The port's other methods are the inner catalogue's own.
    """

    def __init__(self, inner: Catalogue, versions: Versions, watch: CommitWatch) -> None:
        self._inner = inner
        self._versions = versions
        self._made = watch.made
        self.find = inner.find  # on the way of every read

    @property
    def port(self) -> Catalogue:
        """This, typed as what it stands in for."""
        return cast(Catalogue, self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def publish(
        self, entry: Entry, *, job: Job | None = None, upload: str | None = None, after: Durable | None = None
    ) -> Entry | None:
        return await self._void(self._inner.publish(entry, job=job, upload=upload, after=after), entry.name)

    async def fill(self, entry: Entry, *, expected: int | None) -> Entry | None:
        return await self._void(self._inner.fill(entry, expected=expected), entry.name)

    async def learn(self, entry: Entry, *, expected: int | None) -> Entry | None:
        return await self._void(self._inner.learn(entry, expected=expected), entry.name)

    async def suspect(self, name: ObjectName, generation: int) -> None:
        await self._void(self._inner.suspect(name, generation), name)

    async def settle(self, name: ObjectName, generation: int) -> None:
        await self._void(self._inner.settle(name, generation), name)

    async def uploaded(self, name: ObjectName, generation: int, alt_etag: str) -> None:
        await self._void(self._inner.uploaded(name, generation, alt_etag), name)

    async def tombstone(self, name: ObjectName, generation: int, job: Job) -> Entry | None:
        return await self._void(self._inner.tombstone(name, generation, job), name)

    async def forget(self, name: ObjectName, generation: int) -> None:
        await self._void(self._inner.forget(name, generation), name)

    async def drop_blob(self, name: ObjectName, generation: int, blob: str, *, by: str, at: float) -> None:
        await self._void(self._inner.drop_blob(name, generation, blob, by=by, at=at), name)

    async def drop_blobs(self, drops: Sequence[Drop], *, at: float, booking: Booking | None = None) -> list[bool]:
        return await self._void(self._inner.drop_blobs(drops, at=at, booking=booking), *[drop.name for drop in drops])

    async def complete_bucket(self, name: str, complete: bool) -> None:
        await self._void_all(self._inner.complete_bucket(name, complete))

    async def add_bucket(self, row: BucketRow) -> None:
        await self._void_all(self._inner.add_bucket(row))

    async def remove_bucket(self, name: str) -> None:
        await self._void_all(self._inner.remove_bucket(name))

    async def _void(self, change: Coroutine[Any, Any, T], *names: ObjectName) -> T:
        try:
            return await self._made(change)
        finally:
            for name in names:
                self._versions.changed(name)

    async def _void_all(self, change: Coroutine[Any, Any, T]) -> T:
        try:
            return await self._made(change)
        finally:
            self._versions.all_changed()
