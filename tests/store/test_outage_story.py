"""One story with a real S3 server: a storm of 503, silence, nobody there, and back again after each."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures_seaweed import seaweed
from tierproxy.alt.budget import RESERVE
from tierproxy.alt.opening import open_alt
from tierproxy.clock import SystemClock
from tierproxy.config.sections import QueueSection
from tierproxy.config.values import Duration
from tierproxy.embedded import EmbeddedS3
from tierproxy.ports import State
from tierproxy.testing.rig import BUCKET, Rig, config_for, rig
from tierproxy.testing.s3relay import S3Relay, counted
from tierproxy.wiring import Doors

__all__ = ["seaweed"]

COLD = [f"cold.{number}" for number in range(120)]
TIMES: dict[str, object] = {
    "connect_timeout": Duration(1), "request_timeout": Duration(1), "retry_timeout": Duration(1),
    "breaker_pause": Duration(0.2), "breaker_max_pause": Duration(0.5), "concurrency": 16,
}  # fmt: skip
TROUBLES: tuple[dict[str, Any], ...] = ({"answer": 503}, {"mode": "blackhole"}, {"mode": "refuse"})
EAGER = QueueSection(backoff=Duration(0.05), max_backoff=Duration(0.2))


@pytest.fixture
def relay(seaweed: EmbeddedS3) -> Iterator[S3Relay]:
    seaweed.make_bucket(BUCKET)
    with S3Relay("127.0.0.1", seaweed.ports["s3"]) as one:
        yield one


class Story:
    """A node before a relay before a server."""

    def __init__(self, r: Rig, relay: S3Relay) -> None:
        self.r, self.relay = r, relay
        self.fresh = 0

    @property
    def state(self) -> State:
        return self.r.parts.conditions()[-1].state

    async def outcomes(self, keys: list[str]) -> Counter[str]:
        """Of reads at the same time."""
        found = await asyncio.gather(*(self.r.get(key) for key in keys), return_exceptions=True)
        return Counter("ok" if isinstance(one, bytes) else type(one).__name__ for one in found)

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(60):
            while not await holds():
                await asyncio.sleep(0.02)

    async def trouble(self, how: dict[str, Any]) -> None:
        """From the first failure to alt being down; then nobody waits and next to nothing is sent."""
        self.relay.take()
        self.relay.set(**how)
        asked = 0

        async def noticed() -> bool:
            nonlocal asked
            asked += 20
            assert set(await self.outcomes(COLD[:20])) <= {"AltUnavailable", "AltDown"}
            return self.state in {State.DOWN, State.PROBING}

        await self.until(noticed)
        assert counted(self.relay.take())["GET"] <= 1.1 * asked + RESERVE  # and not twice as many
        for _ in range(5):
            found = await self.outcomes(COLD)
            assert found["AltDown"] >= len(COLD) - 1  # one may be the probe
            assert not found["ok"]
            assert await self.r.get("near") == b"near"
        sent = counted(self.relay.take())
        assert sent["GET"] + sent["HEAD"] <= 5, sent

    async def writes(self) -> list[str]:
        """A few of them are acknowledged, whatever alt does."""
        keys = [f"new.{self.fresh + number}" for number in range(8)]
        self.fresh += len(keys)
        for key in keys:
            written = await self.r.put(key, key.encode())
            assert written.entry.tiers[0] == "disk"
        return keys

    async def back(self) -> None:
        """The next probe, or the queue, finds out; then everything is served again."""
        self.relay.set()

        async def served() -> bool:
            return set(await self.outcomes(COLD[:3])) == {"ok"}

        await self.until(served)
        assert set(await self.outcomes(COLD)) == {"ok"}
        await self.r.drained()
        await self.r.purge(*COLD)
        assert not {alarm for alarm, _ in self.r.parts.alarms.active()}


async def test_a_storm_silence_and_nobody_there_and_back_again_after_each(
    tmp_path: Path, seaweed: EmbeddedS3, relay: S3Relay
) -> None:
    section = seaweed.section(endpoint=relay.endpoint, check_at_start=False, **TIMES)
    alt = open_alt(config_for(tmp_path, alt=section), SystemClock())

    def wrap(doors: Doors) -> Doors:
        return replace(doors, alt=alt, config=replace(doors.config, alt=section))

    try:
        async with rig(tmp_path, alt=alt, wrap=wrap, queue=EAGER) as r:
            story = Story(r, relay)
            for key in (*COLD, "near"):
                await r.put(key, key.encode())
            await r.purge(*COLD)
            written: list[str] = []
            for how in TROUBLES:
                await story.trouble(how)
                written += await story.writes()
                await story.back()
            assert await story.outcomes(written) == {"ok": len(written)}
            await r.purge(*written)
            assert [await r.get(key) for key in written] == [key.encode() for key in written]
    finally:
        await alt.close()
