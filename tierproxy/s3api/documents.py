"""The XML documents S3 answers with. Element names and their order are those of the Amazon S3 API reference."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tierproxy.model import BucketRow, Entry, Listed, ListPage, Part, Upload
from tierproxy.s3api.dates import format_iso
from tierproxy.s3api.faults import Fault
from tierproxy.s3api.xmlio import document, group, tag, url_encoded

PROLOG = b'<?xml version="1.0" encoding="UTF-8"?>\n'
OWNER_ID = "tierproxy"
_STANDARD = tag("StorageClass", "STANDARD")

Encode = Callable[[str], str]


def _as_is(text: str) -> str:
    return text


def encoder(encoding_type: str | None) -> Encode:
    """How keys are written: percent-encoded under ``encoding-type=url``."""
    return url_encoded if encoding_type == "url" else _as_is


def _owner(name: str = "Owner") -> str:
    return group(name, tag("ID", OWNER_ID), tag("DisplayName", OWNER_ID))


def _etag(etag: str) -> str:
    return tag("ETag", f'"{etag}"')


def _checksums(checksums: Mapping[str, str], kind: str | None = None) -> Iterable[str]:
    for algorithm, value in checksums.items():
        yield tag(f"Checksum{algorithm.upper()}", value)
    if checksums and kind:
        yield tag("ChecksumType", kind)


def error_document(fault: Fault, resource: str, request_id: str, region: str = "") -> bytes:
    """``<Error>``. ``Hint`` is tierproxy's own: what an operator can do. ``region`` is told to clients that signed for
    another one: some look for it there and try again."""
    told = (tag("Region", region),) if region and fault.code == "AuthorizationHeaderMalformed" else ()
    hint = (tag("Hint", fault.hint),) if fault.hint else ()
    return document(
        "Error",
        tag("Code", fault.code),
        tag("Message", fault.message),
        tag("Resource", resource),
        tag("RequestId", request_id),
        *told,
        *hint,
        namespace="",
    )


# ---------------------------------------------------------------- buckets


def bucket_list(rows: Sequence[BucketRow], prefix: str | None, token: str | None) -> bytes:
    buckets = (group("Bucket", tag("Name", row.name), tag("CreationDate", format_iso(row.created_at))) for row in rows)
    tail = [tag("ContinuationToken", token)] if token else []
    tail += [tag("Prefix", prefix)] if prefix is not None else []
    return document("ListAllMyBucketsResult", _owner(), group("Buckets", *buckets), *tail)


def location(region: str) -> bytes:
    """us-east-1 is the empty location, as in AWS."""
    return document("LocationConstraint", "" if region == "us-east-1" else region)


def versioning() -> bytes:
    """Versioning was never enabled."""
    return document("VersioningConfiguration")


# ---------------------------------------------------------------- listings


@dataclass(frozen=True, slots=True)
class Listing:
    """What a listing's request and answer have in common. ``limit`` is the max-keys that was applied."""

    bucket: str
    prefix: str
    delimiter: str
    limit: int
    encoding_type: str | None
    page: ListPage

    @property
    def encode(self) -> Encode:
        return encoder(self.encoding_type)

    def head(self) -> Iterable[str]:
        yield tag("Name", self.bucket)
        yield tag("Prefix", self.encode(self.prefix))
        if self.delimiter:
            yield tag("Delimiter", self.encode(self.delimiter))
        yield tag("MaxKeys", self.limit)
        if self.encoding_type:
            yield tag("EncodingType", self.encoding_type)
        yield tag("IsTruncated", self.page.next_after is not None)

    def rows(self, *, owner: bool) -> Iterable[str]:
        encode = self.encode
        for listed in self.page.objects:
            yield _contents(listed, encode, owner)
        for prefix in self.page.prefixes:
            yield group("CommonPrefixes", tag("Prefix", encode(prefix)))


def _contents(listed: Listed, encode: Encode, owner: bool) -> str:
    return group(
        "Contents",
        tag("Key", encode(listed.key)),
        tag("LastModified", format_iso(listed.modified_at)),
        _etag(listed.etag),
        tag("Size", listed.size),
        _owner() if owner else "",
        _STANDARD,
    )


def listing_v1(listing: Listing, marker: str) -> bytes:
    after = listing.page.next_after
    following = (tag("NextMarker", listing.encode(after)),) if after is not None else ()
    return document(
        "ListBucketResult",
        *listing.head(),
        tag("Marker", listing.encode(marker)),
        *following,
        *listing.rows(owner=True),
    )


def listing_v2(
    listing: Listing, *, token: str | None, next_token: str | None, start_after: str | None, owner: bool
) -> bytes:
    tokens = [tag("ContinuationToken", token)] if token else []
    tokens += [tag("NextContinuationToken", next_token)] if next_token else []
    tokens += [tag("StartAfter", listing.encode(start_after))] if start_after is not None else []
    found = len(listing.page.objects) + len(listing.page.prefixes)
    return document("ListBucketResult", *listing.head(), tag("KeyCount", found), *tokens, *listing.rows(owner=owner))


# ---------------------------------------------------------------- objects


def copy_result(entry: Entry) -> bytes:
    checksums = entry.headers.checksums if entry.headers else {}
    kind = entry.headers.checksum_type if entry.headers else None
    return document(
        "CopyObjectResult", tag("LastModified", format_iso(entry.written_at)), _etag(entry.etag),
        *_checksums(checksums, kind),
    )  # fmt: skip


def copy_part_result(part: Part) -> bytes:
    return document(
        "CopyPartResult", tag("LastModified", format_iso(part.modified_at)), _etag(part.etag),
        *_checksums(part.checksums),
    )  # fmt: skip


def delete_result(deleted: Iterable[str], failed: Iterable[tuple[str, Fault]]) -> bytes:
    return document(
        "DeleteResult",
        *(group("Deleted", tag("Key", key)) for key in deleted),
        *(
            group("Error", tag("Key", key), tag("Code", fault.code), tag("Message", fault.message))
            for key, fault in failed
        ),
    )


# ---------------------------------------------------------------- multipart uploads


def upload_created(upload: Upload) -> bytes:
    return document(
        "InitiateMultipartUploadResult", tag("Bucket", upload.name.bucket), tag("Key", upload.name.key),
        tag("UploadId", upload.id),
    )  # fmt: skip


def upload_completed(url: str, entry: Entry) -> bytes:
    headers = entry.headers
    return document(
        "CompleteMultipartUploadResult",
        tag("Location", url),
        tag("Bucket", entry.name.bucket),
        tag("Key", entry.name.key),
        _etag(entry.etag),
        *_checksums(headers.checksums if headers else {}, headers.checksum_type if headers else None),
    )


def part_list(
    upload: Upload, parts: Sequence[Part], *, after: int, limit: int, more: bool, encoding_type: str | None
) -> bytes:
    kind = [tag("ChecksumAlgorithm", upload.checksum_algorithm.upper())] if upload.checksum_algorithm else []
    kind += [tag("ChecksumType", upload.checksum_type)] if upload.checksum_type else []
    return document(
        "ListPartsResult",
        tag("Bucket", upload.name.bucket),
        *((tag("EncodingType", encoding_type),) if encoding_type else ()),
        tag("Key", encoder(encoding_type)(upload.name.key)),
        tag("UploadId", upload.id),
        tag("PartNumberMarker", after),
        tag("NextPartNumberMarker", parts[-1].number if parts else after),
        tag("MaxParts", limit),
        tag("IsTruncated", more),
        *(_part(part) for part in parts),
        _owner("Initiator"),
        _owner(),
        _STANDARD,
        *kind,
    )


def _part(part: Part) -> str:
    return group(
        "Part",
        tag("PartNumber", part.number),
        tag("LastModified", format_iso(part.modified_at)),
        _etag(part.etag),
        tag("Size", part.size),
        *_checksums(part.checksums),
    )


def upload_list(
    bucket: str,
    uploads: Sequence[Upload],
    *,
    prefix: str,
    after: tuple[str, str],
    limit: int,
    more: bool,
    encoding_type: str | None,
) -> bytes:
    encode = encoder(encoding_type)
    following: tuple[str, ...] = ()
    if more:
        last = uploads[-1]
        following = (tag("NextKeyMarker", encode(last.name.key)), tag("NextUploadIdMarker", last.id))
    return document(
        "ListMultipartUploadsResult",
        tag("Bucket", bucket),
        tag("KeyMarker", encode(after[0])),
        tag("UploadIdMarker", after[1]),
        *following,
        tag("Prefix", encode(prefix)),
        *((tag("EncodingType", encoding_type),) if encoding_type else ()),
        tag("MaxUploads", limit),
        tag("IsTruncated", more),
        *(_upload(upload, encode) for upload in uploads),
    )


def _upload(upload: Upload, encode: Encode) -> str:
    return group(
        "Upload",
        tag("Key", encode(upload.name.key)),
        tag("UploadId", upload.id),
        _owner("Initiator"),
        _owner(),
        _STANDARD,
        tag("Initiated", format_iso(upload.created_at)),
    )
