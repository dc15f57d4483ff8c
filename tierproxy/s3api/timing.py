"""Where an answer came from and what it cost: the x-tierproxy-* headers and Server-Timing."""

from __future__ import annotations

from collections.abc import Mapping

from tierproxy.model import Entry, Stub, Tier
from tierproxy.s3api.exchange import HeaderList
from tierproxy.store.calls import Reading, Written

_TIERS = {tier: (b"x-tierproxy-tier", tier.encode()) for tier in Tier}
_FILLS = {fill: (b"x-tierproxy-fill", fill.encode()) for fill in ("hit", "fill", "pass", "stub")}
_HOLDERS: dict[tuple[str, ...], tuple[bytes, bytes]] = {
    tiers: (b"x-tierproxy-tiers", ",".join(tiers).encode()) for tiers in ((), ("disk",), ("alt",), ("disk", "alt"))
}


def reading_headers(reading: Reading) -> HeaderList:
    """Of a GET: the tier that answered, who holds the object, and what a miss left behind."""
    headers = origin_headers(reading.tier, reading.entry, reading.fill)
    if reading.stub is not None:
        headers.append((b"x-tierproxy-stub", _lengths(reading.stub)))
    if reading.timings:
        headers.append((b"server-timing", server_timing(reading.timings)))
    return headers


def origin_headers(tier: Tier, entry: Entry, fill: str = "hit") -> HeaderList:
    """Without what it cost."""
    return [_TIERS[tier], tiers_header(entry), _FILLS[fill]]


def _lengths(stub: Stub) -> bytes:
    return b"size=%d; head=%d; tail=%d" % (stub.size, len(stub.head), len(stub.tail))


def written_headers(written: Written) -> HeaderList:
    """Of a write: who holds the object now."""
    headers = [tiers_header(written.entry)]
    if written.timings:
        headers.append((b"server-timing", server_timing(written.timings)))
    return headers


def tiers_header(entry: Entry) -> tuple[bytes, bytes]:
    return _HOLDERS[entry.tiers]


def server_timing(timings: Mapping[str, float]) -> bytes:
    """``disk;dur=0.31, alt-first-byte;dur=12.40`` (W3C Server Timing; milliseconds)."""
    return ", ".join(f"{phase};dur={spent:.2f}" for phase, spent in timings.items()).encode()
