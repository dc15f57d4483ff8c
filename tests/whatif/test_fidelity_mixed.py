"""Scans, prefetches, ranges, overwrites, large objects and buckets with budgets, through a live node and, as the
history it wrote, through the simulator: by each order of ``[pressure]`` that has something of its own."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tierproxy.config.sections import BucketSection, CountingSection, FillSection
from tierproxy.config.values import Size
from tierproxy.history.trace import load
from tierproxy.model import ObjectName
from tierproxy.rules.language import parse
from tierproxy.testing.clock import EPOCH
from tierproxy.testing.playback import Played, played
from tierproxy.traffic import Event, EventKind, Reason
from tierproxy.whatif.live import Setup, simulate
from tierproxy.whatif.result import Result

BUCKETS = ("mail", "archive", "index")
COUNTING = CountingSection(scan_objects=12)
FILL = FillSection(range_limit=Size(100_000), coalesce_limit=Size(50_000), max_object=Size(300_000))
RULES = """
[budget]
max_bytes = "3MB"
min_free = "1KiB"
min_on_disk = "20m"
[budget.bucket.archive]
max_bytes = "1MiB"
[budget.bucket.index]
max_bytes = "1MiB"

[[rule]]
name = "seen by a machine only"
when = { reads = "< 1", machine_reads = ">= 2", idle = "> 1d" }
then = "purge"

[[rule]]
name = "read often"
when = { reads = ">= 4 in 2d" }
then = "keep"

[[rule]]
name = "an owner's index"
when = { bucket = "index", age = "< 2h" }
then = "pin until age 2h"

[pressure]
order = "ORDER"
"""
AGAIN = " again"  #: client of a resync
ORDERS = ("score", "lfu", "s3-fifo", "sieve")


class Mixed:
    """Some days of it, seeded."""

    def __init__(self) -> None:
        self.draw = random.Random(5)
        self.at = EPOCH
        self.sizes: dict[ObjectName, int] = {}
        self.events: list[Event] = []

    def made(self) -> tuple[Event, ...]:
        for _ in range(900):
            self.at += self.draw.expovariate(1 / 400)
            what = self.draw.random()
            if what < 0.3 or len(self.sizes) < 20:
                self.write()
            elif what < 0.97:
                self.read()
            else:
                self.resync()
        return tuple(self.events)

    def write(self) -> None:
        """Of something new; one in ten of what is there, with another size."""
        bucket = self.draw.choices(BUCKETS, (5, 3, 2))[0]
        owner = self.draw.choice("abc")
        name = ObjectName(bucket, f"{owner}/u.{len(self.sizes):05}")
        if self.draw.random() < 0.1 and self.sizes:
            name = self.any()
        size = min(int(self.draw.lognormvariate(10.3, 1.2)) + 100, 420_000)
        self.sizes[name] = size
        self.note(EventKind.WRITE, name, client=name.key[0])

    def read(self) -> None:
        name = self.any()
        client, reason = name.key[0], self.draw.choices(("", Reason.PREFETCH, Reason.INDEX), (12, 1, 1))[0]
        size = self.sizes[name]
        parts = self.draw.choice((1, 1, 3))
        for _ in range(parts):  # ranges, as an IMAP client asks for them; of one read
            self.note(
                EventKind.READ, name, client=client, reason=reason, sent=size if parts == 1 else max(size // 3, 1)
            )
            self.at += 0.7
        if self.draw.random() < 0.05:
            self.note(EventKind.DELETE, name, client=client)
            del self.sizes[name]

    def resync(self) -> None:
        """All of an owner's in a bucket, in the order of the keys: the node has to find out."""
        bucket, owner = self.draw.choice(BUCKETS[:2]), self.draw.choice("abc")
        for name in sorted(self.sizes):
            if name.bucket == bucket and name.key.startswith(owner):
                self.at += 0.2
                self.note(EventKind.READ, name, client=f"{owner}{AGAIN}", sent=self.sizes[name])

    def any(self) -> ObjectName:
        """Mostly of the latest."""
        names = list(self.sizes)
        return names[-1 - min(int(self.draw.expovariate(1 / 25)), len(names) - 1)]

    def note(self, kind: EventKind, name: ObjectName, **facts: object) -> None:
        owner = name.key[0]
        self.events.append(Event(self.at, kind, name, owner, "", self.sizes[name], **facts))  # type: ignore[arg-type]


@cache
def events() -> tuple[Event, ...]:
    return Mixed().made()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a place: thousands of commits wait for the disk."""
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else tmp_path))
    yield root
    shutil.rmtree(root)


def test_the_traffic_has_what_it_is_about() -> None:
    kinds = Counter((event.kind, bool(event.reason)) for event in events())
    assert kinds[EventKind.WRITE, False] > 200
    assert kinds[EventKind.READ, True] > 50
    assert kinds[EventKind.DELETE, False] > 10
    assert max(event.size for event in events()) > 300_000


def both(place: Path, order: str, wanted: Iterable[Event]) -> tuple[Played, Result]:
    """What the live node counted, and what the simulator makes of the node's history."""
    rules = place / "rules.toml"
    rules.write_text(RULES.replace("ORDER", order))
    buckets = tuple(BucketSection(name=bucket) for bucket in BUCKETS)
    live = asyncio.run(played(wanted, place / "data", rules, EPOCH, fill=FILL, counting=COUNTING, bucket=buckets))
    setup = Setup(fill=FILL, counting=COUNTING, buckets=buckets)
    return live, simulate(load([place / "data"]), parse(rules.read_text()), setup)


@pytest.mark.parametrize("order", ORDERS)
def test_the_simulator_does_what_the_node_does(place: Path, order: str) -> None:
    live, found = both(place, order, (event for event in events() if not event.client.endswith(AGAIN)))
    assert live.refused == found.refused == 0
    assert found.people.hits == pytest.approx(live.person_hits, rel=0.01)
    assert found.machines.total == live.machine_reads > 50
    assert found.gets.hits == pytest.approx(live.gets_hits, rel=0.01)
    assert found.fills == pytest.approx(live.fills, abs=1, rel=0.02)
    reasons = {record.by: record for record in found.reasons}
    assert set(reasons) == set(live.reasons) >= {"pressure"}
    for by, record in live.reasons.items():
        assert reasons[by].bytes == pytest.approx(record.bytes, rel=0.02)
        assert reasons[by].regrets == pytest.approx(record.regrets, abs=1, rel=0.02)
    assert live.person_misses > 100


def test_with_resyncs_beside_people_of_the_same_mailbox_it_is_near(place: Path) -> None:
    """A trace has no clients: where people read what is being scanned, a scan's beginning may stay theirs."""
    live, found = both(place, "score", events())
    assert live.machine_reads > 300
    assert found.machines.total == pytest.approx(live.machine_reads, rel=0.02)
    assert found.people.hits == pytest.approx(live.person_hits, rel=0.03)
    assert found.gets.hits == pytest.approx(live.gets_hits, rel=0.03)
