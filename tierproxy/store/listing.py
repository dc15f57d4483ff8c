"""Listings: from the catalogue where it may speak alone, else alt's pages with what alt does not know yet laid over."""

from __future__ import annotations

from dataclasses import replace

from tierproxy.errors import AltUnavailable
from tierproxy.model import Entry, Listed, ListPage, ListRequest, ObjectName, State
from tierproxy.ports import AltTier, Catalogue
from tierproxy.store.buckets import Buckets
from tierproxy.store.policies import Policies


class Listings:
    """ListObjectsV2's pages. Never a partial listing: without alt's word there is an error."""

    def __init__(self, *, catalogue: Catalogue, alt: AltTier, buckets: Buckets, policies: Policies) -> None:
        self._catalogue = catalogue
        self._alt = alt
        self._buckets = buckets
        self._policies = policies

    async def page(self, request: ListRequest) -> ListPage:
        """Raises NoSuchBucket, AltError."""
        if self._buckets.authoritative(request.bucket):
            return await self._catalogue.page(request)
        if self._policies.bucket(request.bucket).hash_prefix:
            raise AltUnavailable(
                f"the bucket {request.bucket!r} cannot be listed before its catalogue is complete",
                hint="its keys have a hash prefix in alt: stop the node and run `tierproxy catalogue sync`",
            )
        page = await self._alt.page(request)
        return self._overlay(request, page, await self._unknown(request, page))

    async def _unknown(self, request: ListRequest, page: ListPage) -> list[Entry]:
        """DIRTY and DELETING rows in the page's window of keys."""
        window: list[Entry] = []
        after = request.after
        while batch := await self._catalogue.dirty_page(request.bucket, request.prefix, after, request.limit):
            for entry in batch:
                if page.next_after is not None and entry.name.key.encode() > page.next_after.encode():
                    return window
                window.append(entry)
            after = batch[-1].name.key
        return window

    def _overlay(self, request: ListRequest, page: ListPage, unknown: list[Entry]) -> ListPage:
        objects = {listed.key: self._as_clients_know_it(request.bucket, listed) for listed in page.objects}
        prefixes = set(page.prefixes)
        for entry in unknown:
            key = entry.name.key
            if entry.state is State.DELETING:
                objects.pop(key, None)
                continue
            cut = key.find(request.delimiter, len(request.prefix)) if request.delimiter else -1
            if cut < 0:
                objects[key] = Listed(key, entry.size, entry.etag, entry.written_at)
            elif (prefix := key[: cut + len(request.delimiter)]).encode() > request.after.encode():
                prefixes.add(prefix)
        return self._cut(request, objects, prefixes, page.next_after)

    @staticmethod
    def _cut(request: ListRequest, objects: dict[str, Listed], prefixes: set[str], next_after: str | None) -> ListPage:
        names = sorted([*objects, *prefixes], key=str.encode)
        if len(names) > request.limit:
            names = names[: request.limit]
            next_after = names[-1] if names else next_after
        shown = set(names)
        return ListPage(
            tuple(objects[name] for name in names if name in objects),
            tuple(name for name in names if name in prefixes and name in shown),
            next_after,
        )

    def _as_clients_know_it(self, bucket: str, listed: Listed) -> Listed:
        """Alt's ETag of an object uploaded in parts is not the one our clients were told."""
        row = self._catalogue.find(ObjectName(bucket, listed.key))
        if row is not None and row.state is State.CLEAN and row.alt_etag == listed.etag:
            return replace(listed, etag=row.etag, modified_at=row.written_at)
        return listed
