"""Requests that the parser takes and that a program between client and node may have read as others (RFC 9112, 11.2).

The parser itself refuses most of them: two lengths, a length beside chunks, odd line ends, blanks before a colon.
"""

from __future__ import annotations

from collections.abc import Sequence

VERSIONS = frozenset({"1.0", "1.1"})
"""Of HTTP. The parser takes 0.9 and 2.0 as well, with heads like these, which no client means."""
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


def doubt(version: str, method: bytes, url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> str:
    """Why a request is not answered; "" for one that is. Behind the head of CONNECT the parser sees no body: what was
    sent as one would be read as the next request."""
    if version not in VERSIONS:
        return f"HTTP/{version}"
    if method == b"CONNECT":
        return "this is no proxy for connections"
    if any(name == b"transfer-encoding" and value.lower() != b"chunked" for name, value in headers):
        return "a transfer coding that is not undone here"
    if not url.startswith(b"/") and not _names_its_host(url, headers):
        return "the request target and Host name different hosts"
    return ""


def hides_body(method: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Of a head with an Upgrade: the parser sees no body behind it, and there is one."""
    return method != b"CONNECT" and any(name in _FRAMING and value != b"0" for name, value in headers)


def without_upgrade(method: bytes, url: bytes, version: str, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The same head for the same parser, which has checked each of its parts."""
    lines = [b"%b %b HTTP/%b" % (method, url, version.encode())]
    lines += [b"%b: %b" % header for header in headers if header[0] != b"upgrade"]
    return b"\r\n".join([*lines, b"", b""])


def _names_its_host(url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """In absolute form the target says the host, and Host must say the same (RFC 9112 3.2.2). "*" names none."""
    authority = url.partition(b"://")[2].partition(b"/")[0].partition(b"?")[0].lower()
    return not authority or [value.lower() for name, value in headers if name == b"host"] == [authority]
