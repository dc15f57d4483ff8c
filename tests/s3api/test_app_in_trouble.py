"""What a client is told when the tiers below are in trouble: the contract's table, at the port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import (
    BucketSection,
    DiskSection,
    FillSection,
    ListenSection,
    MemorySection,
    WriteSection,
)
from tierproxy.config.values import Size
from tierproxy.errors import AltRefused, AltUnavailable
from tierproxy.model import FillPolicy, OnAltDown
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.auth import Open
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.probe import Ending, Probe
from tierproxy.testing.rig import Rig, rig

MAIL = b"From: ann@example.org\r\n\r\nHelo\r\n"
BIG = bytes(range(256)) * 40_000
REFUSE = WriteSection(on_alt_down=OnAltDown.REFUSE)


@asynccontextmanager
async def served(root: Path, **sections: Any) -> AsyncIterator[tuple[Probe, Rig, FaultyAlt]]:
    alt = FaultyAlt(MemoryAlt())
    async with rig(root, alt=alt, **sections) as node:
        yield Probe(ObjectApp(node.parts.store, Open(), ListenSection(auth="none"), node.parts.clock)), node, alt
        alt.heal()


async def test_with_alt_down_what_is_on_disk_is_served_and_what_is_not_is_503(tmp_path: Path) -> None:
    async with served(tmp_path, memory=MemorySection(max_bytes=Size(0))) as (probe, node, alt):
        await probe.put("/mail/near", MAIL)
        await probe.put("/mail/far", MAIL)
        await node.purge("far")
        alt.down()
        near = await probe.get("/mail/near")
        assert (near.status, near.body, near.headers["x-tierproxy-tier"]) == (200, MAIL, "disk")
        far = await probe.get("/mail/far")
        assert (far.status, far.code) == (503, "ServiceUnavailable")
        assert int(far.headers["retry-after"]) > 0
        assert (await probe.head("/mail/far")).status in {200, 503}
        assert (await probe.get("/mail/none")).status in {404, 503}


async def test_with_alt_down_a_write_is_queued_and_says_so(tmp_path: Path) -> None:
    async with served(tmp_path) as (probe, node, alt):
        alt.down()
        queued = await probe.put("/mail/1", MAIL)
        assert (queued.status, queued.headers["x-tierproxy-tiers"]) == (200, "disk")
        assert (await probe.get("/mail/1")).body == MAIL
        assert (await probe.delete("/mail/1")).status == 204
        assert (await probe.get("/mail/1")).code == "NoSuchKey"
        alt.heal()
        await node.drained_now()


async def test_with_alt_down_a_write_is_refused_if_so_configured(tmp_path: Path) -> None:
    async with served(tmp_path, write=REFUSE) as (probe, _, alt):
        alt.down()
        refused = await probe.put("/mail/1", MAIL)
        assert (refused.status, refused.code) == (503, "ServiceUnavailable")
        alt.heal()
        assert (await probe.get("/mail/1")).code == "NoSuchKey"


@pytest.mark.parametrize(("error", "status"), [(AltUnavailable(), 503), (AltRefused(), 502)])
async def test_a_miss_that_alt_does_not_serve_is_no_404(tmp_path: Path, error: Exception, status: int) -> None:
    async with served(tmp_path) as (probe, node, alt):
        await probe.put("/mail/1", MAIL)
        await node.purge()
        alt.fail("get", error)
        answer = await probe.get("/mail/1")
        assert answer.status == status
        assert answer.text("Hint")


@pytest.mark.parametrize("policy", [FillPolicy.ALWAYS, FillPolicy.NEVER])
async def test_a_body_that_alt_breaks_off_is_cut_and_nothing_of_it_is_kept(tmp_path: Path, policy: FillPolicy) -> None:
    never_at_once = FillSection(policy=policy, coalesce_limit=Size(0))
    async with served(tmp_path, fill=never_at_once, memory=MemorySection(max_bytes=Size(0))) as (probe, node, alt):
        await probe.put("/mail/1", BIG)
        await node.purge()
        alt.cut_body(AltUnavailable(), chunk=3)
        answer = await probe.get("/mail/1")
        assert answer.ending is Ending.CUT or answer.status == 503
        assert len(answer.body) < len(BIG)
        await node.idle()
        assert (await probe.get("/mail/1")).body == BIG
        await node.idle()


async def test_a_reader_that_leaves_does_not_stop_the_fill(tmp_path: Path) -> None:
    async with served(tmp_path, memory=MemorySection(max_bytes=Size(0))) as (probe, node, _):
        await probe.put("/mail/1", BIG)
        await node.purge()
        async with probe.call("GET", "/mail/1", hold=True) as call:
            await call.started()
            call.leave()
            await call.ended()
        await node.idle()
        again = await probe.get("/mail/1")
        assert (again.body, again.headers["x-tierproxy-tier"]) == (BIG, "disk")


async def test_many_readers_of_a_cold_object_cost_one_get(tmp_path: Path) -> None:
    async with served(tmp_path, memory=MemorySection(max_bytes=Size(0))) as (probe, node, alt):
        await probe.put("/mail/1", MAIL * 10_000)
        await node.purge()
        answers = await asyncio.gather(*(probe.get("/mail/1") for _ in range(100)))
        assert {answer.body for answer in answers} == {MAIL * 10_000}
        assert alt.calls["get"] == 1
        await node.idle()


async def test_a_full_disk_is_507_for_ack_disk_and_alt_alone_for_ack_both(tmp_path: Path) -> None:
    tiny = DiskSection(max_bytes=Size(8192), hard_limit=1.0)
    bucket = (BucketSection(name="mail"),)
    async with served(tmp_path, disk=tiny, bucket=bucket) as (probe, _, _):
        full = await probe.put("/mail/1", BIG, {"x-tierproxy-ack": "disk"})
        assert (full.status, full.code) == (507, "InsufficientStorage")
        both = await probe.put("/mail/2", BIG)
        assert (both.status, both.headers["x-tierproxy-tiers"]) == (200, "alt")
        passed = await probe.get("/mail/2")
        assert (passed.body, passed.headers["x-tierproxy-fill"]) == (BIG, "pass")
