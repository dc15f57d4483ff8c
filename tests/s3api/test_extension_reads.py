"""Reads that were served beside the node, told by who served them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tierproxy.testing.clock import EPOCH
from tierproxy.testing.probe import Probe
from tierproxy.testing.rig import Rig

from .test_extension import document, served

AT = EPOCH - 60.0
WRONG: list[dict[str, Any]] = [
    {"key": 1}, {"size": -1}, {"times": "2"}, {"sent": 1.5}, {"at": "soon"}, {"at": float("nan")},
    {"reason": "because"},
    {"owner": 7}, {"times": 2**70},
]  # fmt: skip


def line(**said: Any) -> bytes:
    usual = {"key": "u.1", "size": 5, "reason": "", "times": 1, "sent": 5, "at": AT, "ranged": False}
    return json.dumps(usual | {"owner": None, "folder": None} | said).encode() + b"\n"


async def tell(probe: Probe, *lines: bytes) -> int:
    answer = await probe.request("POST", "/mail?tierproxy-reads", b"".join(lines))
    return int(document(answer)["taken"])


async def counted(node: Rig, key: str) -> tuple[int, float | None]:
    await node.parts.tally.flush()
    row = node.row(key)
    assert row is not None
    return row.reads, row.last_read_at


async def test_people_and_machines_are_counted_apart(tmp_path: Path) -> None:
    async with served(tmp_path) as (probe, node):
        await node.put("u.1", b"hello")
        assert await tell(probe, line(times=3, sent=15), line(reason="index", at=AT + 9)) == 2
        assert await counted(node, "u.1") == (3, AT)
        assert node.parts.counters.delivered


async def test_a_key_reads_only_what_it_may(tmp_path: Path) -> None:
    async with served(tmp_path, grants="mail/a/*") as (probe, node):
        await node.put("a/u.1", b"hello")
        await node.put("b/u.1", b"hello")
        assert await tell(probe, line(key="a/u.1"), line(key="b/u.1")) == 1
        assert (await counted(node, "a/u.1"))[0] == 1
        assert (await counted(node, "b/u.1"))[0] == 0


async def test_nothing_and_what_is_not_there_is_fine(tmp_path: Path) -> None:
    async with served(tmp_path) as (probe, node):
        assert await tell(probe) == 0
        assert await tell(probe, line(key="gone"), b"\n") == 1
        await node.parts.tally.flush()
        assert node.row("gone") is None


@pytest.mark.parametrize("said", WRONG, ids=str)
async def test_a_line_that_cannot_be_read_counts_nothing(tmp_path: Path, said: dict[str, Any]) -> None:
    async with served(tmp_path) as (probe, node):
        await node.put("u.1", b"hello")
        answer = await probe.request("POST", "/mail?tierproxy-reads", line() + line(**said))
        assert answer.status == 400
        assert (await counted(node, "u.1"))[0] == 0


async def test_the_bucket_must_be_there(tmp_path: Path) -> None:
    async with served(tmp_path) as (probe, _):
        assert (await probe.request("POST", "/none?tierproxy-reads", line())).status == 404
