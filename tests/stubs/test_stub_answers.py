"""Stubs over HTTP: what the object port answers, as docs/mount-extension.md says."""

from __future__ import annotations

import base64
import hashlib
import random
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import ListenSection, MemorySection, StubsSection
from tierproxy.config.values import Size
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.auth import Open
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.probe import Probe
from tierproxy.testing.rig import Rig, rig

MAIL = random.Random(3).randbytes(40_000)
ETAG = f'"{hashlib.md5(MAIL).hexdigest()}"'
ACCEPT = {"x-tierproxy-accept": "stub"}
HEADERS = {
    "content-type": "message/rfc822",
    "x-amz-meta-from": "ann",
    "x-amz-checksum-crc32": base64.b64encode(zlib.crc32(MAIL).to_bytes(4, "big")).decode(),
}


@asynccontextmanager
async def served(root: Path, *, purge: bool = True) -> AsyncIterator[tuple[Probe, Rig, FaultyAlt]]:
    """One mail, purged."""
    alt, memory = FaultyAlt(MemoryAlt()), MemorySection(max_bytes=Size(0))
    async with rig(root, alt=alt, stubs=StubsSection(), memory=memory) as node:
        probe = Probe(ObjectApp(node.parts.store, Open(), ListenSection(auth="none"), node.parts.clock))
        assert (await probe.put("/mail/u.1", MAIL, HEADERS)).status == 200
        if purge:
            await node.purge()
        yield probe, node, alt


async def test_who_accepts_a_stub_gets_head_and_tail_and_no_checksum_of_the_whole(tmp_path: Path) -> None:
    async with served(tmp_path) as (probe, _, alt):
        before = dict(alt.calls)
        for value in ("stub", " Stub "):
            got = await probe.get("/mail/u.1", {"x-tierproxy-accept": value, "x-amz-checksum-mode": "ENABLED"})
            assert (got.status, got.body) == (200, MAIL[:8192] + MAIL[-1024:])
            assert got.headers["content-length"] == str(8192 + 1024)
            assert got.headers["x-tierproxy-stub"] == "size=40000; head=8192; tail=1024"
            assert got.headers["x-tierproxy-tier"] == "stub"
            assert got.headers["x-tierproxy-fill"] == "stub"
            assert (got.headers["etag"], got.headers["x-amz-meta-from"]) == (ETAG, "ann")
            assert got.headers["server-timing"].startswith("stub;dur=")
            assert "x-amz-checksum-crc32" not in got.headers
        assert dict(alt.calls) == before


async def test_who_does_not_gets_the_whole(tmp_path: Path) -> None:
    async with served(tmp_path) as (probe, _, _):
        got = await probe.get("/mail/u.1", {"x-tierproxy-accept": "something else"})
        assert (got.status, got.body) == (200, MAIL)
        assert (got.headers["x-tierproxy-tier"], got.headers["x-tierproxy-fill"]) == ("alt", "fill")
        assert "x-tierproxy-stub" not in got.headers


async def test_a_body_on_disk_is_served_to_those_who_would_take_less(tmp_path: Path) -> None:
    async with served(tmp_path, purge=False) as (probe, _, _):
        got = await probe.get("/mail/u.1", ACCEPT)
        assert (got.status, got.body, got.headers["x-tierproxy-tier"]) == (200, MAIL, "disk")
        assert "x-tierproxy-stub" not in got.headers


@pytest.mark.parametrize(
    ("range", "expected"),
    [
        ("bytes=0-8191", MAIL[:8192]),
        ("bytes=-1024", MAIL[-1024:]),
        ("bytes=39000-", MAIL[39000:]),
        ("bytes=5-5", MAIL[5:6]),
    ],
)
@pytest.mark.parametrize("accept", [{}, ACCEPT], ids=["any client", "the mount"])
async def test_any_client_gets_a_range_inside_while_alt_is_down(
    range: str, expected: bytes, accept: dict[str, str], tmp_path: Path
) -> None:
    async with served(tmp_path) as (probe, _, alt):
        alt.down()
        got = await probe.get("/mail/u.1", {"range": range, **accept})
        assert (got.status, got.body, got.headers["x-tierproxy-tier"]) == (206, expected, "stub")
        start = MAIL.index(expected) if len(expected) > 1 else 5
        assert got.headers["content-range"] == f"bytes {start}-{start + len(expected) - 1}/40000"
        assert "x-tierproxy-stub" not in got.headers
        assert (await probe.get("/mail/u.1", {"range": "bytes=0-8192"})).status == 503
        assert (await probe.get("/mail/u.1")).status == 503
        alt.heal()


async def test_conditions_and_unsatisfiable_ranges_are_answered_as_ever(tmp_path: Path) -> None:
    async with served(tmp_path) as (probe, _, alt):
        before = dict(alt.calls)
        for extra in ({"range": "bytes=0-9"}, ACCEPT):
            assert (await probe.get("/mail/u.1", {"if-match": '"other"', **extra})).status == 412
            assert (await probe.get("/mail/u.1", {"if-none-match": ETAG, **extra})).status == 304
            assert (await probe.get("/mail/u.1", {"if-match": ETAG, **extra})).headers["x-tierproxy-tier"] == "stub"
        assert (await probe.get("/mail/u.1", {"range": "bytes=50000-"})).code == "InvalidRange"
        assert (await probe.get("/mail/u.1", {"range": "bytes=0-9", "if-range": ETAG})).status == 206
        assert dict(alt.calls) == before
        stale = await probe.get("/mail/u.1", {"range": "bytes=0-9", "if-range": '"other"'})
        assert (stale.status, stale.body) == (200, MAIL)


async def test_head_tells_of_the_object_and_not_of_the_stub(tmp_path: Path) -> None:
    async with served(tmp_path) as (probe, _, alt):
        before = dict(alt.calls)
        got = await probe.head("/mail/u.1", ACCEPT)
        assert (got.status, got.headers["content-length"]) == (200, "40000")
        assert got.headers["x-tierproxy-tiers"] == "alt"
        assert dict(alt.calls) == before
