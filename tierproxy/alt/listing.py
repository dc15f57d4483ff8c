"""Listings of alt through boto3: obstore has no pages with a delimiter.

Order: S3 lists keys by the bytes of their UTF-8. SeaweedFS lists directory by directory ("o/a/1" before "o/a-b"). A
page is therefore sorted here, but continued after the *server's* last item, never after the greatest: so nothing is
lost or listed twice on either, and only the order between pages is the server's.

What is taken for a listing decides which keys are not there. So an answer that cannot be one is AltCorrupt: no listing
at all (a proxy's page, an empty body), keys of another prefix, an end that is none, pages that come again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from tierproxy.alt.mapping import Place
from tierproxy.alt.odd import NO_S3, BotoObjects, unquoted
from tierproxy.errors import AltCorrupt, AltRefused
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
    call = _ask(
        objects, place.bucket, place.key(request.prefix), Delimiter=request.delimiter or None, StartAfter=after,
        MaxKeys=min(request.limit, 1000),
    )  # fmt: skip
    answer = await bounded(call)
    strip = len(place.prefix)
    items = [listed(item, item["Key"][strip:]) for item in answer.get("Contents", [])]
    prefixes = [item["Prefix"][strip:] for item in answer.get("CommonPrefixes", [])]
    return ListPage(
        tuple(sorted((item for item in items if item.key != request.after), key=lambda item: item.key.encode())),
        tuple(sorted((prefix for prefix in prefixes if not request.after.startswith(prefix)), key=str.encode)),
        _next_after(answer, items, prefixes, request.after),
    )


async def _ask(objects: BotoObjects, bucket: str, prefix: str, **arguments: Any) -> dict[str, Any]:
    """ListObjectsV2. Raises AltCorrupt for an answer that is no listing of ``prefix``, KeyError where items lack
    something."""
    answer = await objects.call("list_objects_v2", Bucket=bucket, Prefix=prefix, **arguments)
    if "IsTruncated" not in answer:
        raise AltCorrupt(f"alt answered a listing of {bucket} with something else", hint=NO_S3)
    names = [item["Key"] for item in answer.get("Contents", []) if item["ETag"] and item["LastModified"]]
    names += [item["Prefix"] for item in answer.get("CommonPrefixes", [])]
    strange = next((name for name in names if not name.startswith(prefix)), None)
    if strange is not None:
        raise AltCorrupt(f"alt listed {strange!r} below {prefix!r} of {bucket}")
    return answer


def start_after(request: ListRequest) -> str:
    """Where the server is to go on: a common prefix as ``after`` stands for all keys below it."""
    rolled = request.delimiter and request.after.endswith(request.delimiter) and request.after != request.prefix
    return request.after + LAST if rolled and request.after.startswith(request.prefix) else request.after


def _next_after(answer: dict[str, Any], items: list[Listed], prefixes: list[str], after: str) -> str | None:
    """The server's last item. Of objects and prefixes, which come in two lists, it is the one greater in bytes. Raises
    AltCorrupt when there is more, and no way to get there."""
    if not answer["IsTruncated"]:
        return None
    last = max((*(item.key for item in items[-1:]), *prefixes[-1:]), key=str.encode, default="")
    if not _beyond(last, after):
        raise AltCorrupt(f"alt's listing after {after!r} goes on after {last!r}")
    return last


def _beyond(key: str, after: str) -> bool:
    """``key`` comes later, in the order of bytes or in SeaweedFS's."""
    return key.encode() > after.encode() or [part.encode() for part in key.split("/")] > [
        part.encode() for part in after.split("/")
    ]


def listed(item: dict[str, Any], key: str) -> Listed:
    return Listed(key, item["Size"], unquoted(item["ETag"]), item["LastModified"].timestamp())


async def walk(objects: BotoObjects, place: Place, bucket: str, bounded: Bounded) -> AsyncIterator[list[AltObject]]:
    """Every object of ``place`` with a client's name, by the server's own continuation tokens, in its own order. Raises
    AltCorrupt instead of ending early or never: whoever walks believes that what was not seen is not there."""
    token: str | None = None
    seen: set[str] = set()
    while True:
        answer = await bounded(_ask(objects, place.bucket, place.prefix, ContinuationToken=token))
        items = answer.get("Contents", [])
        token = answer.get("NextContinuationToken") if answer["IsTruncated"] else None
        if answer["IsTruncated"] and token is None:
            raise AltCorrupt(f"alt's listing of {bucket} is cut off, and does not say where it goes on")
        again = {f"token {token}"} if token else set()
        again |= {f"key {item['Key']}" for item in items[:1]}
        if not seen.isdisjoint(again):
            raise AltCorrupt(f"alt's listing of {bucket} repeats itself")
        seen |= again
        yield [found for item in items if (found := _object(item, place, bucket)) is not None]
        if token is None:
            return


def _object(item: dict[str, Any], place: Place, bucket: str) -> AltObject | None:
    key = place.client_key(item["Key"])
    if key is None:
        return None
    facts = listed(item, key)
    return AltObject(ObjectName(bucket, key), facts.size, facts.etag, facts.modified_at)
