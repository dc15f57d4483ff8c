"""CopyObject and UploadPartCopy: objects made of objects."""

from __future__ import annotations

from collections.abc import Callable

from tierproxy.model import ByteRange, Entry, ObjectName
from tierproxy.s3api.call import Answer, Call, Port, xml_answer
from tierproxy.s3api.conditions import Conditions, copy_conditions, write_precondition
from tierproxy.s3api.documents import copy_part_result, copy_result
from tierproxy.s3api.faults import S3Error
from tierproxy.s3api.headers import stored_headers
from tierproxy.s3api.patience import answer_patiently
from tierproxy.s3api.ranges import parse_copy_range, part_number, resolve_copy
from tierproxy.s3api.request import split_copy_source
from tierproxy.s3api.timing import written_headers
from tierproxy.s3api.visiting import visitor_of


def _source(call: Call) -> ObjectName:
    """What x-amz-copy-source names. Raises S3Error; AccessDenied where the key may not read it."""
    bucket, key, version = split_copy_source(call.request.header("x-amz-copy-source") or "")
    if version not in {None, "null"}:
        raise S3Error("NotImplemented", "Versioning is not supported.")
    if not call.grants.allows(bucket, key, write=False):
        raise S3Error("AccessDenied", "Access Denied")
    return ObjectName(bucket, key)


def _select(
    conditions: Conditions, limit: int, choose: Callable[[Entry], ByteRange | None]
) -> Callable[[Entry], ByteRange | None]:
    """Checks the source, then ``choose``\\ s the range. ``limit``: bytes one request may copy."""

    def select(entry: Entry) -> ByteRange | None:
        conditions.check_copy(entry.etag, entry.written_at)
        chosen = choose(entry)
        if (entry.size if chosen is None else chosen.length) > limit:
            raise S3Error(
                "InvalidRequest",
                f"The specified copy source is larger than the maximum allowable size for a copy source: {limit}",
            )
        return chosen

    return select


async def copy_object(port: Port, call: Call) -> Answer | None:
    """CopyObject."""
    request = call.request
    source = _source(call)
    directive = (request.header("x-amz-metadata-directive") or "COPY").upper()
    if directive not in {"COPY", "REPLACE"}:
        raise S3Error("InvalidArgument", "Unknown metadata directive.")
    if directive == "COPY" and source == request.name:
        raise S3Error(
            "InvalidRequest",
            "This copy request is illegal because it is trying to copy an object to itself without changing the "
            "object's metadata, storage class, website redirect location or encryption attributes.",
        )
    headers = stored_headers(request) if directive == "REPLACE" else None
    select = _select(copy_conditions(request), port.listen.max_put_size, lambda entry: None)
    precondition, ack, visitor = write_precondition(request), call.ack, visitor_of(port, call)

    async def work() -> Answer:
        written = await port.store.copy(
            source, request.name, headers=headers, select=select, precondition=precondition, ack=ack, visitor=visitor
        )
        return xml_answer(copy_result(written.entry), *written_headers(written))

    return await answer_patiently(port, call, work())


async def upload_part_copy(port: Port, call: Call) -> Answer | None:
    """UploadPartCopy."""
    request = call.request
    source = _source(call)
    number = part_number(request)
    upload = port.store.multipart.find(request.query.get("uploadId") or "", request.name)
    text = request.header("x-amz-copy-source-range")
    spec = None if text is None else parse_copy_range(text)

    def choose(entry: Entry) -> ByteRange | None:
        return None if spec is None else resolve_copy(spec, entry.size)

    select = _select(copy_conditions(request), port.listen.max_put_size, choose)

    async def work() -> Answer:
        part = await port.store.multipart.copy_part(upload, number, source, select)
        return xml_answer(copy_part_result(part))

    return await answer_patiently(port, call, work())
