"""ListChildren: what is directly below a directory, with the times a file system shows."""

from __future__ import annotations

import json
import math
from typing import Any

from tierproxy.model import Listed, ListPage, ListRequest
from tierproxy.s3api.call import Answer, Call, Port
from tierproxy.s3api.faults import S3Error

MOST = 1000
JSON_TYPE = (b"content-type", b"application/json")

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def json_answer(value: Any) -> Answer:
    """``value`` as the whole body."""
    return Answer(200, [JSON_TYPE], _encode(value).encode())


async def list_children(port: Port, call: Call) -> Answer:
    """``GET /<bucket>?tierproxy-children``."""
    query, bucket = call.request.query, call.request.bucket
    prefix, after = query.get("prefix") or "", query.get("after") or ""
    if prefix and not prefix.endswith("/"):
        raise S3Error("InvalidArgument", "prefix must be empty or end in a slash.")
    limit = query.number("limit", MOST, least=1, most=MOST)
    port.store.bucket(bucket)
    marked = False
    place = prefix + after if after else ""
    while True:
        page = await port.store.page(ListRequest(bucket, prefix, "/", place, limit, headers=True))
        files = [listed for listed in page.objects if listed.key != prefix]
        marked = marked or len(files) < len(page.objects)
        place = page.next_after or ""
        if files or page.prefixes or not place:  # a page of nothing else but the marker has no name to go on after
            return json_answer(_document(page, files, prefix, marked=marked))


def _document(page: ListPage, files: list[Listed], prefix: str, *, marked: bool) -> dict[str, Any]:
    cut = len(prefix)
    return {
        "marked": marked,
        "files": [_file(listed, cut) for listed in files],
        "directories": [directory[cut:-1] for directory in page.prefixes],
        "next": "" if page.next_after is None else page.next_after[cut:],
    }


def _file(listed: Listed, cut: int) -> dict[str, Any]:
    metadata = listed.headers.metadata if listed.headers is not None else {}
    written = float(int(listed.modified_at))  # as Last-Modified says it: a file's times do not depend on who is asked
    return {
        "name": listed.key[cut:],
        "size": listed.size,
        "etag": listed.etag,
        "modified": seconds(metadata.get("mtime"), written),
        "changed": seconds(metadata.get("ctime"), written),
    }


def seconds(text: str | None, default: float) -> float:
    """Decimal seconds since the epoch, as s3fs and rclone write them; ``default`` if it is nothing of that kind."""
    try:
        found = float(text or "")
    except ValueError:
        return default
    return found if math.isfinite(found) else default
