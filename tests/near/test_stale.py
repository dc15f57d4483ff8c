"""No stale byte after an acknowledgement: random lives of a store, with a reader in another process."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.errors import AltUnavailable, AltUncertain, NoSuchKey, TierproxyError
from tierproxy.model import Ack, ObjectName
from tierproxy.ports import Catalogue
from tierproxy.store.shelf import Shelf
from tierproxy.store.versioned import VersionedCatalogue
from tierproxy.testing.faults import Effect, FaultyAlt
from tierproxy.testing.rig import Rig, rig

from .hammer import KEYS, Hammer, body_of, hammering

OPS = 60
SIZES = (8, 8, 5_000, 300_000, 1_100_000)
WEIGHTS = {"put": 6, "queue": 3, "around": 1, "delete": 3, "purge": 3, "fill": 4, "doubt": 2, "upload": 1, "copy": 1}


class Life:
    """One life. A change gets a number; when it is acknowledged, the number is the key's floor."""

    def __init__(self, node: Rig, alt: FaultyAlt, hammer: Hammer, seed: int) -> None:
        self.node = node
        self.alt = alt
        self.hammer = hammer
        self.chance = random.Random(seed)
        self.number = 0
        self.read = 0

    async def step(self) -> None:
        kind = self.chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        key = self.chance.choice(KEYS)
        self.number += 1
        if await getattr(self, kind)(key):
            self.hammer.acknowledged(key, self.number)
        await self.hammer.has_looked()

    def body(self) -> bytes:
        return body_of(self.number, self.chance.choice(SIZES))

    async def put(self, key: str) -> bool:
        await self.node.put(key, self.body())
        return True

    async def queue(self, key: str) -> bool:
        await self.node.put(key, self.body(), ack=Ack.DISK)
        return True

    async def around(self, key: str) -> bool:
        try:
            await self.node.put(key, self.body(), ack=Ack.ALT)
            return True
        except AltUnavailable:  # what was doubted may still be done
            return False

    async def delete(self, key: str) -> bool:
        await self.node.delete(key)
        return True

    async def purge(self, key: str) -> bool:
        await self.node.purge(key)
        return False

    async def fill(self, key: str) -> bool:
        try:
            await self.node.get(key)
            await self.node.idle()
        except NoSuchKey:
            pass
        return False

    async def doubt(self, key: str) -> bool:
        """Alt takes it, or not, and does not say so: nobody may believe the row that is there."""
        effect = self.chance.choice([Effect.DONE, Effect.NONE])
        self.alt.fail("put", AltUncertain("silence"), effect=effect)
        self.alt.fail("head", AltUncertain("silence"))
        try:
            await self.node.put(key, self.body(), ack=Ack.BOTH)
            return True
        except TierproxyError:
            return False
        finally:
            self.alt.heal()

    async def upload(self, _key: str) -> bool:
        """What may be sent by now."""
        await self.node.parts.catalogue.hurry(None, self.node.parts.clock.now())
        self.node.parts.queue.wake()
        await asyncio.sleep(0)
        await self.node.idle()
        return False

    async def copy(self, key: str) -> bool:
        await self.node.put("source", body_of(self.number, 100))
        await self.node.parts.store.copy(ObjectName("mail", "source"), ObjectName("mail", key))
        return True


@pytest.fixture(autouse=True)
def files_go_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """As late as never: that a file is gone may not be what keeps its bytes from being read."""
    monkeypatch.setattr(Shelf, "remove", lambda *_: None)


async def lived(root: Path, seed: int, ops: int = OPS) -> tuple[int, int]:
    """Stale reads and reads."""
    alt = FaultyAlt(MemoryAlt())
    async with rig(root / "data", alt=alt, shared=True, check=False) as node:
        with hammering(root / "data", root / "floor") as hammer:
            life = Life(node, alt, hammer, seed)
            for _ in range(ops):
                await life.step()
            return hammer.stale, hammer.read


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_stale_is_read_after_an_acknowledgement(seed: int, tmp_path: Path) -> None:
    stale, read = await lived(tmp_path, seed)
    assert stale == 0
    assert read > OPS


@pytest.mark.parametrize("lost", [("publish", "suspect", "uploaded"), ("tombstone", "forget")], ids=["write", "delete"])
async def test_changes_without_a_word_are_seen(
    lost: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the test above can fail."""

    def silent(name: str) -> Callable[..., Awaitable[object]]:
        async def change(self: VersionedCatalogue, *given: object, **named: object) -> object:
            return await getattr(self._inner, name)(*given, **named)

        return change

    for name in lost:
        monkeypatch.setattr(VersionedCatalogue, name, silent(name))
    stale, _ = await lived(tmp_path, 0)
    assert stale > 0


UNTOUCHED = {
    "postpone", "hurry", "gauges", "page", "dirty_page", "blob_page", "blobs_known", "entries_in", "add_upload",
    "add_part", "remove_upload", "raise_generation", "keys_after", "check", "close", "count", "prune_counts", "rollups",
    "records", "reclassify", "name_by", "begin_shadow", "end_shadow", "shadow", "shadow_drop", "survey", "decided",
    "pressed", "ahead", "small_bytes", "stats", "requeue", "pin", "add_run", "save_run", "confirm_run", "cancel_run",
    "prune_runs", "add_version", "version_live",
}  # fmt: skip
"""Calls that leave content, headers, blob and state of every row as they are."""
OFFLINE = {"insert_listed", "adopt"}  #: no node runs, and no table is there


def test_no_change_of_the_catalogue_is_forgotten() -> None:
    calls = {name for name, call in inspect.getmembers(Catalogue) if inspect.iscoroutinefunction(call)}
    assert {name for name in calls if name in vars(VersionedCatalogue)} == calls - UNTOUCHED - OFFLINE
