"""AWS Signature Version 4 in header form, for clients that sign each of many requests.

Nothing but hashing. boto3 builds, validates and signs each request anew, and takes more CPU for that than the proxy
takes to answer: on one machine most of a load test would measure boto3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from urllib.parse import quote, urlencode

from tierproxy.s3api.auth import ALGORITHM, derive_key, sign, string_to_sign
from tierproxy.s3api.dates import amz_stamp

REGION = "us-east-1"
NAMES = "host;x-amz-content-sha256;x-amz-date"
EMPTY = hashlib.sha256(b"").hexdigest()


class Signer:
    """One access key's signatures. The key of a day is derived once."""

    def __init__(self, access_key_id: str, secret: str, region: str = REGION) -> None:
        self._id = access_key_id
        self._secret = secret
        self._region = region
        self._day = ""
        self._key = b""

    def headers(
        self, method: str, host: str, path: str, at: float, query: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> dict[str, str]:  # fmt: skip
        """The headers of a request at ``at`` (seconds since the epoch). ``path``: as it is sent."""
        stamp, digest = amz_stamp(at), hashlib.sha256(body).hexdigest() if body else EMPTY
        if stamp[:8] != self._day:
            self._day, self._key = stamp[:8], derive_key(self._secret, stamp[:8], self._region)
        lines = f"host:{host}\nx-amz-content-sha256:{digest}\nx-amz-date:{stamp}\n"
        canonical = f"{method}\n{path}\n{query_text(query or {})}\n{lines}\n{NAMES}\n{digest}"
        scope = f"{self._day}/{self._region}/s3/aws4_request"
        signature = sign(self._key, string_to_sign(stamp, scope, canonical.encode()))
        credential = f"{ALGORITHM} Credential={self._id}/{scope}, SignedHeaders={NAMES}, Signature={signature}"
        return {"host": host, "x-amz-date": stamp, "x-amz-content-sha256": digest, "authorization": credential}


def query_text(query: Mapping[str, str]) -> str:
    """``query`` as it is sent and signed: sorted and percent-encoded."""
    return urlencode(sorted(query.items()), quote_via=quote, safe="")
