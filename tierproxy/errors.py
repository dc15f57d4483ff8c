"""Every error tierproxy raises on purpose, as one tree.

TierproxyError
├── ConfigError                 the configuration, or the data directory, cannot be used as it is
│   └── DataDirectoryInUse      another process owns the data directory
├── RequestError                the caller's doing; nothing was changed
│   ├── NoSuchBucket            the bucket is not configured and was never created
│   ├── NoSuchKey               certain: neither tier has the object
│   ├── NoSuchUpload            unknown, finished, aborted or expired multipart upload
│   ├── BucketExists            CreateBucket of a bucket that is there
│   ├── BucketNotEmpty          DeleteBucket of a bucket with objects
│   ├── PreconditionFailed      If-Match, If-None-Match and their kin said no
│   ├── NotModified             a conditional read whose answer is "you have it already"
│   ├── RangeUnsatisfiable      the range starts beyond the end; carries ``size``
│   ├── InvalidPart             CompleteMultipartUpload names a part that is not there
│   ├── BadBody                 the body does not match what was declared (length, checksum, signature)
│   └── TooLarge                the object exceeds a configured limit
├── DiskError                   the disk tier could not do it
│   ├── OutOfSpace              the budget's hard limit, ``min_free``, or ENOSPC/EDQUOT from the kernel
│   ├── BlobMissing             the blob's file is not there
│   ├── BlobCorrupt             truncated, bit-flipped, foreign or torn
│   └── DiskUnavailable         EIO, EROFS and the like
│       └── DiskHangs           a call did not return in time; it may yet
├── AltError                    the alt tier could not do it
│   ├── AltUnavailable          nothing changed there; try again
│   │   ├── AltDown             alt was not asked, because it is down; carries ``retry_after``
│   │   ├── AltDeferred         not this time, and alt's health is not the reason
│   │   │   └── AltHeld         alt was not asked: an earlier change may still be done; carries ``retry_after``
│   │   └── AltBusy             it was not even asked: too many of our own requests wait for it
│   ├── AltUncertain            a change may or may not have happened; a HEAD decides
│   ├── AltRefused              permission or quota; trying again will not help until an operator acts
│   │   └── AltCannotHold       this server can never hold an object of that name
│   ├── AltMissing              a definite 404 from alt
│   ├── AltPrecondition         a conditional request to alt said no
│   └── AltCorrupt              alt's answer contradicts itself or what is known (length, ETag, checksum)
├── StaleGeneration             the entry has moved on; what was being done for its old content is void
├── LostInAlt                   the catalogue knows the object, alt says 404: never told to a client as "not there"
├── Unreadable                  the only copy is damaged; an operator must act
├── Busy                        a limit on concurrent work is reached; try again
└── ShuttingDown                the node is stopping; try again

Each carries ``hint``: one sentence for an operator that says what to do. Foreign exceptions are translated at the
door of the adapter that meets them (``tierproxy.disk``, ``tierproxy.alt``, ``tierproxy.catalogue``); what S3 code and
HTTP status an error becomes is a table in ``tierproxy.s3api.faults`` and nowhere else.
"""

from __future__ import annotations


class TierproxyError(Exception):
    """Base of the tree. ``hint`` is for an operator; the message is for the log and, for RequestError, the caller."""

    hint: str = ""

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        super().__init__(message or self.__doc__ or type(self).__name__)
        if hint:
            self.hint = hint


class ConfigError(TierproxyError):
    """The configuration cannot be used."""


class DataDirectoryInUse(ConfigError):
    """Another process owns the data directory."""


class RequestError(TierproxyError):
    """The request cannot be served as it is; nothing was changed."""


class NoSuchBucket(RequestError):
    """The specified bucket does not exist."""


class NoSuchKey(RequestError):
    """The specified key does not exist."""


class NoSuchUpload(RequestError):
    """The specified multipart upload does not exist. It may have been completed, aborted, or have expired."""


class BucketExists(RequestError):
    """The bucket exists already."""


class BucketNotEmpty(RequestError):
    """The bucket is not empty."""


class PreconditionFailed(RequestError):
    """At least one of the preconditions you specified did not hold."""


class NotModified(RequestError):
    """The object is not modified."""


class RangeUnsatisfiable(RequestError):
    """The requested range is not satisfiable."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the range starts beyond the end of the object, which has {size} bytes")
        self.size = size


class InvalidPart(RequestError):
    """One or more of the specified parts could not be found, or its ETag did not match."""


class BadBody(RequestError):
    """The body is not what was declared. ``code`` is the S3 error code."""

    def __init__(self, message: str, *, code: str = "BadDigest") -> None:
        super().__init__(message)
        self.code = code


class TooLarge(RequestError):
    """The object exceeds the maximum allowed size."""


class DiskError(TierproxyError):
    """The disk tier could not do it."""

    hint = "look at the disk that holds the data directory"


class OutOfSpace(DiskError):
    """No room on the disk tier."""

    hint = "raise [disk] max_bytes or free space on the file system of the data directory"


class BlobMissing(DiskError):
    """The blob's file is not there."""

    hint = "run `tierproxy check`; somebody removed files below the data directory"


class BlobCorrupt(DiskError):
    """The blob's file is not what was written."""

    hint = "run `tierproxy check`; the disk may be failing"


class DiskUnavailable(DiskError):
    """The disk does not work."""


class DiskHangs(DiskUnavailable):
    """A call to the disk did not return in time. It may do so later."""


class AltError(TierproxyError):
    """The alt tier could not do it."""


class AltUnavailable(AltError):
    """The alt tier does not answer; nothing changed there."""

    hint = "check the network and the S3 server; the node tries again by itself"


class AltBusy(AltUnavailable):
    """The alt tier was not asked: too many requests wait for it already. Says nothing of its health."""

    hint = "many clients read or send slowly; raise [alt] concurrency"


class AltDown(AltUnavailable):
    """The alt tier is down and was not asked. ``retry_after``: seconds until it is tried again."""

    def __init__(self, message: str = "", *, retry_after: float = 1.0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class AltDeferred(AltUnavailable):
    """The alt tier could not do this one thing now, which says nothing of its health: a conflict, a copy whose source
    changed, a 404 that something before S3 has written."""

    hint = "the node or its client tries again"


class AltHeld(AltDeferred):
    """The alt tier was not asked: an earlier change of this name, whose answer nobody has heard, may still be done, and
    would undo this one. ``retry_after``: seconds until it no longer can."""

    def __init__(self, message: str = "", *, retry_after: float = 1.0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class AltUncertain(AltError):
    """A change was sent to the alt tier and its outcome is not known."""

    hint = "the node asks the alt tier again by itself"


class AltRefused(AltError):
    """The alt tier refuses the request."""

    hint = "check the alt tier's credentials, bucket policy and quota"


class AltCannotHold(AltRefused):
    """The alt tier can never hold an object of this name."""


class AltMissing(AltError):
    """The alt tier says there is no such object."""


class AltPrecondition(AltError):
    """The alt tier says a precondition failed."""


class AltCorrupt(AltError):
    """The alt tier's answer contradicts itself."""

    hint = "compare the object in alt with the catalogue: `tierproxy check`"


class StaleGeneration(TierproxyError):
    """The entry has moved on."""


class LostInAlt(TierproxyError):
    """The catalogue knows the object, the alt tier does not."""

    hint = "look for lifecycle rules or other writers on the alt bucket; restore the object from a version or a backup"


class Unreadable(TierproxyError):
    """The only copy of the object is damaged."""

    hint = "the object never reached the alt tier and its blob is damaged; restore it from a backup"


class Busy(TierproxyError):
    """Too much at once; try again."""


class ShuttingDown(TierproxyError):
    """The node is stopping; try again."""
