"""The line of the access log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tierproxy.s3api.exchange import Exchange, HeaderList
from tierproxy.s3api.request import Request, text_of

TIER, FILL = b"x-tierproxy-tier", b"x-tierproxy-fill"
REASON, AGENT = b"x-tierproxy-reason", b"user-agent"


def access_line(scope: Mapping[str, Any], exchange: Exchange, seconds: float) -> dict[str, Any]:
    """Who asked for what and what became of it. The query is left out: it may hold a signature. ``reason`` is the
    request's own word; ``tier`` and ``fill`` are there for objects that were read; ``received`` and ``sent`` are bytes
    of bodies."""
    request = exchange.request
    line: dict[str, Any] = {
        "client": exchange.peer,
        "access_key": exchange.access_key,
        "method": scope["method"],
        "path": scope["raw_path"].decode("latin-1"),
    }
    if request is not None:
        line |= {"operation": exchange.operation, "bucket": request.bucket, "key": request.key}
    line |= {"status": exchange.status, "received": exchange.received, "sent": exchange.sent}
    line |= _origin(exchange.headers)
    line["ms"] = round(seconds * 1000, 2)
    return line if request is None else line | _said(request)


def _origin(headers: HeaderList) -> dict[str, str]:
    """Where an object came from, and whether the read left a copy."""
    words = {TIER: "tier", FILL: "fill"}
    return {words[name]: value.decode() for name, value in headers if name in words}


def _said(request: Request) -> dict[str, str]:
    """What the request says of itself."""
    words = {"reason": request.headers.get(REASON), "agent": request.headers.get(AGENT)}
    return {word: text_of(value) for word, value in words.items() if value}


def spanned(line: Mapping[str, Any]) -> dict[str, str | int]:
    """``line`` in the names of OpenTelemetry's semantic conventions for HTTP servers and S3, as far as they have any;
    for ``Span.note``."""
    names = {
        "client": "client_address", "method": "http_request_method", "status": "http_response_status__code",
        "bucket": "aws_s3_bucket", "key": "aws_s3_key", "received": "http_request_body_size",
        "sent": "http_response_body_size", "tier": "tierproxy_tier", "fill": "tierproxy_fill",
        "reason": "tierproxy_reason",
    }  # fmt: skip
    return {attribute: line[name] for name, attribute in names.items() if line.get(name, "") != ""}
