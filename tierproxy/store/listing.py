"""Listings: from the catalogue where it may speak alone, else alt's pages with what alt does not know yet laid over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tierproxy.errors import AltUnavailable
from tierproxy.model import Entry, Listed, ListPage, ListRequest, ObjectName, State
from tierproxy.ports import AltTier, Catalogue
from tierproxy.store.buckets import Buckets
from tierproxy.store.policies import Policies
from tierproxy.store.recent import RecentChanges

PENDING = 10_000
"""Rows alt does not know yet that one page takes into account; with more of them pages are shorter."""


class Listings:
    """ListObjectsV2's pages. Never a partial listing: without alt's word there is an error. Alt's listing may be behind
    the times: of what ``recent`` knows in exclusive buckets the catalogue has the last word."""

    def __init__(
        self, *, catalogue: Catalogue, alt: AltTier, buckets: Buckets, policies: Policies, recent: RecentChanges
    ) -> None:
        self._catalogue = catalogue
        self._alt = alt
        self._buckets = buckets
        self._policies = policies
        self._recent = recent

    async def page(self, request: ListRequest) -> ListPage:
        """Raises NoSuchBucket, AltError."""
        if self._buckets.authoritative(request.bucket):
            return await self._catalogue.page(request)
        if self._policies.bucket(request.bucket).hash_prefix:
            raise AltUnavailable(
                f"the bucket {request.bucket!r} cannot be listed before its catalogue is complete",
                hint="its keys have a hash prefix in alt: stop the node and run `tierproxy catalogue sync`",
            )
        before = await self._pending(request)
        page = await self._alt.page(request)
        after = await self._pending(request)
        names = {entry.name for entry in (*before, *after)}
        if self._buckets.exclusive(request.bucket):
            names.update(self._changed(request, page))
        return self._overlay(request, page, names, covered(before, after))

    async def _pending(self, request: ListRequest) -> list[Entry]:
        """What alt does not know yet, beyond ``after``. Looked at before and after alt is: what is confirmed in between
        is in one of the two looks."""
        return await self._catalogue.dirty_page(request.bucket, request.prefix, request.after, PENDING)

    def _changed(self, request: ListRequest, page: ListPage) -> Iterator[ObjectName]:
        """What has changed lately and belongs into ``page``, whether alt shows it there or not."""
        for name in self._recent.newest(PENDING):
            if name.bucket == request.bucket and name.key.startswith(request.prefix):
                row = self._catalogue.find(name)
                if row is None or within(name.key, request.after, page.next_after):
                    yield name

    def _overlay(self, request: ListRequest, page: ListPage, names: set[ObjectName], until: str | None) -> ListPage:
        """Alt's page with the rows of ``names`` as they are now. ``until``: nothing is known of later keys."""
        objects = {listed.key: self._as_clients_know_it(request, listed) for listed in page.objects}
        prefixes = set(page.prefixes)
        end = min((bound for bound in (page.next_after, until) if bound is not None), key=str.encode, default=None)
        for name in names:
            row = self._catalogue.find(name)
            if row is None or row.state is State.DELETING:
                objects.pop(name.key, None)
            elif end is None or name.key.encode() <= end.encode():
                self._lay_over(request, row, objects, prefixes)
        return self._cut(request, objects, prefixes, end, short=end != page.next_after)

    @staticmethod
    def _lay_over(request: ListRequest, row: Entry, objects: dict[str, Listed], prefixes: set[str]) -> None:
        key = row.name.key
        cut = key.find(request.delimiter, len(request.prefix)) if request.delimiter else -1
        if cut < 0:
            objects[key] = Listed(key, row.size, row.etag, row.written_at, row.headers if request.headers else None)
        elif (prefix := key[: cut + len(request.delimiter)]).encode() > request.after.encode():
            prefixes.add(prefix)

    @staticmethod
    def _cut(
        request: ListRequest, objects: dict[str, Listed], prefixes: set[str], next_after: str | None, *, short: bool
    ) -> ListPage:
        names = sorted({*objects, *prefixes}, key=str.encode)
        if short and next_after is not None:  # never by alt's own end: its pages need not be in the order of bytes
            names = [name for name in names if name.encode() <= next_after.encode()]
        if len(names) > request.limit:
            names = names[: request.limit]
            next_after = names[-1] if names else next_after
        shown = set(names)
        return ListPage(
            tuple(objects[name] for name in names if name in objects),
            tuple(name for name in names if name in prefixes and name in shown),
            next_after,
        )

    def _as_clients_know_it(self, request: ListRequest, listed: Listed) -> Listed:
        """Alt's ETag of an object uploaded in parts is not the one our clients were told."""
        row = self._catalogue.find(ObjectName(request.bucket, listed.key))
        if row is not None and row.state is State.CLEAN and row.alt_etag == listed.etag:
            headers = row.headers if request.headers else None
            return replace(listed, etag=row.etag, modified_at=row.written_at, headers=headers)
        return listed


def within(key: str, after: str, end: str | None) -> bool:
    """``key`` is in the page from ``after`` to ``end``, by the order of bytes and by SeaweedFS's: then whatever order
    alt has, no other page shows it."""
    return all(order(key) > order(after) and (end is None or order(key) <= order(end)) for order in (_bytes, _tree))


def _bytes(key: str) -> list[bytes]:
    return [key.encode()]


def _tree(key: str) -> list[bytes]:
    return [part.encode() for part in key.split("/")]


def covered(before: list[Entry], after: list[Entry]) -> str | None:
    """The last key up to which both looks are complete; None when they are to the end."""
    cut = [look[-1].name.key for look in (before, after) if len(look) == PENDING]
    return min(cut, key=str.encode, default=None)
