"""Signature Version 4 on the sender's side. The other side of ``tierproxy.s3api.auth``, and made of the same parts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from tierproxy.ports import Clock
from tierproxy.s3api.auth import ALGORITHM, derive_key, sign, string_to_sign
from tierproxy.s3api.dates import amz_stamp

Fields = list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access key of the node. ``repr`` does not show the secret."""

    id: str
    secret: str
    region: str = "us-east-1"

    def __repr__(self) -> str:
        return f"<Credentials {self.id}>"


def target_of(path: str, query: Iterable[tuple[str, str]] = ()) -> tuple[str, str]:
    """Path and query as they are sent, which is the notation that is signed: whatever is not unreserved (RFC 3986) is
    percent-encoded, slashes of the path are kept, parameters are sorted."""
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in query)
    return quote(path, safe="/-_.~"), "&".join(f"{name}={value}" for name, value in pairs)


class Signer:
    """Signs requests with one access key. The key of the day is derived once a day."""

    def __init__(self, credentials: Credentials, clock: Clock) -> None:
        self._credentials = credentials
        self._clock = clock
        self._derived = ("", b"")

    def __repr__(self) -> str:
        return f"<Signer {self._credentials.id}>"

    def signed(self, method: str, path: str, query: str, fields: Fields, payload: str) -> Fields:
        """``fields`` (lower-case names, ``host`` among them) and those that sign them. ``path`` and ``query``:
        ``target_of``. ``payload``: the hex SHA-256 of the body, or UNSIGNED-PAYLOAD.

        Signed are ``host`` and everything that begins with ``x-amz-``, as S3 asks for: the rest may be changed on the
        way without changing what is done.
        """
        stamp = amz_stamp(self._clock.now())
        dated = [*fields, ("x-amz-content-sha256", payload.encode()), ("x-amz-date", stamp.encode())]
        covered = sorted((name, value) for name, value in dated if name == "host" or name.startswith("x-amz-"))
        names = ";".join(name for name, _ in covered)
        lines = b"".join(name.encode() + b":" + b" ".join(value.split()) + b"\n" for name, value in covered)
        canonical = b"\n".join(
            [method.encode(), path.encode(), query.encode(), lines, names.encode(), payload.encode()]
        )  # fmt: skip
        scope = f"{stamp[:8]}/{self._credentials.region}/s3/aws4_request"
        signature = sign(self._key(stamp[:8]), string_to_sign(stamp, scope, canonical))
        credential = f"Credential={self._credentials.id}/{scope}"
        dated.append(
            ("authorization", f"{ALGORITHM} {credential}, SignedHeaders={names}, Signature={signature}".encode())
        )
        return dated

    def _key(self, day: str) -> bytes:
        if self._derived[0] != day:
            self._derived = (day, derive_key(self._credentials.secret, day, self._credentials.region))
        return self._derived[1]
