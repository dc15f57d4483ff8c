"""The memory node keeps what every client of a node promises."""

from __future__ import annotations

import pytest

from tierproxy.mount.ports import NodeClient
from tierproxy.testing.contracts.node_client import PROMISES, Promise, name
from tierproxy.testing.memory_node import MemoryNode


class MemoryRig:
    def __init__(self) -> None:
        self.node = MemoryNode()
        self.client: NodeClient = self.node

    async def put(self, key: str, body: bytes) -> None:
        self.node.bucket.keep(key, body)

    async def remove(self, key: str) -> None:
        self.node.bucket.remove(key)

    async def body(self, key: str) -> bytes | None:
        stored = self.node.bucket.objects.get(key)
        return stored.body if stored is not None else None

    async def to_stub(self, key: str) -> bool:
        self.node.bucket.stubbed.add(key)
        return True


@pytest.mark.parametrize("promise", PROMISES, ids=name)
async def test_node_client_contract(promise: Promise) -> None:
    await promise(MemoryRig())
