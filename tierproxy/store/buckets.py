"""The buckets clients see: those of the configuration and those made by CreateBucket."""

from __future__ import annotations

import contextlib
import logging

from tierproxy.config.sections import DynamicBucketsSection
from tierproxy.errors import AltError, BucketExists, BucketNotEmpty, NoSuchBucket, RequestError
from tierproxy.logs import event
from tierproxy.model import BucketRow, ListRequest, ObjectName
from tierproxy.ports import AltTier, Catalogue, Clock
from tierproxy.store.policies import Policies
from tierproxy.store.tasks import Tasks

log = logging.getLogger(__name__)


class Buckets:
    """Answers whether a bucket is there, and whether the catalogue alone may speak for it."""

    def __init__(
        self, *, catalogue: Catalogue, alt: AltTier, policies: Policies, tasks: Tasks, clock: Clock,
        dynamic: DynamicBucketsSection,
    ) -> None:  # fmt: skip
        self._catalogue = catalogue
        self._alt = alt
        self._policies = policies
        self._tasks = tasks
        self._clock = clock
        self._dynamic = dynamic
        self._rows: dict[str, BucketRow] = {}
        self.checked = False  #: the last ``complete_where_known`` could ask alt about every bucket

    async def load(self) -> None:
        """At start: rows for the buckets of the configuration; none that has other writers stays complete."""
        for name in self._policies.configured():
            if self._catalogue.bucket(name) is None:
                await self._catalogue.add_bucket(BucketRow(name, self._clock.now(), created=False, complete=False))
        await self.doubt_shared()

    async def doubt_shared(self) -> None:
        """After a look at the configuration: what other writers may have put into alt meanwhile is not known here, also
        when they are locked out again later. Only a new walk over alt makes such a bucket complete."""
        for row in self._catalogue.buckets():
            if row.complete and not self._policies.bucket(row.name).exclusive:
                await self._catalogue.complete_bucket(row.name, False)
        self._refresh()

    async def complete_where_known(self) -> None:
        """Mark exclusive buckets complete whose alt holds nothing the catalogue does not know (an empty one, above
        all).
        Larger ones need ``tierproxy catalogue sync``. Alt being down changes nothing."""
        self.checked = True
        for row in list(self._rows.values()):
            if row.complete or not self._policies.bucket(row.name).exclusive:
                continue
            try:
                known = await self._all_known(row.name)
            except (AltError, RequestError) as error:
                event(log, logging.WARNING, "bucket not checked", bucket=row.name, error=error)
                self.checked = False
                continue
            if not self._policies.bucket(row.name).exclusive:  # the configuration changed meanwhile
                continue
            if known:
                await self._complete(row.name)
            else:
                event(
                    log, logging.WARNING, "alt holds objects the catalogue does not know", bucket=row.name,
                    hint="stop the node and run `tierproxy catalogue sync`; until then look-ups ask alt",
                )  # fmt: skip

    def all(self) -> list[BucketRow]:
        return sorted(self._rows.values(), key=lambda row: row.name)

    def require(self, name: str) -> BucketRow:
        """loop. Raises NoSuchBucket."""
        row = self._rows.get(name)
        if row is None:
            raise NoSuchBucket(f"the bucket {name!r} does not exist")
        return row

    def authoritative(self, name: str) -> bool:
        """loop. An object without a row is not there: no need to ask alt."""
        return self.require(name).complete and self._policies.bucket(name).exclusive

    def exclusive(self, name: str) -> bool:
        return self._policies.bucket(name).exclusive

    async def create(self, name: str) -> None:
        """CreateBucket. Raises BucketExists, RequestError when the configuration does not allow it, AltError."""
        if name in self._rows:
            raise BucketExists(f"the bucket {name!r} exists already")
        if not self._dynamic.enabled:
            raise RequestError("creating buckets is not enabled", hint="set [dynamic_buckets] enabled = true")
        empty = await self._all_known(name)
        row = BucketRow(name, self._clock.now(), created=True, complete=empty and self.exclusive(name))
        await self._tasks.finish(self._add(row), "create bucket")

    async def delete(self, name: str) -> None:
        """DeleteBucket. Raises NoSuchBucket, BucketNotEmpty, RequestError for a bucket of the configuration; AltError
        when alt has to be asked and does not answer."""
        row = self.require(name)
        if not row.created:
            raise RequestError(
                f"the bucket {name!r} is part of the configuration", hint="remove its [[bucket]] section and restart"
            )
        if not row.complete and (await self._alt.page(ListRequest(name, limit=1))).objects:
            raise BucketNotEmpty(f"alt holds objects of the bucket {name!r} that the catalogue does not know")
        await self._tasks.finish(self._remove(name), "delete bucket")

    async def _add(self, row: BucketRow) -> None:
        await self._catalogue.add_bucket(row)
        self._refresh()

    async def _remove(self, name: str) -> None:
        await self._catalogue.remove_bucket(name)
        self._refresh()

    async def _complete(self, name: str) -> None:
        with contextlib.suppress(NoSuchBucket):  # deleted while alt was asked
            await self._catalogue.complete_bucket(name, True)
        self._refresh()

    async def _all_known(self, bucket: str) -> bool:
        page = await self._alt.page(ListRequest(bucket, limit=1000))
        known = (self._catalogue.find(ObjectName(bucket, listed.key)) is not None for listed in page.objects)
        return page.next_after is None and all(known)

    def _refresh(self) -> None:
        configured = set(self._policies.configured())
        rows = self._catalogue.buckets()
        self._rows = {row.name: row for row in rows if row.created or row.name in configured}
