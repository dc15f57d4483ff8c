"""One world for all tests of lies: a node is started once, and its loop stands still between tests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.fixtures_seaweed import seaweed
from tests.lies.world import ALT, World, world
from tierproxy.embedded import EmbeddedS3

__all__ = ["lied_to", "seaweed"]


@pytest.fixture(scope="package")
def lied_to(seaweed: EmbeddedS3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    seaweed.make_bucket(ALT)
    root: Path = tmp_path_factory.mktemp("lies")
    stack = AsyncExitStack()
    with asyncio.Runner() as runner:

        async def begin() -> World:
            return await stack.enter_async_context(world(root / "data", seaweed, runner))

        yield runner.run(begin())
        runner.run(stack.aclose())
