"""What S3 code, HTTP status and headers an error becomes: the one table of it.

The rule above all others: trouble with the alt tier is never a 404. A mail store takes "no such file" for "this mail is
lost" and forgets it for good, so only NoSuchBucket, NoSuchKey and NoSuchUpload, each of them certain, have that status.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from tierproxy import errors
from tierproxy.errors import RequestError, TierproxyError

STATUS: dict[str, int] = {
    "AccessDenied": 403,
    "AuthorizationHeaderMalformed": 400,
    "AuthorizationQueryParametersError": 400,
    "BadDigest": 400,
    "BadGateway": 502,
    "BucketAlreadyExists": 409,
    "BucketAlreadyOwnedByYou": 409,
    "BucketNotEmpty": 409,
    "ConditionalRequestConflict": 409,
    "EntityTooLarge": 400,
    "EntityTooSmall": 400,
    "IllegalLocationConstraintException": 400,
    "IncompleteBody": 400,
    "IncompleteSignature": 400,
    "InsufficientStorage": 507,
    "InternalError": 500,
    "InvalidAccessKeyId": 403,
    "InvalidArgument": 400,
    "InvalidBucketName": 400,
    "InvalidDigest": 400,
    "InvalidLocationConstraint": 400,
    "InvalidPart": 400,
    "InvalidPartNumber": 416,
    "InvalidPartOrder": 400,
    "InvalidRange": 416,
    "InvalidRequest": 400,
    "InvalidStorageClass": 400,
    "InvalidToken": 400,
    "InvalidURI": 400,
    "KeyTooLongError": 400,
    "MalformedTrailerError": 400,
    "MalformedXML": 400,
    "MaxMessageLengthExceeded": 400,
    "MetadataTooLarge": 400,
    "MethodNotAllowed": 405,
    "MissingContentLength": 411,
    "MissingRequestBodyError": 400,
    "MissingSecurityHeader": 400,
    "NoSuchBucket": 404,
    "NoSuchKey": 404,
    "NoSuchUpload": 404,
    "NotImplemented": 501,
    "NotModified": 304,
    "PreconditionFailed": 412,
    "RequestHeaderSectionTooLarge": 400,
    "RequestTimeTooSkewed": 403,
    "RequestTimeout": 400,
    "ServiceUnavailable": 503,
    "SignatureDoesNotMatch": 403,
    "SlowDown": 503,
    "TooManyParts": 400,
    "XAmzContentSHA256Mismatch": 400,
}
"""Every S3 error code tierproxy answers with, and its HTTP status."""


class S3Error(RequestError):
    """An answer that S3 has a code for. ``status`` is the table's unless given; ``headers`` go into the answer."""

    def __init__(
        self, code: str, message: str, status: int | None = None, *, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = STATUS[code] if status is None else status
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Fault:
    """An error as the client will see it. ``hint`` is the operator's sentence, "" if there is none."""

    code: str
    status: int
    message: str
    hint: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = field(default=())


@dataclass(frozen=True, slots=True)
class _Row:
    """``message``: what the client is told; "" tells it the error's own words (RequestError only)."""

    code: str
    message: str = ""
    retry_after: int | None = None


_TABLE: dict[type[TierproxyError], _Row] = {
    errors.NoSuchBucket: _Row("NoSuchBucket"),
    errors.NoSuchKey: _Row("NoSuchKey"),
    errors.NoSuchUpload: _Row("NoSuchUpload"),
    errors.BucketExists: _Row("BucketAlreadyOwnedByYou"),
    errors.BucketNotEmpty: _Row("BucketNotEmpty"),
    errors.PreconditionFailed: _Row("PreconditionFailed"),
    errors.NotModified: _Row("NotModified"),
    errors.RangeUnsatisfiable: _Row("InvalidRange"),
    errors.InvalidPart: _Row("InvalidPart"),
    errors.TooLarge: _Row("EntityTooLarge"),
    errors.RequestError: _Row("InvalidRequest"),
    errors.OutOfSpace: _Row("InsufficientStorage", "There is no room on the disk tier."),
    errors.DiskError: _Row("ServiceUnavailable", "The disk tier cannot serve this now.", 10),
    errors.AltBusy: _Row("SlowDown", "Too many requests wait for the alt tier; try again.", 2),
    errors.AltUncertain: _Row("ServiceUnavailable", "The outcome in the alt tier is not known yet; try again.", 2),
    errors.AltRefused: _Row("BadGateway", "The alt tier refused the request."),
    errors.AltCannotHold: _Row("NotImplemented", "The alt tier cannot hold an object of this name."),
    errors.AltCorrupt: _Row("BadGateway", "The alt tier's answer cannot be trusted."),
    errors.AltPrecondition: _Row("ServiceUnavailable", "The object changed in the alt tier meanwhile; try again.", 1),
    errors.AltError: _Row("ServiceUnavailable", "The alt tier does not answer; try again.", 5),
    errors.AltHeld: _Row(
        "ServiceUnavailable", "An earlier change of this object may still be on its way; try again when it cannot.", 1
    ),
    errors.AltDown: _Row("ServiceUnavailable", "The alt tier is down; try again when it is asked next.", 1),
    errors.StaleGeneration: _Row("ServiceUnavailable", "The object changed meanwhile; try again.", 1),
    errors.LostInAlt: _Row("ServiceUnavailable", "The object is known, but the alt tier does not have it.", 60),
    errors.Unreadable: _Row("ServiceUnavailable", "The only copy of the object cannot be read.", 60),
    errors.Busy: _Row("SlowDown", "Too many requests at once; try again.", 1),
    errors.ShuttingDown: _Row("ServiceUnavailable", "The node is stopping; try again.", 2),
    errors.TierproxyError: _Row("InternalError", "The node met an error it did not expect."),
}
"""Looked up along the class's bases, so that a new kind of AltError is a 503 before anybody adds a row for it."""


def fault_of(error: BaseException) -> Fault:
    """The answer for ``error``. Anything that is not tierproxy's own is an InternalError without details."""
    if isinstance(error, S3Error):
        return Fault(error.code, error.status, str(error), error.hint, _told_when(error))
    if isinstance(error, errors.BadBody):
        return Fault(error.code, STATUS.get(error.code, 400), str(error), error.hint)
    if isinstance(error, TierproxyError):
        return _from_table(error)
    return Fault("InternalError", 500, "We encountered an internal error. Please try again.")


def _told_when(error: S3Error) -> tuple[tuple[bytes, bytes], ...]:
    """Its headers; a 503 without a time would be tried again at once, or never."""
    if error.status != 503 or any(name == b"retry-after" for name, _ in error.headers):
        return error.headers
    return (*error.headers, (b"retry-after", b"1"))


def _from_table(error: TierproxyError) -> Fault:
    row = next(_TABLE[kind] for kind in type(error).__mro__ if kind in _TABLE)
    headers: list[tuple[bytes, bytes]] = []
    if row.retry_after is not None:
        wait = error.retry_after if isinstance(error, (errors.AltDown, errors.AltHeld)) else row.retry_after
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(wait))))
    if isinstance(error, errors.RangeUnsatisfiable):
        headers.append((b"content-range", b"bytes */%d" % error.size))
    return Fault(row.code, STATUS[row.code], row.message or str(error), error.hint, tuple(headers))
