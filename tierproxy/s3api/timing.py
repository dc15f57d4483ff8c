"""Where an answer came from and what it cost: the x-tierproxy-* headers and Server-Timing."""

from __future__ import annotations

from collections.abc import Mapping

from tierproxy.model import Entry
from tierproxy.s3api.exchange import HeaderList
from tierproxy.store.calls import Reading, Written


def reading_headers(reading: Reading) -> HeaderList:
    """Of a GET: the tier that answered, who holds the object, and what a miss left behind."""
    headers = [
        (b"x-tierproxy-tier", reading.tier.value.encode()),
        tiers_header(reading.entry),
        (b"x-tierproxy-fill", reading.fill.encode()),
    ]
    if reading.timings:
        headers.append((b"server-timing", server_timing(reading.timings)))
    return headers


def written_headers(written: Written) -> HeaderList:
    """Of a write: who holds the object now."""
    headers = [tiers_header(written.entry)]
    if written.timings:
        headers.append((b"server-timing", server_timing(written.timings)))
    return headers


def tiers_header(entry: Entry) -> tuple[bytes, bytes]:
    return b"x-tierproxy-tiers", ",".join(entry.tiers).encode()


def server_timing(timings: Mapping[str, float]) -> bytes:
    """``disk;dur=0.31, alt-first-byte;dur=12.40`` (W3C Server Timing; milliseconds)."""
    return ", ".join(f"{phase};dur={spent:.2f}" for phase, spent in timings.items()).encode()
