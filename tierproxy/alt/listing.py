"""Listings of alt through boto3: obstore has no pages with a delimiter.

Order: S3 lists keys by the bytes of their UTF-8. SeaweedFS lists directory by directory ("o/a/1" before "o/a-b"). A
page is therefore sorted here, but continued after the *server's* last item, never after the greatest: so nothing is
lost or listed twice on either, and only the order between pages is the server's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from tierproxy.alt.mapping import Place
from tierproxy.alt.odd import BotoObjects, unquoted
from tierproxy.errors import AltRefused
from tierproxy.model import AltObject, Listed, ListPage, ListRequest, ObjectName

LAST = "\U0010ffff"  #: greater than any character a key goes on with
Bounded = Callable[[Awaitable[dict[str, Any]]], Awaitable[dict[str, Any]]]


async def page(objects: BotoObjects, place: Place, request: ListRequest, bounded: Bounded) -> ListPage:
    """ListObjectsV2 of ``request``; ``bounded`` limits the time of a call and translates its errors."""
    if place.hashed:
        raise AltRefused(
            f"the bucket {request.bucket} has a hash prefix: alt cannot list it in key order",
            hint="run `tierproxy catalogue sync`; then the catalogue answers listings",
        )
    if request.limit <= 0:
        return ListPage((), (), None)
    after = place.key(start_after(request)) if request.after else None
    call = objects.call(
        "list_objects_v2", Bucket=place.bucket, Prefix=place.key(request.prefix), Delimiter=request.delimiter or None,
        StartAfter=after, MaxKeys=min(request.limit, 1000),
    )  # fmt: skip
    answer = await bounded(call)
    strip = len(place.prefix)
    items = [listed(item, item["Key"][strip:]) for item in answer.get("Contents", [])]
    prefixes = [item["Prefix"][strip:] for item in answer.get("CommonPrefixes", [])]
    return ListPage(
        tuple(sorted((item for item in items if item.key != request.after), key=lambda item: item.key.encode())),
        tuple(sorted((prefix for prefix in prefixes if not request.after.startswith(prefix)), key=str.encode)),
        _next_after(answer, items, prefixes),
    )


def start_after(request: ListRequest) -> str:
    """Where the server is to go on: a common prefix as ``after`` stands for all keys below it."""
    rolled = request.delimiter and request.after.endswith(request.delimiter) and request.after != request.prefix
    return request.after + LAST if rolled and request.after.startswith(request.prefix) else request.after


def _next_after(answer: dict[str, Any], items: list[Listed], prefixes: list[str]) -> str | None:
    """The server's last item. Of objects and prefixes, which come in two lists, it is the one greater in bytes."""
    last = [*(item.key for item in items[-1:]), *prefixes[-1:]]
    return max(last, key=str.encode) if answer.get("IsTruncated") and last else None


def listed(item: dict[str, Any], key: str) -> Listed:
    return Listed(key, item["Size"], unquoted(item["ETag"]), item["LastModified"].timestamp())


async def walk(objects: BotoObjects, place: Place, bucket: str, bounded: Bounded) -> AsyncIterator[list[AltObject]]:
    """Every object of ``place`` with a client's name, by the server's own continuation tokens, in its own order."""
    token: str | None = None
    while True:
        call = objects.call("list_objects_v2", Bucket=place.bucket, Prefix=place.prefix, ContinuationToken=token)
        answer = await bounded(call)
        yield [found for item in answer.get("Contents", []) if (found := _object(item, place, bucket)) is not None]
        token = answer.get("NextContinuationToken")
        if not answer.get("IsTruncated") or token is None:
            return


def _object(item: dict[str, Any], place: Place, bucket: str) -> AltObject | None:
    key = place.client_key(item["Key"])
    if key is None:
        return None
    facts = listed(item, key)
    return AltObject(ObjectName(bucket, key), facts.size, facts.etag, facts.modified_at)
