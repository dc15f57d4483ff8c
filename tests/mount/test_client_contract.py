"""The HTTP client keeps every promise of the mount's node client, over a real object port and a real store."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.mount.client_world import world
from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import StubsSection
from tierproxy.testing.contracts.node_client import PROMISES, Promise, name
from tierproxy.testing.wire import LOOPS

WAYS: dict[str, dict[str, Any]] = {
    "unix": {"stubs": StubsSection()},
    "unix signed with prefix": {"signed": True, "prefix": "tenants/ä 1/"},
    "tcp signed": {"signed": True, "tcp": True},
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("promise", PROMISES, ids=name)
def test_the_http_client_keeps_the_promise(promise: Promise, way: str, loop: str, tmp_path: Path) -> None:
    async def kept() -> None:
        async with world(tmp_path, **WAYS[way]) as one:
            await promise(one)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(kept())


async def test_a_purged_mail_is_opened_as_its_stub_and_whole_when_that_is_asked_for(tmp_path: Path) -> None:
    body = bytes(range(256)) * 256
    async with world(tmp_path, stubs=StubsSection()) as one:
        await one.put("a/u.1", body)
        assert await one.to_stub("a/u.1")
        assert isinstance(one.node.alt, MemoryAlt)
        stub = await one.client.open("a/u.1")
        assert (stub.stub, stub.fd, stub.file.size) == (True, None, len(body))
        assert (stub.head, stub.tail) == (body[:8192], body[-1024:])
        assert one.node.alt.requests["get"] == 0
        whole = await one.client.open("a/u.1", stub=False)
        assert (whole.stub, whole.head) == (False, body)
        assert whole.file == stub.file
