"""AWS Signature Version 4: who sent this request, and is it the request that was sent?

Header and query (presigned) forms, with the payload signed, unsigned, or signed in chunks (``tierproxy.s3api.stream``
checks those). Source: "Authenticating Requests (AWS Signature Version 4)" in the Amazon S3 API reference.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple, Protocol

from tierproxy.ports import Clock
from tierproxy.s3api.canonical import SignedHeaders, canonical_requests
from tierproxy.s3api.dates import amz_date, amz_stamp, http_date
from tierproxy.s3api.faults import S3Error
from tierproxy.s3api.grants import EVERYTHING, Grants
from tierproxy.s3api.request import Request

ALGORITHM = "AWS4-HMAC-SHA256"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
MAX_SKEW = 15 * 60
MAX_EXPIRES = 7 * 86400
MAX_CACHED_KEYS = 256

_SIGNATURE = "Signature="
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CREDENTIAL = re.compile(r"(?P<id>[^/]+(?:/[^/]+)*)/(?P<day>[0-9]{8})/(?P<region>[^/]+)/s3/aws4_request")
_NAMES = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+(?:;[!#$%&'*+.^_`|~0-9a-z-]+)*")


class Payload(StrEnum):
    """How the body is covered by the signature: the special values of x-amz-content-sha256."""

    SIGNED = "SIGNED"  #: the header holds the hex SHA-256 of the body
    UNSIGNED = "UNSIGNED-PAYLOAD"
    CHUNKS_SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    CHUNKS_SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
    CHUNKS_UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"

    @property
    def chunked(self) -> bool:
        """The body is aws-chunked: ``tierproxy.s3api.stream.decode`` takes it apart."""
        return self not in {Payload.SIGNED, Payload.UNSIGNED}

    @property
    def signed_chunks(self) -> bool:
        return self in SIGNED_CHUNKS


SIGNED_CHUNKS = frozenset({Payload.CHUNKS_SIGNED, Payload.CHUNKS_SIGNED_TRAILER})


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A client's key. ``repr`` does not show the secret."""

    id: str
    secret: str
    grants: Grants

    def __repr__(self) -> str:
        return f"<AccessKey {self.id}>"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who sent a request. ``access_key_id`` is "" where nobody is asked (auth = "none")."""

    access_key_id: str
    grants: Grants


ANYBODY = Identity("", EVERYTHING)


@dataclass(frozen=True, slots=True)
class ChunkSeed:
    """What the signatures of a body's chunks are chained to. ``timestamp`` is the request's x-amz-date."""

    signing_key: bytes
    timestamp: str
    scope: str
    signature: str

    def __repr__(self) -> str:
        return f"<ChunkSeed {self.scope}>"


@dataclass(frozen=True, slots=True)
class Admission:
    """A request that may come in. ``sha256`` is the hex digest the body must have (payload SIGNED), else None;
    ``seed`` is set when the chunks' signatures are to be checked; ``signed`` is False with auth = "none"."""

    identity: Identity
    payload: Payload
    sha256: str | None = None
    seed: ChunkSeed | None = None
    signed: bool = True


class Authenticator(Protocol):
    """Lets requests in."""

    def admit(self, request: Request) -> Admission:
        """Raises S3Error."""
        ...


class Open:
    """Lets everybody in (auth = "none"). Signatures, if there are any, are not looked at; digests of bodies are."""

    def admit(self, request: Request) -> Admission:
        payload, sha256 = _payload(request, default=Payload.UNSIGNED)
        return Admission(ANYBODY, payload, sha256, signed=False)


class _Credential(NamedTuple):
    """Who signed, and for what. ``scope``: as it is signed."""

    access_key_id: str
    day: str
    region: str
    scope: str


class _Claim(NamedTuple):  # one is made for every request
    """A signature and what it says of itself."""

    credential: _Credential
    timestamp: str
    signed_headers: SignedHeaders
    signature: str


class SigV4:
    """Checks signatures for the given keys, region and clock. Confined to the event loop."""

    def __init__(self, keys: Iterable[AccessKey], region: str, clock: Clock) -> None:
        self._keys = {key.id: key for key in keys}
        self._identities = {id: Identity(id, key.grants) for id, key in self._keys.items()}
        self._region = region
        self._clock = clock
        self._derived: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    def __repr__(self) -> str:
        return f"<SigV4 {self._region}, {len(self._keys)} keys>"

    def admit(self, request: Request) -> Admission:
        """Raises S3Error: AccessDenied, InvalidAccessKeyId, SignatureDoesNotMatch, RequestTimeTooSkewed, InvalidToken,
        AuthorizationHeaderMalformed, AuthorizationQueryParametersError, InvalidRequest, InvalidArgument."""
        authorization = request.header("authorization")
        if "X-Amz-Algorithm" in request.query:
            if authorization is not None:
                raise S3Error("InvalidArgument", "Only one auth mechanism allowed: a header or query parameters.")
            return self._admit_query(request)
        if authorization is not None:
            return self._admit_header(request, authorization)
        if "Signature" in request.query and "AWSAccessKeyId" in request.query:
            raise S3Error("AccessDenied", "Signature Version 2 is not supported; please use AWS4-HMAC-SHA256.")
        raise S3Error("AccessDenied", "Anonymous requests are not allowed here; please sign with AWS4-HMAC-SHA256.")

    def _admit_header(self, request: Request, authorization: str) -> Admission:
        claim = _header_claim(request, authorization)
        key = self._key_of(claim, "AuthorizationHeaderMalformed")
        _refuse_token(request)
        if abs(self._clock.now() - amz_date(claim.timestamp)) > MAX_SKEW:
            raise S3Error(
                "RequestTimeTooSkewed", "The difference between the request time and the current time is too large."
            )
        payload, sha256 = _payload(request, default=None)
        return self._compare(request, claim, key, payload, sha256)

    def _admit_query(self, request: Request) -> Admission:
        claim = _query_claim(request)
        key = self._key_of(claim, "AuthorizationQueryParametersError")
        _refuse_token(request)
        self._refuse_expired(request, claim)
        payload, sha256 = _payload(request, default=Payload.UNSIGNED)
        return self._compare(request, claim, key, payload, sha256)

    def _key_of(self, claim: _Claim, code: str) -> AccessKey:
        access_key_id, _, region, _ = claim.credential
        if region != self._region:
            raise S3Error(code, f"The credential's region {region[:64]!r} is wrong; expecting {self._region!r}.")
        key = self._keys.get(access_key_id)
        if key is None:
            raise S3Error("InvalidAccessKeyId", "The access key id you provided does not exist in our records.")
        return key

    def _refuse_expired(self, request: Request, claim: _Claim) -> None:
        expires = request.query.get("X-Amz-Expires") or ""
        if re.fullmatch(r"\d{1,9}", expires, re.ASCII) is None or not 1 <= int(expires) <= MAX_EXPIRES:
            raise S3Error(
                "AuthorizationQueryParametersError",
                "X-Amz-Expires must be a number of seconds from 1 to 604800 (a week).",
            )
        age = self._clock.now() - amz_date(claim.timestamp)
        if age < -MAX_SKEW:
            raise S3Error("AccessDenied", "Request is not valid yet.")
        if age > int(expires):
            raise S3Error("AccessDenied", "Request has expired.")

    def _compare(
        self, request: Request, claim: _Claim, key: AccessKey, payload: Payload, sha256: str | None
    ) -> Admission:
        signing_key, scope = self._signing_key(key, claim.credential), claim.credential.scope
        for canonical in canonical_requests(request, claim.signed_headers, sha256 or payload.value):
            expected = sign(signing_key, string_to_sign(claim.timestamp, scope, canonical))
            if hmac.compare_digest(expected, claim.signature):  # both are hex digits
                seed = None
                if payload in SIGNED_CHUNKS:
                    seed = ChunkSeed(signing_key, claim.timestamp, scope, claim.signature)
                return Admission(self._identities[key.id], payload, sha256, seed)
        raise S3Error(
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. "
            "Check your key and signing method.",
        )

    def _signing_key(self, key: AccessKey, credential: _Credential) -> bytes:
        """Derived once a day and key: four HMACs saved on every request. Only known keys get here."""
        place = (key.id, credential.day)
        derived = self._derived.get(place)
        if derived is None:
            derived = derive_key(key.secret, credential.day, credential.region)
            self._derived[place] = derived
            if len(self._derived) > MAX_CACHED_KEYS:
                self._derived.popitem(last=False)
        return derived


def derive_key(secret: str, day: str, region: str, service: str = "s3") -> bytes:
    """The signing key of a secret for one day (yyyymmdd), region and service."""
    derived = b"AWS4" + secret.encode()
    for part in (day, region, service, "aws4_request"):
        derived = hmac.digest(derived, part.encode(), "sha256")
    return derived


def string_to_sign(timestamp: str, scope: str, canonical_request: bytes) -> bytes:
    digest = hashlib.sha256(canonical_request).hexdigest()
    return f"{ALGORITHM}\n{timestamp}\n{scope}\n{digest}".encode()


def sign(signing_key: bytes, text: bytes) -> str:
    """The hex signature of ``text``."""
    return hmac.digest(signing_key, text, "sha256").hex()


# ---------------------------------------------------------------- reading the claim


class _Begun(NamedTuple):
    """An Authorization header but for its signature."""

    credential: _Credential
    signed_headers: SignedHeaders


def _header_claim(request: Request, authorization: str) -> _Claim:
    """Usually the signature is the last of the fields, and what comes before it has been read already."""
    begin, _, signature = authorization.rpartition(_SIGNATURE)
    begun = _begun(begin)
    if begun is None or _SHA256.fullmatch(signature) is None:
        credential, names, signature = _fields(authorization)
        return _claim("AuthorizationHeaderMalformed", credential, _timestamp(request), names, signature)
    timestamp = _timestamp(request)
    _refuse_other_day("AuthorizationHeaderMalformed", begun.credential, timestamp)
    return _Claim(begun.credential, timestamp, begun.signed_headers, signature)


# A client sends the same credential and header names with every request of a day: all are read once.
@lru_cache(maxsize=64)
def _begun(text: str) -> _Begun | None:
    """None: it is not that, and what is wrong with it has to be said."""
    placeholder = "0" * 64
    try:
        credential, names, signature = _fields(f"{text}{_SIGNATURE}{placeholder}")
    except S3Error:
        return None
    found, signed = _credential(credential), _header_names(names)
    return None if found is None or signed is None or signature != placeholder else _Begun(found, signed)


def _fields(authorization: str) -> tuple[str, str, str]:
    """Credential, SignedHeaders and Signature."""
    scheme, _, rest = authorization.partition(" ")
    if scheme == "AWS":
        raise S3Error("AccessDenied", "Signature Version 2 is not supported; please use AWS4-HMAC-SHA256.")
    if scheme != ALGORITHM:
        raise S3Error("AccessDenied", "The authorization mechanism is not supported; please use AWS4-HMAC-SHA256.")
    fields: dict[str, str] = {}
    for piece in rest.split(","):
        name, _, value = piece.strip().partition("=")
        if name in fields:
            raise S3Error("AuthorizationHeaderMalformed", f"The authorization header repeats {name[:32]!r}.")
        fields[name] = value
    if not {"Credential", "SignedHeaders", "Signature"} <= fields.keys():
        raise S3Error(
            "AuthorizationHeaderMalformed",
            "The authorization header must have Credential, SignedHeaders and Signature.",
        )
    return fields["Credential"], fields["SignedHeaders"], fields["Signature"]


def _timestamp(request: Request) -> str:
    """x-amz-date, or Date in one of HTTP's forms, as ``yyyymmddThhmmssZ``."""
    stamp = request.header("x-amz-date") or request.header("date") or ""
    seconds = amz_date(stamp, None)
    if seconds is not None:
        return stamp
    compact = http_date(stamp)
    if compact is None:
        raise S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header.")
    return amz_stamp(compact)


def _query_claim(request: Request) -> _Claim:
    code = "AuthorizationQueryParametersError"
    query = request.query
    names = ("X-Amz-Credential", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Signature")
    found = [query.get(name) for name in names]
    credential, timestamp, signed_headers, signature = (value or "" for value in found)
    if not all(found) or query.get("X-Amz-Expires") is None:
        raise S3Error(
            code,
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, "
            "X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
        )
    if query.get("X-Amz-Algorithm") != ALGORITHM:
        raise S3Error(code, 'X-Amz-Algorithm only supports "AWS4-HMAC-SHA256".')
    if amz_date(timestamp, None) is None:
        raise S3Error(code, "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\".")
    return _claim(code, credential, timestamp, signed_headers, signature)


def _claim(code: str, credential: str, timestamp: str, signed_headers: str, signature: str) -> _Claim:
    found = _credential(credential)
    if found is None:
        raise S3Error(code, "The credential must be <access key>/<yyyymmdd>/<region>/s3/aws4_request.")
    _refuse_other_day(code, found, timestamp)
    names = _header_names(signed_headers)
    if names is None:
        raise S3Error(code, "SignedHeaders must be lower-case header names, sorted, separated by semicolons.")
    if _SHA256.fullmatch(signature) is None:
        raise S3Error(code, "The signature must be 64 lower-case hex digits.")
    return _Claim(found, timestamp, names, signature)


def _refuse_other_day(code: str, credential: _Credential, timestamp: str) -> None:
    if credential.day != timestamp[:8]:
        raise S3Error(code, "The date in the credential is not the date of the request.")


@lru_cache(maxsize=64)
def _credential(text: str) -> _Credential | None:
    match = _CREDENTIAL.fullmatch(text)
    if match is None:
        return None
    access_key_id, day, region = match["id"], match["day"], match["region"]
    return _Credential(access_key_id, day, region, f"{day}/{region}/s3/aws4_request")


@lru_cache(maxsize=64)
def _header_names(text: str) -> SignedHeaders | None:
    names = text.split(";")
    return SignedHeaders(text.encode()) if _NAMES.fullmatch(text) and names == sorted(set(names)) else None


def _refuse_token(request: Request) -> None:
    if b"x-amz-security-token" in request.headers or "X-Amz-Security-Token" in request.query:
        raise S3Error("InvalidToken", "Session tokens are not supported: use a key from the node's configuration.")


def _payload(request: Request, default: Payload | None) -> tuple[Payload, str | None]:
    """The payload mode, and the hex digest if the mode is SIGNED. ``default`` is for requests without the header."""
    text = request.header("x-amz-content-sha256")
    if text is None:
        if default is None:
            raise S3Error("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
        return default, None
    if _SHA256.fullmatch(text):
        return Payload.SIGNED, text
    if text != Payload.SIGNED.value and text in Payload._value2member_map_:
        return Payload(text), None
    raise S3Error(
        "InvalidArgument",
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, "
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, STREAMING-UNSIGNED-PAYLOAD-TRAILER or a valid sha256 value.",
    )
