"""``tierproxy serve`` from start to stop, with a node that does nothing."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Iterator

import pytest

from tierproxy.cli import serve
from tierproxy.config.sections import Config


class Idle:
    """Started, it asks the process to end."""

    url = "http://127.0.0.1:1"

    def __init__(self) -> None:
        self.stopped_with = -1

    async def start(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    async def stop(self) -> None:
        self.stopped_with = gc.get_freeze_count()


@pytest.fixture
def thawed() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("thawed")
async def test_collections_do_not_look_at_what_the_start_left(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Idle()
    monkeypatch.setattr(serve, "build", lambda config, **_: node)
    await serve.run(Config(), None)
    assert node.stopped_with > 10_000


class Lingering(Idle):
    """Takes some turns of the loop to stop."""

    async def stop(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.mark.usefixtures("thawed")
async def test_memory_is_given_back_as_long_as_the_node_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    async def giving(_: object) -> None:
        seen.append("begins")
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("ends")

    monkeypatch.setattr(serve, "build", lambda config, **_: Lingering())
    monkeypatch.setattr(serve, "keep_giving_back", giving)
    await serve.run(Config(), None)
    assert seen == ["begins", "ends"]
