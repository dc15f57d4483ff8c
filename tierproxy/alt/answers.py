"""What alt's errors mean: the one place where obstore's and botocore's exceptions become ``tierproxy.errors``.

obstore says nearly everything with one GenericError, so its message is read: the HTTP status and S3's error code behind
"Server returned non-2xx status code", or the kind of the transport error. Rules:

- a change is "unavailable" only when it provably had no effect: the connection was never made, or S3 itself said so;
  otherwise it is "uncertain" (a 500, a timeout, a reset, a 503 of something in between);
- "missing" needs S3's own NoSuchKey: a bare 404 may come from a proxy, a wrong endpoint, a missing bucket;
- what trying again cannot cure is "refused".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)
from obstore.exceptions import BaseError

from tierproxy.errors import (
    AltDeferred,
    AltError,
    AltMissing,
    AltPrecondition,
    AltRefused,
    AltUnavailable,
    AltUncertain,
)

FOREIGN = (BaseError, BotoCoreError, ClientError, OSError, ValueError, KeyError, TimeoutError)
"""What obstore and botocore raise (FileNotFoundError is an OSError), and what reading an answer of botocore's raises
that lacks what it must have: a success without an ETag says no more of what happened than no answer."""

_STATUS = re.compile(r"(\d{3})[^:]*:?(.*)", re.DOTALL)
_CODE = re.compile(r"<Code>([A-Za-z0-9.]+)</Code>")
_NOT_DELETED = re.compile(r"DeleteObjects request failed for key .*\(code: ([A-Za-z0-9]+)\)\s*\Z", re.DOTALL)
_IN_A_200 = "Server returned error response: "
_ANSWERED = "Server returned non-2xx status code: "
_NOT_SENT = re.compile(r"kind: Connect\b|legacy::Error\(\s*Connect\b")  # and no "kind: ConnectionReset"

TRY_AGAIN = {
    "SlowDown", "ServiceUnavailable", "RequestTimeout", "OperationAborted", "ConditionalRequestConflict",
    "TooManyRequests", "BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody", "NoSuchUpload", "InvalidPart",
}  # fmt: skip
"""Codes with which S3 itself says that it did not do it (S3 API reference, "Error responses")."""

OVERLOADED = {"SlowDown", "ServiceUnavailable", "RequestTimeout", "TooManyRequests"}
"""Those of them that speak of the server; the others are about this one request."""

HINTS = {
    "NoSuchBucket": "create alt's bucket, or correct alt_bucket in the configuration",
    "SignatureDoesNotMatch": "the secret of alt's access key is wrong",
    "InvalidAccessKeyId": "alt does not know the access key",
    "RequestTimeTooSkewed": "set this machine's clock",
    "PermanentRedirect": "correct the region of [alt]",
    "AuthorizationHeaderMalformed": "correct the region of [alt]",
    "InvalidObjectState": "the object is in cold storage; restore it and remove the lifecycle rule that moved it there",
    "KeyTooLongError": "the key and alt_prefix together are too long for alt",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What can be known of a failed request: ``status`` and S3's ``code`` if alt answered; ``sent`` is False only when
    the request provably never left."""

    text: str
    status: int | None = None
    code: str = ""
    sent: bool = True
    denied: bool = False


def answer_of(error: BaseException) -> Answer:
    """Read ``error``, one of FOREIGN."""
    if isinstance(error, ClientError):
        facts = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        code = str(facts.get("Code", ""))
        return Answer(str(error), status, "" if code.isdigit() else code)
    if isinstance(error, (EndpointConnectionError, ConnectTimeoutError)):
        return Answer(str(error), sent=False)
    if isinstance(error, (NoCredentialsError, PartialCredentialsError, ParamValidationError)):
        return Answer(str(error), sent=False, denied=True)
    return _obstore_answer(error)


def _obstore_answer(error: BaseException) -> Answer:
    """The key is part of the message, but before the status, and control characters never go to obstore: the last
    status before the first empty line is alt's."""
    text = str(error)
    head = text.split("\n\nDebug source", 1)[0]
    if "Received redirect without LOCATION" in head:
        return Answer(head, 301, "PermanentRedirect")
    if _ANSWERED in head and (found := _STATUS.match(head.rpartition(_ANSWERED)[2])):
        code = _CODE.search(found[2])
        return Answer(head, int(found[1]), code[1] if code else "")
    if _IN_A_200 in head:  # DeleteObjects answers 200 before it has begun, and then says how it went
        code = _CODE.search(head.rpartition(_IN_A_200)[2])
        return Answer(head, 500, code[1] if code else "")
    if found := _NOT_DELETED.search(head):
        return Answer(head, {"InternalError": 500, "NoSuchKey": 404}.get(found[1], 403), found[1])
    return Answer(head, sent=_NOT_SENT.search(text) is None)


def error_of(error: BaseException, subject: object, *, change: bool) -> AltError:
    """The tierproxy error for ``error`` (one of FOREIGN) met while asking for ``subject``."""
    answer = answer_of(error)
    text = f"{subject}: {answer.code or type(error).__name__}: {' '.join(answer.text.split())[:300]}"
    if answer.denied:
        return AltRefused(text)
    if answer.status is None:
        return AltUncertain(text) if change and answer.sent else AltUnavailable(text)
    return _by_status(answer.status, answer.code, text, change=change)


def _by_status(status: int, code: str, text: str, *, change: bool) -> AltError:
    if code in TRY_AGAIN:
        return AltUnavailable(text) if code in OVERLOADED else AltDeferred(text)
    if status in {304, 412}:
        return AltPrecondition(text)
    if status == 404 and code == "NoSuchKey":
        return AltMissing(text)
    if status == 404 and not code:
        return AltDeferred(text, hint="a 404 that S3 did not write: check the endpoint and proxies before it")
    if status in {408, 409, 425, 429}:
        return AltDeferred(text) if status == 409 else AltUnavailable(text)
    if status < 500 or status in {501, 507}:
        return AltRefused(text, hint=HINTS.get(code, ""))
    return AltUncertain(text) if change else AltUnavailable(text)
