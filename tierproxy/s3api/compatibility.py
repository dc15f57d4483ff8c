"""``docs/s3-compatibility.md``, written from the table of operations."""

from __future__ import annotations

from tierproxy.s3api.route import OPERATIONS, UNSUPPORTED, Operation

_HEAD = """\
# S3 compatibility

Generated from the table of operations in `tierproxy/s3api/route.py`; a test holds this page to it.

Path-style and, with `[listen] domain`, virtual-host-style requests. Signature Version 4 in the header, in the query
(presigned URLs) and in streaming form. What is not supported is answered `501 NotImplemented`, never a silent
success. Every answer has `x-amz-request-id`; answers about objects also say `x-tierproxy-tiers` (who holds the object
now), reads `x-tierproxy-tier` (where the bytes came from) and `x-tierproxy-fill` (`hit`, `fill` or
`pass`), with `Server-Timing`.

## Operations
"""

_TAIL = """\

Query parameters that are in no row and not below are ignored, as in S3: SDKs send some of their own.
`versionId=null` is accepted, any other version is not.

## Headers of writes that are refused

`x-amz-acl` other than `private`, `bucket-owner-full-control` and `bucket-owner-read`; `x-amz-grant-*`;
`x-amz-tagging*`; `x-amz-object-lock-*`; `x-amz-server-side-encryption*` (alt's encryption is set in `[alt]`);
`x-amz-website-redirect-location`; `x-amz-write-offset-bytes`; `x-amz-storage-class` other than `STANDARD`.

## Limits

Keys of 1024 bytes, user metadata of 2048 bytes, parts of at least 5 MiB but the last, 10,000 parts, 1000 keys a
DeleteObjects or a page of a listing; `max_put_size`, `max_object_size`, `max_header_bytes` and
`max_concurrent_requests` as configured in `[listen]`.
"""


def compatibility_page() -> str:
    """The whole page in Markdown."""
    lines = ["| operation | request | notes | headers | parameters |", "|---|---|---|---|---|"]
    lines += [_row(operation) for operation in OPERATIONS]
    lines += ["", "## Not supported", "", "| query parameter | what it asks for |", "|---|---|"]
    lines += [f"| `{name}` | {what} |" for name, what in UNSUPPORTED.items()]
    return _HEAD + "\n" + "\n".join(lines) + "\n" + _TAIL


def _row(operation: Operation) -> str:
    marker = f"?{operation.marker}" if operation.marker else ""
    request = f"`{operation.method} {operation.level.value}{marker}`"
    if operation.copies:
        request += " with `x-amz-copy-source`"
    headers = ", ".join(f"`{name}`" for name in operation.headers)
    parameters = ", ".join(f"`{name}`" for name in operation.parameters)
    return f"| {operation.name} | {request} | {operation.note} | {headers} | {parameters} |"
