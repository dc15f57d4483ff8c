"""Objects are overwritten, deleted and purged as fast as it goes while clients read them through the hit lane: no
answer is older than what was acknowledged before its request was sent."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from pathlib import Path

from tests.server.side_by_side import Pair, side_by_side
from tierproxy.config.sections import MemorySection
from tierproxy.config.values import Size
from tierproxy.model import Ack
from tierproxy.testing.wire import connected, on_both_loops

KEYS = ("h0", "h1", "h2")
CHANGES = 120


@dataclass
class Story:
    """What became of one key. ``there``: whether it is there after the n-th change; ``done``: how many were
    acknowledged."""

    there: list[bool] = field(default_factory=lambda: [False])
    done: int = 0

    def allows(self, status: int, body: bytes, since: int) -> bool:
        """Whether an answer is of any moment between the ``since``-th change and now."""
        moments = range(since, len(self.there))
        if status == 404:
            return any(not self.there[moment] for moment in moments)
        return any(self.there[moment] and body == content(moment) for moment in moments)


def content(change: int) -> bytes:
    return b"%06d" % change * (100 + change % 50)


async def change(pair: Pair, key: str, story: Story, chance: random.Random) -> None:
    for number in range(1, CHANGES + 1):
        there = chance.random() < 0.8
        story.there.append(there)
        if there:
            await pair.rig.put(key, content(number), ack=chance.choice([Ack.BOTH, Ack.DISK, None]))
        else:
            await pair.rig.delete(key)
        story.done = number
        if chance.random() < 0.2:
            await pair.rig.purge(key)
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)


async def read(pair: Pair, stories: dict[str, Story], writing: list[asyncio.Task[None]], chance: random.Random) -> int:
    answers = 0
    async with connected(pair.laned) as client:
        while not all(task.done() for task in writing):
            key = chance.choice(KEYS)
            since = stories[key].done
            status, _, body = await client.request(f"GET /mail/{key} HTTP/1.1")
            assert status in {200, 404}, (status, body)
            assert stories[key].allows(status, body, since), (key, since, status, body[:6])
            answers += 1
    return answers


async def hammer(pair: Pair, seed: int) -> None:
    chance = random.Random(seed)
    stories = {key: Story() for key in KEYS}
    async with asyncio.TaskGroup() as group:
        writing = [group.create_task(change(pair, key, story, chance)) for key, story in stories.items()]
        reading = [group.create_task(read(pair, stories, writing, random.Random(number))) for number in range(4)]
    answers = sum(task.result() for task in reading)
    assert pair.given() > answers / 20, (pair.given(), answers)


@on_both_loops
async def test_no_answer_is_older_than_what_was_acknowledged(tmp_path: Path) -> None:
    async with side_by_side(tmp_path) as pair:
        await hammer(pair, 1)


@on_both_loops
async def test_nor_is_one_from_disk(tmp_path: Path) -> None:
    async with side_by_side(tmp_path, memory=MemorySection(max_bytes=Size(0))) as pair:
        await hammer(pair, 2)
