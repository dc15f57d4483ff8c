"""Multipart uploads: create, put parts, list, complete, abort. UploadPartCopy is in ``copying``."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from tierproxy.errors import InvalidPart, NoSuchKey, NoSuchUpload
from tierproxy.model import Part, Upload
from tierproxy.s3api.body import object_body, read_document
from tierproxy.s3api.call import Answer, Call, Port, xml_answer
from tierproxy.s3api.checksums import (
    ALGORITHMS,
    FULL_OBJECT,
    PREFIX,
    composite,
    full_object,
    multipart_type,
    parse_algorithm,
)
from tierproxy.s3api.conditions import write_precondition
from tierproxy.s3api.documents import part_list, upload_completed, upload_created, upload_list
from tierproxy.s3api.exchange import HeaderList
from tierproxy.s3api.faults import S3Error
from tierproxy.s3api.headers import checksum_headers, quoted, stored_headers
from tierproxy.s3api.listing import encoding_of
from tierproxy.s3api.patience import answer_patiently
from tierproxy.s3api.ranges import part_number
from tierproxy.s3api.request import Request
from tierproxy.s3api.timing import tiers_header, written_headers
from tierproxy.s3api.visiting import visitor_of
from tierproxy.s3api.xmlio import MAX_PARTS, NamedPart, parse_complete

PAGE = 1000  #: parts or uploads in one answer, at most
_LAST_ID = "\U0010ffff"  #: greater than every upload id


def _upload(port: Port, request: Request) -> Upload:
    """Raises NoSuchUpload."""
    return port.store.multipart.find(request.query.get("uploadId") or "", request.name)


async def create_multipart_upload(port: Port, call: Call) -> Answer:
    """CreateMultipartUpload."""
    request = call.request
    named = request.header("x-amz-checksum-algorithm")
    algorithm = None if named is None else parse_algorithm(named)
    kind = None if algorithm is None else multipart_type(algorithm, request.header("x-amz-checksum-type"))
    upload = await port.store.multipart.create(
        request.name, stored_headers(request), call.ack, algorithm, kind, visitor_of(port, call)
    )
    headers: HeaderList = []
    if algorithm and kind:
        headers = [(b"x-amz-checksum-algorithm", algorithm.upper().encode()), (b"x-amz-checksum-type", kind.encode())]
    return xml_answer(upload_created(upload), *headers)


async def upload_part(port: Port, call: Call) -> Answer:
    """UploadPart."""
    number = part_number(call.request)
    upload = _upload(port, call.request)
    also = () if upload.checksum_algorithm is None else (upload.checksum_algorithm,)
    async with object_body(call, limit=port.listen.max_put_size, also=also) as body:
        part = await port.store.multipart.put_part(upload, number, body.size, body.pieces, body.check)
    return Answer(200, [(b"etag", quoted(part.etag)), *checksum_headers(body.check.checksums())])


async def list_parts(port: Port, call: Call) -> Answer:
    """ListParts."""
    query = call.request.query
    upload = _upload(port, call.request)
    after = query.number("part-number-marker", 0)
    limit = min(query.number("max-parts", PAGE), PAGE)
    found = port.store.multipart.parts(upload, after, limit + 1) if limit else []
    return xml_answer(
        part_list(
            upload, found[:limit], after=after, limit=limit, more=len(found) > limit, encoding_type=encoding_of(query)
        )
    )


async def list_multipart_uploads(port: Port, call: Call) -> Answer:
    """ListMultipartUploads, without delimiter."""
    query, bucket = call.request.query, call.request.bucket
    if query.get("delimiter"):
        raise S3Error("NotImplemented", "ListMultipartUploads with a delimiter is not supported.")
    prefix, key, id = query.get("prefix") or "", query.get("key-marker") or "", query.get("upload-id-marker") or ""
    limit = min(query.number("max-uploads", PAGE), PAGE)
    port.store.bucket(bucket)
    # Without an id the marker stands for all uploads of its key.
    place = (key, id or _LAST_ID) if key else ("", "")
    found = port.store.multipart.uploads(bucket, prefix, place, limit + 1) if limit else []
    return xml_answer(
        upload_list(
            bucket,
            found[:limit],
            prefix=prefix,
            after=(key, id),
            limit=limit,
            more=len(found) > limit,
            encoding_type=encoding_of(query),
        )
    )


async def abort_multipart_upload(port: Port, call: Call) -> Answer:
    """AbortMultipartUpload."""
    await port.store.multipart.abort(_upload(port, call.request))
    return Answer(204)


# ---------------------------------------------------------------- complete


async def complete_multipart_upload(port: Port, call: Call) -> Answer | None:
    """CompleteMultipartUpload."""
    request = call.request
    precondition, visitor = write_precondition(request), visitor_of(port, call)
    named = parse_complete(await read_document(call, checksums=False))
    try:
        upload = _upload(port, request)
    except NoSuchUpload:
        return await _completed_before(port, call, named)
    staged = {part.number: part for part in port.store.multipart.parts(upload, 0, MAX_PARTS)}
    parts = [_match(one, staged.get(one.number)) for one in named]
    _check_size(port, request, parts)
    checksums = _whole_checksums(upload, parts)
    _check_declared(request, upload, checksums)

    async def work() -> Answer:
        written = await port.store.multipart.complete(
            upload,
            [(part.number, part.etag) for part in parts],
            precondition=precondition,
            checksums=checksums,
            checksum_type=upload.checksum_type if checksums else None,
            visitor=visitor,
        )
        return xml_answer(upload_completed(_url(call), written.entry), *written_headers(written))

    return await answer_patiently(port, call, work())


def _url(call: Call) -> str:
    host = call.request.header("host") or ""
    return f"{call.exchange.scheme}://{host}{call.request.raw_path.decode('latin-1')}"


async def _completed_before(port: Port, call: Call, named: Sequence[NamedPart]) -> Answer:
    """A client that has not heard our answer asks again, after a restart perhaps: if the object is made of exactly
    these parts, its upload was completed. Raises NoSuchUpload."""
    try:
        entry = await port.store.head(call.request.name, full=True)
    except NoSuchKey:
        raise NoSuchUpload from None
    if entry.etag != _etag_of(named):
        raise NoSuchUpload
    return xml_answer(upload_completed(_url(call), entry), tiers_header(entry))


def _etag_of(named: Sequence[NamedPart]) -> str | None:
    """The ETag of an object made of these parts; None if they cannot be parts of any."""
    try:
        digests = b"".join(bytes.fromhex(part.etag) for part in named)
    except ValueError:
        return None
    return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(named)}"


def _match(named: NamedPart, part: Part | None) -> Part:
    """The staged part the client means. Raises InvalidPart, also for a checksum that is another."""
    if part is None or part.etag != named.etag:
        raise InvalidPart
    for algorithm, value in named.checksums.items():
        if part.checksums.get(algorithm, value) != value:
            raise InvalidPart
    return part


def _check_size(port: Port, request: Request, parts: Sequence[Part]) -> None:
    """Raises S3Error EntityTooLarge, InvalidRequest. The smallest part is the store's business."""
    size = sum(part.size for part in parts)
    if size > port.listen.max_object_size:
        raise S3Error("EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size.")
    declared = request.header("x-amz-mp-object-size")
    if declared is not None and declared != str(size):
        raise S3Error("InvalidRequest", f"x-amz-mp-object-size is {declared[:24]}, the parts have {size} bytes.")


def _whole_checksums(upload: Upload, parts: Sequence[Part]) -> dict[str, str]:
    """The object's checksum from those of its parts, if the upload was created with one and every part has it."""
    algorithm = upload.checksum_algorithm
    if algorithm is None or any(algorithm not in part.checksums for part in parts):
        return {}
    if upload.checksum_type == FULL_OBJECT:
        value = full_object(algorithm, [(part.checksums[algorithm], part.size) for part in parts])
        return {} if value is None else {algorithm: value}
    return {algorithm: composite(algorithm, [part.checksums[algorithm] for part in parts])}


def _check_declared(request: Request, upload: Upload, computed: dict[str, str]) -> None:
    """x-amz-checksum-<algorithm> of the whole object. Raises S3Error BadDigest, InvalidRequest."""
    kind = request.header("x-amz-checksum-type")
    if kind is not None and upload.checksum_type is not None and kind.upper() != upload.checksum_type:
        raise S3Error("InvalidRequest", "The checksum type is not the one the upload was created with.")
    for algorithm in ALGORITHMS:
        declared = request.header(PREFIX + algorithm)
        if declared is None:
            continue
        if algorithm not in computed:
            raise S3Error("InvalidRequest", f"The upload was not created with the checksum algorithm {algorithm}.")
        # S3 takes a composite checksum with and without the number of parts.
        if declared not in {computed[algorithm], computed[algorithm].partition("-")[0]}:
            raise S3Error("BadDigest", f"The {algorithm} you specified did not match the calculated checksum.")
