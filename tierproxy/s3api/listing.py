"""ListObjectsV2 and ListObjects (version 1)."""

from __future__ import annotations

from tierproxy.model import ListPage, ListRequest
from tierproxy.s3api.call import Answer, Call, Port, xml_answer
from tierproxy.s3api.documents import Listing, listing_v1, listing_v2
from tierproxy.s3api.faults import S3Error
from tierproxy.s3api.request import Query
from tierproxy.s3api.tokens import read_token, write_token

MAX_KEYS = 1000


async def list_objects_v2(port: Port, call: Call) -> Answer:
    """ListObjectsV2."""
    query = call.request.query
    if query.get("list-type") != "2":
        raise S3Error("InvalidArgument", "list-type must be 2.")
    token, start_after = query.get("continuation-token"), query.get("start-after")
    listing = await _page(port, call, read_token(token) if token is not None else start_after or "")
    after = listing.page.next_after
    return xml_answer(
        listing_v2(
            listing,
            token=token,
            next_token=None if after is None else write_token(after),
            start_after=start_after,
            owner=query.get("fetch-owner") == "true",
        )
    )


async def list_objects(port: Port, call: Call) -> Answer:
    """ListObjects."""
    marker = call.request.query.get("marker") or ""
    return xml_answer(listing_v1(await _page(port, call, marker), marker))


async def _page(port: Port, call: Call, after: str) -> Listing:
    query, bucket = call.request.query, call.request.bucket
    prefix, delimiter = query.get("prefix") or "", query.get("delimiter") or ""
    limit = min(query.number("max-keys", MAX_KEYS), MAX_KEYS)
    encoding_type = encoding_of(query)
    port.store.bucket(bucket)
    page = ListPage((), (), None)
    if limit:
        page = await port.store.page(ListRequest(bucket, prefix, delimiter, after, limit))
    return Listing(bucket, prefix, delimiter, limit, encoding_type, page)


def encoding_of(query: Query) -> str | None:
    """encoding-type, which is ``url`` or not there. Raises S3Error InvalidArgument."""
    encoding_type = query.get("encoding-type") or None
    if encoding_type not in {None, "url"}:
        raise S3Error("InvalidArgument", "Invalid Encoding Method specified in Request")
    return encoding_type
