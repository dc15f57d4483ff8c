"""The power fails at every operation of a story; then a node starts on what is left, and is judged.

A story is played once, on a ``Forgetful`` disk and an alt tier that remembers all it ever was. Every moment of it can
then be had back: what the disk has after a power cut there, what alt has, and what somebody had been told by then.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from shutil import copytree, rmtree
from tempfile import TemporaryDirectory
from typing import TypeVar
from unittest.mock import patch

from tierproxy.alt.memory import Held, MemoryAlt
from tierproxy.catalogue import connection
from tierproxy.clock import SystemClock
from tierproxy.config.sections import ScrubSection
from tierproxy.config.values import Size
from tierproxy.disk.fsio import Files
from tierproxy.errors import DiskError, NoSuchKey, TierproxyError
from tierproxy.model import Entry, Headers, ObjectName
from tierproxy.store.check import Check
from tierproxy.store.check import Kind as Complaint
from tierproxy.store.scrub import Scrub
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.forgetful_disk import DROPPED, Cut, cuts_of
from tierproxy.testing.forgetful_fs import Forgetful
from tierproxy.testing.invariants import check_invariants
from tierproxy.testing.power_stories import Allowed, Promise, Story, Teller, Truth
from tierproxy.testing.rig import BUCKET, Rig, rig, stopped_node

PATIENCE = 60.0  #: seconds for one judgement
UNREADABLE = b"it is there, and nobody can read it"
LEFTOVERS = ("*.part", "*.tmp", "*-journal")
Objects = dict[ObjectName, Held]
State = tuple[str, int, frozenset[tuple[str, frozenset[bytes | None]]], int]
T = TypeVar("T")


class Kind(StrEnum):
    """What can be wrong afterwards."""

    LOST = "lost"
    RESURRECTED = "resurrected"
    WRONG = "wrong bytes"
    UNOPENABLE = "unopenable"
    HALF = "half there"


@dataclass(frozen=True)
class Finding:
    kind: Kind
    what: str


class RememberingAlt(MemoryAlt):
    """Knows what it was after each of the disk's operations."""

    def __init__(self, count: Callable[[], int]) -> None:
        super().__init__()
        self.past: list[tuple[int, Objects]] = []
        self._disk_count = count

    def _store(
        self, name: ObjectName, content: bytes, headers: Headers, *, single: bool, etag: str | None = None,
        parts: tuple[int, ...] = (),
    ) -> str:  # fmt: skip
        stored = super()._store(name, content, headers, single=single, etag=etag, parts=parts)
        self.note()
        return stored

    async def delete(self, name: ObjectName) -> None:
        await super().delete(name)
        self.note()

    def note(self) -> None:
        self.past.append((self._disk_count(), dict(self._objects)))

    def long_ago(self) -> None:
        self.past = [(-1, dict(self._objects))]

    def back_to(self, count: int) -> None:
        """As it was then."""
        self._objects = self.at(count)._objects

    def age(self, count: int) -> int:
        """How many changes it had seen then."""
        return sum(when <= count for when, _ in self.past)

    def at(self, count: int) -> MemoryAlt:
        """A copy, as it was when the disk had done ``count`` operations."""
        found = MemoryAlt()
        for when, objects in self.past:
            if when <= count:
                found._objects = dict(objects)
        return found


@dataclass(frozen=True)
class Round:
    """The power fails after operation ``at``."""

    at: int
    cut: Cut


@dataclass
class Recording:
    """One story, played. Valid until the disk is wiped."""

    story: Story
    disk: Forgetful
    alt: RememberingAlt
    truth: Truth
    kinds: list[tuple[str, str]]
    verdicts: dict[State, list[Finding]] = field(default_factory=dict)

    @property
    def boundaries(self) -> int:
        """Moments between two operations, the first and the last among them."""
        return len(self.kinds) + 1

    def every_round(self, seed: int = 0) -> list[Round]:
        """At each boundary everything dropped, and one of the other cuts: their kinds take turns, also from seed to
        seed."""
        found = []
        for at in range(self.boundaries):
            kinds = cuts_of(seed)
            found += [Round(at, DROPPED), Round(at, kinds[(at + seed) % len(kinds)])]
        return found

    def sample(self, rounds: int, seed: int = 0) -> list[Round]:
        """Where something had just been acknowledged, all dropped, and some more by chance."""
        first = [Round(at, DROPPED) for at in dict.fromkeys(self.truth.acknowledged())]
        others = [one for one in self.every_round(seed) if one not in first]
        return first + random.Random(seed).sample(others, min(max(rounds - len(first), 0), len(others)))

    async def judged(self, one: Round, root: Path) -> list[Finding]:
        """What is wrong after ``one``. ``root`` is made and removed. What is the same on disk, in alt and in what was
        acknowledged as after a round before, is judged once."""
        left = self.disk.leave(one.cut, root, one.at)
        try:
            allowed = self.truth.allowed(one.at)
            promises = [promise for when, promise in self.truth.promises if when <= one.at]
            told = frozenset((key, frozenset(contents)) for key, contents in allowed.items())
            state = left, self.alt.age(one.at), told, len(promises)
            if state not in self.verdicts:
                alt = self.alt.at(one.at)
                self.verdicts[state] = await _judge(self, root / "data", alt, allowed, promises)
            return self.verdicts[state]
        finally:
            rmtree(root)


async def record(story: Story, disk: Forgetful, files: Files | None = None) -> Recording:
    """Play ``story`` once, on an empty ``disk``. ``files``: what the node changes files by."""
    disk.wipe()
    root, truth, alt = disk.point / "data", Truth(), RememberingAlt(disk.count)
    if story.made is not None:
        await story.made(root, alt, truth)
    elif not story.bare:
        async with rig(root, alt=alt, clock=_clock(), **story.sections()) as r:
            await (story.before or _nothing)(Teller(r, FaultyAlt(alt), truth, disk.count))
            await r.drained()
    if story.cut is not None:
        _cut_off(story.cut, disk, truth, alt)
    disk.settle()
    truth.long_ago()
    alt.long_ago()
    faulty = FaultyAlt(alt)
    async with rig(root, alt=faulty, clock=_clock(), files=files, check=False, **story.sections()) as r:
        await story.act(Teller(r, faulty, truth, disk.count))
        await r.idle()
    return Recording(story, disk, alt, truth, disk.kinds())


def _cut_off(cut: Cut, disk: Forgetful, truth: Truth, alt: RememberingAlt) -> None:
    """The power has failed before the story begins, when three quarters of what was before were done."""
    at = disk.count() * 3 // 4
    with TemporaryDirectory(prefix="tierproxy-power-") as room:
        disk.leave(cut, Path(room) / "left", at)
        disk.wipe()
        copytree(Path(room) / "left", disk.point, dirs_exist_ok=True)
    truth.notes = [note for note in truth.notes if note[0] <= at]
    alt.back_to(at)


def _clock() -> VirtualClock:
    return VirtualClock(SystemClock().now())


async def _nothing(_t: Teller) -> None:
    """Nothing was before."""


# ------------------------------------------------------------------------------ judging


async def _judge(
    recording: Recording, root: Path, alt: MemoryAlt, allowed: Allowed, promises: Iterable[Promise]
) -> list[Finding]:
    node = stopped_node(root, alt, SystemClock(), **recording.story.sections())
    try:
        async with asyncio.timeout(PATIENCE):
            await node.start()
    except (TierproxyError, sqlite3.Error, OSError, TimeoutError) as error:
        return [Finding(Kind.UNOPENABLE, f"{type(error).__name__}: {error}")]
    found: list[Finding] = []
    try:
        async with asyncio.timeout(PATIENCE):
            r = Rig(node, alt, root)
            found += await _compare(r, allowed) or await _sound(r, alt, root, allowed)
            for promise in promises:
                await promise(r)
            await _goes_on(r)
    except (AssertionError, TierproxyError, TimeoutError) as error:
        found.append(Finding(Kind.HALF, f"{type(error).__name__}: {error}"))
    finally:
        await node.stop(5)
    found += [Finding(Kind.HALF, f"left: {path.name}") for leftover in LEFTOVERS for path in root.rglob(leftover)]
    return found


async def _compare(r: Rig, allowed: Allowed) -> list[Finding]:
    """What clients see: at once, when alt has everything, and when the disk has nothing. It must not change."""
    found = await _bad_rows(r)
    first = {key: await _content(r, key) for key in allowed}
    found += [wrong for key, content in first.items() if (wrong := _wrong(key, content, allowed[key], "at once"))]
    if found:
        return found
    await r.idle()  # a fill under way has a file and no row yet, and no scrub is that hasty
    await scrubbed(r)
    await r.parts.catalogue.hurry(None, r.parts.clock.now())
    await r.drained()
    await r.check()
    r.parts.hot.clear()
    await r.purge()
    for key, content in first.items():
        again = await _content(r, key)
        if again != content and (wrong := _wrong(key, again, {content}, "in alt")):
            found.append(wrong)
    await r.idle()
    return found


async def _bad_rows(r: Rig) -> list[Finding]:
    """No row names a blob that is not all there, not even one that a read would fetch from alt again. Looked at when
    the recovery, which may drop blobs, is through."""
    await asyncio.gather(*(task for task in r.node._background if task.get_name() == "recovery"))
    await r.idle()
    try:
        await check_invariants(r.parts.catalogue, r.parts.disk, root=r.root, crashed=True)
    except AssertionError as error:
        return [Finding(Kind.HALF, str(error))]
    return []


def _wrong(key: str, content: bytes | None, allowed: set[bytes | None], where: str) -> Finding | None:
    if content in allowed:
        return None
    if content is None or content is UNREADABLE:
        return Finding(Kind.LOST, f"{key} {where}")
    return Finding(Kind.RESURRECTED if allowed == {None} else Kind.WRONG, f"{key} {where}: {content[:20]!r}")


async def _content(r: Rig, key: str) -> bytes | None:
    try:
        return await r.get(key)
    except NoSuchKey:
        return None
    except TierproxyError:
        return UNREADABLE


async def scrubbed(r: Rig) -> None:
    """Files without a row go, as they would in the background a quarter of an hour later. AssertionError for a row
    whose blob is bad."""
    parts = r.parts
    scrub = Scrub(
        catalogue=parts.catalogue, disk=parts.disk, mender=_Nobody(), clock=parts.clock, alarms=parts.alarms,
        settings=ScrubSection(bytes_per_second=Size(10**12)),
        first_generation=parts.catalogue.next_generation(), grace=0,
    )  # fmt: skip
    await scrub.prepare()
    await scrub.walk()
    assert scrub.counters.corrupt == scrub.counters.missing == 0, f"rows whose blobs are bad: {scrub.counters}"
    assert not scrub.counters.newer, "a crash was taken for a catalogue restored from a backup"


class _Nobody:
    """No row may name a damaged blob, so there is nothing to mend."""

    async def damaged(self, entry: Entry, error: DiskError) -> bool:
        raise AssertionError(f"{entry.name} names a bad blob: {error}")


async def _sound(r: Rig, alt: MemoryAlt, root: Path, allowed: Allowed) -> list[Finding]:
    """`tierproxy check --alt`, and all that must always be true. What alt took of a new mail that nobody was told of is
    no finding: an exclusive bucket has no row for it, and the next write of its key replaces it (decision 2)."""
    parts = r.parts
    check = Check(catalogue=parts.catalogue, disk=parts.disk, clock=parts.clock, alt=alt, buckets=[BUCKET])
    report = await check.run()
    report.findings.pop(Complaint.UNKNOWN_IN_ALT, None)
    assert report.sound, f"check: {report.as_dict()['findings']}"
    assert not any((root / "staging").iterdir()), "something is still staged"
    ghosts = [one.key for one in alt.names() if parts.catalogue.find(one) is None]
    return [Finding(Kind.RESURRECTED, f"{key} in alt") for key in ghosts if allowed.get(key, {None}) == {None}]


async def _goes_on(r: Rig) -> None:
    """The next write works, whatever there was."""
    await r.put("next", b"life goes on")
    assert await r.get("next") == b"life goes on", "what is written now cannot be read"
    await r.idle()
    await r.check()


# ------------------------------------------------------------------------------ proofs that it can fail


class Without(Files):
    """Leaves calls of ``kind`` (fsync, fsync_dir) out, and says nothing."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def call(self, kind: str, function: Callable[..., T], *args: object) -> T:
        if kind == self.kind:
            return None  # type: ignore[return-value]
        return super().call(kind, function, *args)


@contextmanager
def catalogue_at(synchronous: str) -> Iterator[None]:
    """The catalogue's commits wait for fewer fsyncs (OFF, NORMAL) inside."""
    durable = connection._make_durable

    def less(opened: sqlite3.Connection) -> None:
        durable(opened)
        opened.execute(f"PRAGMA synchronous = {synchronous}")

    with patch.object(connection, "_make_durable", less):
        yield


# ------------------------------------------------------------------------------ the sweep


@dataclass
class Tally:
    """What the rounds of one story came to. ``states``: how many of them left something different."""

    boundaries: int = 0
    rounds: int = 0
    states: int = 0
    counts: Counter[Kind] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, one: Round, recording: Recording, found: list[Finding]) -> None:
        self.rounds += 1
        self.counts.update({each.kind for each in found})
        if found:
            last = " ".join(recording.kinds[one.at - 1]) if one.at else "nothing"
            said = "; ".join(f"{each.kind}: {each.what}" for each in found)
            self.examples.append(f"after operation {one.at} ({last}), {one.cut}: {said}")


async def sweep(recording: Recording, rounds: Iterable[Round], room: Path) -> Tally:
    """``room``: a directory for what is left, best in memory."""
    tally = Tally(recording.boundaries)
    for number, one in enumerate(rounds):
        root = room / f"left-{number}"
        with suppress(FileNotFoundError):
            rmtree(root)
        tally.add(one, recording, await recording.judged(one, root))
    tally.states = len(recording.verdicts)
    return tally
