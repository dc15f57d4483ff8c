"""The identities of the counters after a mixed load with faults, and after a restart, against the test's own ledger."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import CountingSection, FillSection, MemorySection, StubsSection
from tierproxy.config.values import Duration, Size
from tierproxy.errors import AltUnavailable, DiskUnavailable, NoSuchKey, TierproxyError
from tierproxy.model import Entry, FillPolicy, ObjectName, Tier
from tierproxy.stats import Breakdown
from tierproxy.store.calls import whole
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.rig import Rig, name, rig
from tierproxy.traffic import Outcome, Reason, Visitor

from .test_counting import ANN, BOB, LARGE, as_reason, counts, part

SIDES = {Tier.MEMORY: "hit", Tier.DISK: "hit", Tier.STUB: "stub", Tier.ALT: "miss"}


class Ledger:
    """What a test itself saw, by its own rules: every get, where its bytes came from, and what is a read."""

    def __init__(self, window: float) -> None:
        self.window = window
        self.gets: Counter[str] = Counter()
        self.delivered: Counter[Tier] = Counter()
        self.reads: Counter[tuple[ObjectName, bool]] = Counter()
        self.people: Counter[str] = Counter()
        self.last: dict[tuple[str, ObjectName], float] = {}

    def took(self, entry: Entry, visitor: Visitor, tier: Tier, sent: int, *, ranged: bool, now: float) -> None:
        self.delivered[tier] += sent
        if tier is Tier.STUB or (not sent and entry.size):
            return
        place = visitor.client, entry.name
        before = self.last.get(place)
        if before is None or not ranged or now - before >= self.window:
            machine = visitor.reason not in {None, Reason.PERSON}
            self.reads[entry.name, machine] += 1
            if not machine:
                self.people["miss" if tier is Tier.ALT else "hit"] += 1
        self.last[place] = now


class Load:
    """Random gets by several clients while alt and disk fail now and then."""

    def __init__(self, r: Rig, alt: FaultyAlt, clock: VirtualClock, seed: int) -> None:
        self.r = r
        self.alt = alt
        self.clock = clock
        self.random = random.Random(seed)
        self.ledger = Ledger(60)
        self.keys = [f"u.{number}" for number in range(12)]
        self.visitors = [ANN, BOB, as_reason(Reason.SCAN), as_reason(Reason.PREFETCH), as_reason(Reason.BACKUP)]

    async def deliver(self) -> None:
        for index, key in enumerate(self.keys):
            await self.r.put(key, LARGE if index % 4 == 0 else b"a mail " * index)

    async def go(self, steps: int) -> None:
        for _ in range(steps):
            await self.weather()
            self.alt.calls.clear()
            many = self.random.choice((1, 1, 1, 4))
            await asyncio.gather(*(self.get(self.random.choice(self.keys)) for _ in range(many)))
            await self.r.idle()
            await self.clock.advance(self.random.choice((0, 0.3, 7, 61)))

    async def weather(self) -> None:
        chance = self.random.random()
        if chance < 0.3:
            await self.r.purge(*self.random.sample(self.keys, 4))
        elif chance < 0.45:
            self.alt.fail("get", AltUnavailable("down"))
        elif chance < 0.55:
            self.alt.cut_body(chunk=1)
        elif chance < 0.65:
            self.break_disk_once()

    def break_disk_once(self) -> None:
        disk: Any = self.r.parts.disk

        async def broken(*_args: object, **_options: object) -> None:
            disk.__dict__.pop("open", None)
            raise DiskUnavailable("EIO")

        disk.open = broken

    async def get(self, key: str) -> None:
        visitor = self.random.choice(self.visitors)
        ranged = self.random.random() < 0.4
        select = part(0, 3) if ranged else whole
        if self.random.random() < 0.05:
            key = "none"
        stops_early = self.random.random() < 0.2
        try:
            heads = self.random.random() < 0.3
            reading = await self.r.parts.store.open(name(key), select, visitor=visitor, stub=heads)
        except NoSuchKey:
            return
        except TierproxyError:
            self.ledger.gets["error"] += 1
            return
        self.ledger.gets[SIDES[reading.tier]] += 1
        sent = 0
        try:
            if reading.content is not None:
                sent = 0 if stops_early else len(reading.content)
            else:
                async for chunk in reading.chunks():
                    sent += len(chunk)
                    if stops_early:
                        break
        except TierproxyError:
            pass  # cut off in the middle: what went out went out
        finally:
            self.r.parts.store.delivered(reading, visitor, sent, 0.001)
            self.ledger.took(reading.entry, visitor, reading.tier, sent, ranged=ranged, now=self.clock.monotonic())
            await reading.close()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("stubs", [0, 2**20], ids=["without stubs", "with stubs"])
async def test_the_identities_hold_after_a_mixed_load_with_faults_and_after_a_restart(
    tmp_path: Path, seed: int, stubs: int
) -> None:
    alt, clock = FaultyAlt(MemoryAlt()), VirtualClock()
    options: dict[str, Any] = {
        "alt": alt, "clock": clock, "counting": CountingSection(scan_objects=0),
        "memory": MemorySection(max_bytes=Size(60), max_object=Size(60)),
        "fill": FillSection(policy=FillPolicy.SECOND_READ, second_read_window=Duration(300)),
        "stubs": StubsSection(max_bytes=Size(stubs)),
    }  # fmt: skip
    async with rig(tmp_path, **options) as r:
        load = Load(r, alt, clock, seed)
        await load.deliver()
        await load.go(100)
        counters, ledger = r.parts.counters, load.ledger
        assert counters.hits == ledger.gets["hit"]
        assert counters.stubs == ledger.gets["stub"]
        assert (counters.stubs > 3) == bool(stubs), "the load is too tame"
        assert counters.misses - counters.errors == ledger.gets["miss"]
        assert counters.errors == ledger.gets["error"]
        assert counters.gets == ledger.gets.total()
        assert counters.gets == sum(counters.of(outcome) for outcome in Outcome) + counters.errors
        assert {tier: sent for tier, sent in counters.delivered.items() if sent} == +ledger.delivered
        assert sum(counters.reads.values()) == ledger.reads.total()
        assert (counters.person_hits, counters.person_misses) == (ledger.people["hit"], ledger.people["miss"])
        assert counters.person_hits + counters.person_misses == counters.reads[Reason.PERSON]
        assert min(ledger.people.values()) > 3, "the load is too tame"
        assert min(counters.errors, counters.regrets, counters.fills) > 3, "the load is too tame"
        assert sum(latency.count for latency in counters.latency.values()) <= counters.gets
        sample = dict(r.parts.counters.sample())
    async with rig(tmp_path, **options) as r:
        catalogue = r.parts.catalogue
        for key in load.keys:
            assert (await counts(r, key))[:2] == (ledger.reads[name(key), False], ledger.reads[name(key), True])
        table = await catalogue.stats(Breakdown.DAY, bucket="", now=clock.now())
        assert table.total.reads + table.total.machine_reads == ledger.reads.total()
        for span in (60, 3600):
            grown: Counter[str] = Counter()
            for one in await catalogue.rollups(span, 0, clock.now() + 3600):
                grown.update(one.counters)
            assert {key: value for key, value in sample.items() if value} == {
                key: value for key, value in grown.items() if not key.startswith("alt.")
            }
        assert grown["alt.get.ok"] > 0
