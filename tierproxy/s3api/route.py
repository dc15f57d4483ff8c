"""The table of operations: what is served, how a request is recognised, what it may be done by, what it understands.

Everything else derives from it: routing, permissions, ``docs/s3-compatibility.md`` and a test that each row is tested.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto

from tierproxy.s3api import buckets, copying, deleting, listing, multipart, objects
from tierproxy.s3api.call import Answer, Call, Port
from tierproxy.s3api.extension import changes, children, reads, room
from tierproxy.s3api.faults import S3Error
from tierproxy.s3api.grants import Grants
from tierproxy.s3api.headers import refuse_unsupported
from tierproxy.s3api.request import Request

Handler = Callable[[Port, Call], Awaitable[Answer | None]]


class Level(Enum):
    """What the request's path names."""

    SERVICE = "/"
    BUCKET = "/bucket"
    OBJECT = "/bucket/key"


class Need(Enum):
    """What an access key must be granted."""

    NOTHING = auto()
    SEE = auto()  #: anything in the bucket
    LIST = auto()  #: to read everything below the prefix
    READ = auto()
    WRITE = auto()


@dataclass(frozen=True, slots=True)
class Operation:
    """One S3 action.

    ``marker`` is the query parameter that tells it from others of the same method and level; ``copies`` marks those
    that have x-amz-copy-source. ``headers`` and ``parameters`` are what it understands beyond what all do.
    """

    name: str
    method: str
    level: Level
    handler: Handler
    need: Need
    note: str
    marker: str = ""
    copies: bool = False
    headers: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()

    def check(self, request: Request, grants: Grants) -> None:
        """Raises S3Error AccessDenied."""
        if not self._granted(request, grants):
            raise S3Error("AccessDenied", "Access Denied")

    def _granted(self, request: Request, grants: Grants) -> bool:
        match self.need:
            case Need.READ:
                return grants.allows(request.bucket, request.key, write=False)
            case Need.WRITE:
                return grants.allows(request.bucket, request.key, write=True)
            case Need.LIST:
                return grants.lists(request.bucket, request.query.get("prefix") or "")
            case Need.SEE:
                return grants.sees(request.bucket)
            case Need.NOTHING:
                return True

    @property
    def changes(self) -> bool:
        """It has a body or headers to be stored."""
        return self.method in {"PUT", "POST"}


_READS = ("Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range",
          "x-amz-checksum-mode")  # fmt: skip
_NAMED = ("x-tierproxy-owner", "x-tierproxy-folder")
_TOLD = ("x-tierproxy-reason", *_NAMED)
_OVERRIDES = (
    "partNumber", "response-cache-control", "response-content-disposition", "response-content-encoding",
    "response-content-language", "response-content-type", "response-expires",
)  # fmt: skip
_STORED = ("Content-Type", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Expires",
           "x-amz-meta-*", "x-tierproxy-ack", *_NAMED)  # fmt: skip
_BODY = ("Content-Length", "Content-MD5", "Expect", "x-amz-checksum-{crc32,crc32c,crc64nvme,sha1,sha256}",
         "x-amz-content-sha256", "x-amz-decoded-content-length", "x-amz-sdk-checksum-algorithm",
         "x-amz-trailer")  # fmt: skip
_REPLACES = ("If-Match", "If-None-Match: *", "x-tierproxy-change")
_SOURCE = ("x-amz-copy-source", "x-amz-copy-source-if-match", "x-amz-copy-source-if-none-match",
           "x-amz-copy-source-if-modified-since", "x-amz-copy-source-if-unmodified-since")  # fmt: skip
_LISTS = ("prefix", "delimiter", "encoding-type", "max-keys")

OPERATIONS: tuple[Operation, ...] = (
    Operation("ListBuckets", "GET", Level.SERVICE, buckets.list_buckets, Need.NOTHING,
              "the buckets the key may read any of",
              parameters=("prefix", "max-buckets", "continuation-token")),
    Operation("HeadBucket", "HEAD", Level.BUCKET, buckets.head_bucket, Need.SEE, "whether a bucket is there"),
    Operation("GetBucketLocation", "GET", Level.BUCKET, buckets.get_bucket_location, Need.SEE,
              "the configured region", marker="location"),
    Operation("GetBucketVersioning", "GET", Level.BUCKET, buckets.get_bucket_versioning, Need.SEE,
              "always \"never enabled\"", marker="versioning"),
    Operation("CreateBucket", "PUT", Level.BUCKET, buckets.create_bucket, Need.WRITE,
              "where `[dynamic_buckets]` allows it; the bucket is a prefix of its own in alt"),
    Operation("DeleteBucket", "DELETE", Level.BUCKET, buckets.delete_bucket, Need.WRITE, "only an empty one"),
    Operation("ListObjectsV2", "GET", Level.BUCKET, listing.list_objects_v2, Need.LIST,
              "at most 1000 keys and prefixes a page, in byte order", marker="list-type",
              parameters=(*_LISTS, "continuation-token", "start-after", "fetch-owner")),
    Operation("ListObjects", "GET", Level.BUCKET, listing.list_objects, Need.LIST,
              "version 1; NextMarker is always there when more follows", parameters=(*_LISTS, "marker")),
    Operation("DeleteObjects", "POST", Level.BUCKET, deleting.delete_objects, Need.SEE,
              "up to 1000 keys, Quiet, ETag conditions", marker="delete", headers=_BODY),
    Operation("GetObject", "GET", Level.OBJECT, objects.get_object, Need.READ,
              "one range; several at once give the whole object", headers=(*_READS, *_TOLD), parameters=_OVERRIDES),
    Operation("HeadObject", "HEAD", Level.OBJECT, objects.head_object, Need.READ,
              "as GetObject, without the body", headers=_READS, parameters=_OVERRIDES),
    Operation("PutObject", "PUT", Level.OBJECT, objects.put_object, Need.WRITE,
              "plain and aws-chunked bodies, signed, unsigned, with trailers",
              headers=(*_STORED, *_BODY, *_REPLACES)),
    Operation("CopyObject", "PUT", Level.OBJECT, copying.copy_object, Need.WRITE,
              "between all buckets of the node; metadata COPY and REPLACE", copies=True,
              headers=(*_SOURCE, "x-amz-metadata-directive", *_STORED, *_REPLACES)),
    Operation("DeleteObject", "DELETE", Level.OBJECT, objects.delete_object, Need.WRITE,
              "204 also for a key that is not there", headers=("If-Match", "x-tierproxy-withdraw")),
    Operation("CreateMultipartUpload", "POST", Level.OBJECT, multipart.create_multipart_upload, Need.WRITE,
              "parts are staged on the local disk", marker="uploads",
              headers=(*_STORED, "x-amz-checksum-algorithm", "x-amz-checksum-type")),
    Operation("UploadPart", "PUT", Level.OBJECT, multipart.upload_part, Need.WRITE,
              "numbers 1 to 10,000", marker="uploadId", headers=_BODY, parameters=("partNumber",)),
    Operation("UploadPartCopy", "PUT", Level.OBJECT, copying.upload_part_copy, Need.WRITE,
              "a part, or a range of it, from another object", marker="uploadId", copies=True,
              headers=(*_SOURCE, "x-amz-copy-source-range"), parameters=("partNumber",)),
    Operation("ListParts", "GET", Level.OBJECT, multipart.list_parts, Need.READ, "of one upload",
              marker="uploadId", parameters=("part-number-marker", "max-parts", "encoding-type")),
    Operation("ListMultipartUploads", "GET", Level.BUCKET, multipart.list_multipart_uploads, Need.LIST,
              "without delimiter", marker="uploads",
              parameters=("prefix", "key-marker", "upload-id-marker", "max-uploads", "encoding-type")),
    Operation("CompleteMultipartUpload", "POST", Level.OBJECT, multipart.complete_multipart_upload, Need.WRITE,
              "becomes one object in alt; COMPOSITE and FULL_OBJECT checksums", marker="uploadId",
              headers=(*_REPLACES, *_NAMED, "x-amz-checksum-{crc32,crc32c,crc64nvme,sha1,sha256}",
                       "x-amz-checksum-type", "x-amz-mp-object-size")),
    Operation("AbortMultipartUpload", "DELETE", Level.OBJECT, multipart.abort_multipart_upload, Need.WRITE,
              "frees the staged parts", marker="uploadId"),
    Operation("ListChildren", "GET", Level.BUCKET, children.list_children, Need.LIST,
              "not S3: [a directory with attributes](mount-extension.md), JSON", marker="tierproxy-children",
              parameters=("prefix", "after", "limit")),
    Operation("ListenToChanges", "GET", Level.BUCKET, changes.listen_to_changes, Need.LIST,
              "not S3: [a line for each change](mount-extension.md), without an end", marker="tierproxy-changes",
              parameters=("prefix",)),
    Operation("NoteReads", "POST", Level.BUCKET, reads.note_reads, Need.SEE,
              "not S3: [reads served beside the node](mount-extension.md), JSON lines", marker="tierproxy-reads",
              headers=_BODY),
    Operation("GetRoom", "GET", Level.SERVICE, room.get_room, Need.NOTHING,
              "not S3: [the disk budget](mount-extension.md), JSON", marker="tierproxy-room"),
)  # fmt: skip

UNSUPPORTED: dict[str, str] = {
    "abac": "attribute-based access control",
    "accelerate": "transfer acceleration",
    "acl": "access control lists",
    "analytics": "analytics configurations",
    "append": "appending",
    "attributes": "GetObjectAttributes",
    "cors": "cross-origin rules",
    "encryption": "bucket encryption settings (alt's encryption is configured in `[alt]`)",
    "intelligent-tiering": "intelligent tiering",
    "inventory": "inventories",
    "legal-hold": "legal holds",
    "lifecycle": "lifecycle rules",
    "logging": "access log buckets",
    "metadataConfiguration": "metadata tables",
    "metadataTable": "metadata tables",
    "metrics": "request metrics",
    "notification": "notifications",
    "object-lock": "object lock",
    "ownershipControls": "ownership controls",
    "policy": "bucket policies",
    "policyStatus": "bucket policies",
    "publicAccessBlock": "public access blocks",
    "renameObject": "renames",
    "replication": "replication",
    "requestPayment": "requester pays",
    "restore": "restores from archives",
    "retention": "retention",
    "select": "S3 Select",
    "session": "session credentials",
    "tagging": "tags",
    "torrent": "torrents",
    "versions": "versions",
    "website": "static websites",
}
"""Query parameters that ask for what is not done, and what that is. Each is answered 501 with every method."""

_TABLE = {(row.method, row.level, row.marker, row.copies): row for row in OPERATIONS}
_MARKERS = {row.marker for row in OPERATIONS if row.marker}
_EXTENSION = {row.marker for row in OPERATIONS if row.marker.startswith("tierproxy-")}
_METHODS = {row.method for row in OPERATIONS}


def find_operation(request: Request) -> Operation:
    """The operation a request is. Raises S3Error NotImplemented, MethodNotAllowed."""
    level = Level.OBJECT if request.key else Level.BUCKET if request.bucket else Level.SERVICE
    marker = _marker(request, level) if len(request.query) else ""
    copies = request.method == "PUT" and b"x-amz-copy-source" in request.headers
    if request.method == "PUT" and not marker and "partNumber" in request.query:
        # Without its uploadId a part would replace the whole object.
        raise S3Error("InvalidArgument", "This operation does not accept partNumber without uploadId")
    found = _TABLE.get((request.method, level, marker, copies))
    if found is not None:
        return found
    if request.method not in _METHODS or level is Level.SERVICE:
        raise S3Error("MethodNotAllowed", "The specified method is not allowed against this resource.")
    raise S3Error("NotImplemented", "A header or query you provided implies functionality that is not implemented")


def _marker(request: Request, level: Level) -> str:
    """The query parameter that decides. Parameters nobody knows are ignored, as S3 does: SDKs send their own."""
    names = request.query.names()
    refused = names & UNSUPPORTED.keys()
    if refused:
        raise S3Error("NotImplemented", f"Not supported: {UNSUPPORTED[min(refused)]}.")
    if request.query.get("versionId") not in {None, "null"}:
        raise S3Error("NotImplemented", "Versioning is not supported.")
    markers = names & _MARKERS
    if level is Level.OBJECT:
        markers -= {"location", "versioning", "list-type", "delete", *_EXTENSION}
    if "list-type" in markers and len(markers) > 1:
        markers -= {"list-type"}
    if len(markers) > 1:
        raise S3Error("InvalidArgument", f"Conflicting query parameters: {', '.join(sorted(markers))}.")
    return next(iter(markers), "")


def refuse_what_is_not_done(operation: Operation, request: Request) -> None:
    """Raises S3Error NotImplemented for headers that ask a change for what cannot be honoured."""
    if operation.changes:
        refuse_unsupported(request)
