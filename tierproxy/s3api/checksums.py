"""What a body must hash to: Content-MD5, x-amz-content-sha256 and the x-amz-checksum-* family, at once as it passes.

Source: "Checking object integrity" in the Amazon S3 User Guide. The MD5 is always computed: it is the ETag. MD5 and
SHA-1 are S3's protocol here, not protection against anybody.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from awscrt import checksums as crt

from tierproxy.errors import BadBody
from tierproxy.s3api.faults import S3Error
from tierproxy.s3api.request import Request

ALGORITHMS = ("crc32", "crc32c", "crc64nvme", "sha1", "sha256")
PREFIX = "x-amz-checksum-"
DIGEST_BYTES = {"crc32": 4, "crc32c": 4, "crc64nvme": 8, "sha1": 20, "sha256": 32}
COMPOSITE = "COMPOSITE"
FULL_OBJECT = "FULL_OBJECT"

Buffer = bytes | bytearray | memoryview


class Digest(Protocol):
    """What hashlib's objects and ``Crc`` have in common."""

    def update(self, data: Buffer, /) -> None: ...

    def digest(self) -> bytes: ...


class Crc:
    """A cyclic redundancy check with the face of a hash."""

    def __init__(self, step: Callable[[Buffer, int], int], size: int) -> None:
        self._step = step
        self._size = size
        self._value = 0

    def update(self, data: Buffer, /) -> None:
        self._value = self._step(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size, "big")


def digest_of(algorithm: str) -> Digest:
    """A fresh digest for one of ALGORITHMS."""
    match algorithm:
        case "crc32":
            return Crc(zlib.crc32, 4)
        case "crc32c":
            return Crc(crt.crc32c, 4)
        case "crc64nvme":
            return Crc(crt.crc64nvme, 8)
        case "sha1":
            return hashlib.sha1(usedforsecurity=False)
        case "sha256":
            return hashlib.sha256()
    raise ValueError(algorithm)


def encode(digest: bytes) -> str:
    """Base64, as S3 writes digests."""
    return base64.b64encode(digest).decode()


def decode(text: str, size: int) -> bytes | None:
    """The digest of ``size`` bytes in base64; None if it is not one."""
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == size else None


class ContentCheck:
    """``tierproxy.ports.BodyCheck`` for a request's body."""

    def __init__(
        self,
        *,
        size: int | None = None,
        md5: bytes | None = None,
        sha256: str | None = None,
        expected: Mapping[str, str] | None = None,
        trailing: Iterable[str] = (),
        also: Iterable[str] = (),
    ) -> None:
        """``size``, ``md5`` (16 bytes), ``sha256`` (hex) and ``expected`` (algorithm to base64) are what was declared;
        ``trailing`` are algorithms whose value ``expect`` will tell; ``also`` are computed without being declared."""
        self._size = size
        self._declared_md5 = md5
        self._declared_sha256 = sha256
        self._expected: dict[str, bytes] = {}
        self._trailing = frozenset(trailing)
        self._md5 = hashlib.md5(usedforsecurity=False)
        reported = dict.fromkeys((*(expected or {}), *self._trailing, *also))
        self._reported = {algorithm: digest_of(algorithm) for algorithm in reported}
        self._sha256 = self._reported.get("sha256") or (hashlib.sha256() if sha256 else None)
        self._all: list[Digest] = [self._md5, *self._reported.values()]
        if self._sha256 is not None and "sha256" not in self._reported:
            self._all.append(self._sha256)
        for algorithm, value in (expected or {}).items():
            self.expect(algorithm, value)

    def expect(self, algorithm: str, value: str) -> None:
        """The base64 value a trailer declares. Raises BadBody (InvalidRequest) when it cannot be one."""
        digest = decode(value, DIGEST_BYTES[algorithm])
        if digest is None:
            raise BadBody(f"Value for {PREFIX}{algorithm} is invalid.", code="InvalidRequest")
        if algorithm not in self._reported:
            raise BadBody(f"The trailer {PREFIX}{algorithm} was not announced.", code="MalformedTrailerError")
        self._expected[algorithm] = digest

    def update(self, data: Buffer) -> None:
        for digest in self._all:
            digest.update(data)

    def verify(self, size: int) -> None:
        """Raises BadBody: IncompleteBody, BadDigest, XAmzContentSHA256Mismatch, MalformedTrailerError."""
        if self._size is not None and size != self._size:
            raise BadBody(f"The body has {size} bytes, {self._size} were declared.", code="IncompleteBody")
        if self._declared_md5 is not None and self._md5.digest() != self._declared_md5:
            raise BadBody("The Content-MD5 you specified did not match what we received.", code="BadDigest")
        if self._declared_sha256 and self._sha256 and self._sha256.digest().hex() != self._declared_sha256:
            raise BadBody(
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
                code="XAmzContentSHA256Mismatch",
            )
        self._verify_checksums()

    def _verify_checksums(self) -> None:
        for algorithm in sorted(self._trailing):
            if algorithm not in self._expected:
                raise BadBody(f"The trailer {PREFIX}{algorithm} is missing.", code="MalformedTrailerError")
        for algorithm, digest in self._expected.items():
            if self._reported[algorithm].digest() != digest:
                raise BadBody(
                    f"The {algorithm.upper()} you specified did not match the calculated checksum.", code="BadDigest"
                )

    def etag(self) -> str:
        return self._md5.hexdigest()

    def checksums(self) -> dict[str, str]:
        return {algorithm: encode(digest.digest()) for algorithm, digest in self._reported.items()}


# ---------------------------------------------------------------- from a request


def content_check(
    request: Request, *, size: int | None, sha256: str | None = None, also: Iterable[str] = ()
) -> ContentCheck:
    """The check a request's headers ask for. ``size`` is the decoded length, ``sha256`` the signed hex digest,
    ``also`` algorithms to compute without being asked (a multipart upload's own).

    Raises S3Error: InvalidDigest, InvalidRequest.
    """
    expected = declared_checksums(request)
    trailing = trailing_algorithms(request)
    if len(expected) + len(trailing) > 1:
        raise S3Error(
            "InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksums are not allowed."
        )
    named = _named_algorithm(request)
    if named is not None and named not in {*expected, *trailing}:
        raise S3Error(
            "InvalidRequest",
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers "
            "were found.",
        )
    return ContentCheck(
        size=size, md5=_declared_md5(request), sha256=sha256, expected=expected, trailing=trailing, also=also
    )


def declared_checksums(request: Request) -> dict[str, str]:
    """The values of x-amz-checksum-<algorithm> headers by algorithm. Raises S3Error InvalidRequest."""
    found: dict[str, str] = {}
    for algorithm in ALGORITHMS:
        value = request.header(PREFIX + algorithm)
        if value is not None:
            if decode(value, DIGEST_BYTES[algorithm]) is None:
                raise S3Error("InvalidRequest", f"Value for {PREFIX}{algorithm} header is invalid.")
            found[algorithm] = value
    return found


def trailing_algorithms(request: Request) -> tuple[str, ...]:
    """The algorithms whose values x-amz-trailer announces. Raises S3Error InvalidRequest for any other trailer."""
    announced = request.header("x-amz-trailer")
    if announced is None:
        return ()
    names = [name.strip().lower() for name in announced.split(",")]
    for name in names:
        if not name.startswith(PREFIX) or name.removeprefix(PREFIX) not in DIGEST_BYTES:
            raise S3Error("InvalidRequest", "The value specified in the x-amz-trailer header is not supported.")
    return tuple(dict.fromkeys(name.removeprefix(PREFIX) for name in names))


def parse_algorithm(text: str) -> str:
    """``CRC32C`` -> ``crc32c``. Raises S3Error InvalidRequest."""
    algorithm = text.strip().lower()
    if algorithm not in DIGEST_BYTES:
        raise S3Error("InvalidRequest", "Checksum algorithm provided is unsupported. Please try again.")
    return algorithm


def _named_algorithm(request: Request) -> str | None:
    text = request.header("x-amz-sdk-checksum-algorithm")
    if text is None or text.strip().lower() == "md5":
        return None
    return parse_algorithm(text)


def _declared_md5(request: Request) -> bytes | None:
    text = request.header("content-md5")
    if text is None:
        return None
    digest = decode(text, 16)
    if digest is None:
        raise S3Error("InvalidDigest", "The Content-MD5 you specified is not valid.")
    return digest


# ---------------------------------------------------------------- of multipart uploads


def composite(algorithm: str, parts: Sequence[str]) -> str:
    """The COMPOSITE checksum of parts' base64 checksums: that of their concatenated digests, ``-`` and their count."""
    digest = digest_of(algorithm)
    for value in parts:
        digest.update(base64.b64decode(value))
    return f"{encode(digest.digest())}-{len(parts)}"


_COMBINE: dict[str, Callable[[int, int, int], int]] = {
    "crc32": crt.combine_crc32,
    "crc32c": crt.combine_crc32c,
    "crc64nvme": crt.combine_crc64nvme,
}


def full_object(algorithm: str, parts: Sequence[tuple[str, int]]) -> str | None:
    """The FULL_OBJECT checksum from parts' (base64 checksum, size), exactly; None for the SHAs: they do not combine."""
    combine = _COMBINE.get(algorithm)
    if combine is None:
        return None
    whole = 0
    for value, size in parts:
        whole = combine(whole, int.from_bytes(base64.b64decode(value), "big"), size)
    return encode(whole.to_bytes(DIGEST_BYTES[algorithm], "big"))


def multipart_type(algorithm: str, asked: str | None) -> str:
    """FULL_OBJECT or COMPOSITE for an upload: as asked, or S3's default. Raises S3Error InvalidRequest."""
    kind = (asked or "").strip().upper() or (FULL_OBJECT if algorithm == "crc64nvme" else COMPOSITE)
    allowed = {"crc64nvme": {FULL_OBJECT}, "sha1": {COMPOSITE}, "sha256": {COMPOSITE}}
    if kind not in allowed.get(algorithm, {FULL_OBJECT, COMPOSITE}):
        raise S3Error("InvalidRequest", f"The {kind[:32]} checksum type cannot be used with {algorithm}.")
    return kind
