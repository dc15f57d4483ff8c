"""The traceparent of a request (W3C Trace Context, Recommendation of 2021-11-23, section 3.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable

HEADER = b"traceparent"
STATE = b"tracestate"
_PARTS = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")
_NO_TRACE, _NO_PARENT = b"0" * 32, b"0" * 16


def trace_id_of(value: bytes | None) -> str:
    """The trace id in a traceparent header; "" for one that is not valid, which is to be ignored (3.2.2.5 and 4.3).
    Later versions may add parts behind the flags, version 00 has none (3.2.4)."""
    found = None if value is None else _PARTS.fullmatch(value)
    if found is None:
        return ""
    version, trace, parent, more = found.groups()
    if version == b"ff" or trace == _NO_TRACE or parent == _NO_PARENT or (version == b"00" and more):
        return ""
    return trace.decode()


def carrier_of(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The headers of the trace; none, unless the traceparent is valid. Several tracestates are one list (3.3.1.1)."""
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        if name in {HEADER, STATE}:
            found.setdefault(name, []).append(value)
    if not trace_id_of(b",".join(found.get(HEADER, ()))):
        return {}
    return {name.decode(): b",".join(values).decode("latin-1") for name, values in found.items()}
