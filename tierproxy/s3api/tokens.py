"""Continuation tokens: a position in a listing, opaque to clients."""

from __future__ import annotations

import base64
import binascii

from tierproxy.s3api.faults import S3Error

_FORM = b"1"  #: first byte of every token, for the day their content changes


def write_token(after: str) -> str:
    """The token that continues after the key ``after``."""
    return base64.urlsafe_b64encode(_FORM + after.encode()).decode()


def read_token(token: str | None) -> str:
    """The key a token stands for; "" without one. Raises S3Error InvalidArgument."""
    if token is None:
        return ""
    try:
        raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        if not raw.startswith(_FORM):
            raise ValueError(token)
        return raw[1:].decode()
    except (binascii.Error, ValueError):
        raise S3Error("InvalidArgument", "The continuation token provided is incorrect.") from None
