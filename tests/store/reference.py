"""What the model test (``trial``) is made of: operations as data, the dictionary, and a node that is ill-treated."""

from __future__ import annotations

import asyncio
import errno
import math
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import AltSection, CountingSection, PurgeSection, WriteSection
from tierproxy.disk.fsio import Files
from tierproxy.errors import AltRefused, AltUnavailable, NoSuchKey
from tierproxy.model import Ack, OnAltDown
from tierproxy.near.versions import VersionTable
from tierproxy.node import Node
from tierproxy.purges import PurgeRun, RunKind, RunState
from tierproxy.store.calls import Reading
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.crash import CrashFiles
from tierproxy.testing.faults import Effect, FaultyAlt, Landing
from tierproxy.testing.faulty_catalogue import FaultyCatalogue
from tierproxy.testing.rig import Rig, abandon, name, stopped_node
from tierproxy.traffic import Reason, Visitor
from tierproxy.wiring import Doors

from .test_crash import StoppingCatalogue

WRITES = frozenset({"create", "write_at", "fsync", "rename", "mkdir"})
LATE = AltSection().request_timeout - 2  #: seconds after which alt may still do what it was asked to, at most
Value = bytes | None


@dataclass(frozen=True)
class Op:
    """What is done, to which key, and how; each kind uses the fields it needs."""

    kind: str
    key: str = ""
    size: int = 0
    ack: Ack | None = None
    other: str = ""  #: the source of a copy, the alt operation of a fault, what the precondition is
    effect: str = ""  #: of a fault: none, done, late, refused; of a crash: file, before, after
    number: int = 0  #: seconds, n-th step
    cut: int | None = None  #: the seed of a power cut
    inner: tuple[Op, ...] = ()

    def __repr__(self) -> str:
        set_ = {k: v for k, v in self.__dict__.items() if k != "kind" and v != Op.__dataclass_fields__[k].default}
        return f"Op({', '.join([repr(self.kind), *(f'{k}={_shown(v)}' for k, v in set_.items())])})"


def _shown(value: object) -> str:
    return (
        str(value)
        if isinstance(value, Ack) and not isinstance(value, str)
        else (f"Ack.{value.name}" if isinstance(value, Ack) else repr(value))
    )


class FailingFiles(CrashFiles):
    """A machine that can stop, and whose disk can say no for a while."""

    code = 0

    def call(self, kind: str, function: Callable[..., Any], *args: Any) -> Any:
        if self.code and kind in WRITES and not self.crashed:
            raise OSError(self.code, os.strerror(self.code))
        return super().call(kind, function, *args)


@dataclass
class Known:
    """What the dictionary knows of a key: the values a read may give, those alt may yet be given by a change that was
    not acknowledged, and whether alt may hold a value that was never acknowledged and that no row knows."""

    values: set[Value] = field(default_factory=lambda: {None})
    coming: set[Value] = field(default_factory=set)
    orphans: set[Value] = field(default_factory=set)

    @property
    def certain(self) -> Value:
        (value,) = self.values
        return value


class Reckoning:
    """What was delivered, by the test's own eyes: no count of the catalogue may be more. ``exact``: keys of which it
    must not be less either, after an orderly stop: a crash costs a second, a delete the counts of its key."""

    def __init__(self, window: float) -> None:
        self.window = window
        self.reads: Counter[str] = Counter()
        self.exact: set[str] = set()
        self.total = 0
        self.crashed = False
        self.last: dict[str, float] = {}

    def watch(self, node: Node) -> None:
        """From its start: nobody remembers the ranges of an earlier one."""
        self.last.clear()
        store, clock = node.parts.store, node.parts.clock
        delivered = store.delivered

        def seen(reading: Reading, visitor: Visitor, sent: int, seconds: float) -> None:
            delivered(reading, visitor, sent, seconds)
            key, now = reading.entry.name.key, clock.monotonic()
            if sent or not reading.entry.size:
                before = self.last.get(key)
                read = reading.range is None or before is None or now - before >= self.window
                self.reads[key] += read
                self.total += read
                self.last[key] = now

        store.delivered = seen  # type: ignore[method-assign]

    def forget(self, key: str) -> None:
        self.exact.discard(key)

    def began(self, key: str) -> None:
        """A write of ``key`` is acknowledged; what was read before is in its row, unless there was none."""
        if key not in self.reads:
            self.exact.add(key)

    async def compare(self, node: Node) -> None:
        """After a flush."""
        catalogue = node.parts.catalogue
        for key in self.reads | Counter(self.exact):
            standing = catalogue.standing(name(key))
            counted = standing.entry.reads + standing.machine_reads if standing is not None else 0
            assert counted <= self.reads[key], f"{key}: {counted} reads are counted, {self.reads[key]} were delivered"
            exact = key in self.exact and not self.crashed
            assert counted == self.reads[key] or not exact, f"{key}: {counted} of {self.reads[key]} reads are counted"
        grown: Counter[str] = Counter()
        for rollup in await catalogue.rollups(3600, 0, 2**40):
            grown.update(rollup.counters)
        counted = sum(grown[f"reads.{reason}"] for reason in Reason)
        assert counted <= self.total
        assert self.crashed or counted == self.total


class World:
    """One node, its alt tier, its machine, its weather, and the dictionary."""

    def __init__(self, root: Path, on_alt_down: OnAltDown = OnAltDown.QUEUE) -> None:
        self.root = root
        self.clock = VirtualClock()
        self.memory = MemoryAlt(clock=self.clock)
        self.alt = FaultyAlt(self.memory)
        self.queues = on_alt_down is OnAltDown.QUEUE
        self.rules = root.with_suffix(".toml")
        self.rules.write_text('[[rule]]\nname = "large"\nwhen = { size = ">= 4000" }\nthen = "purge"\n')
        self.config: dict[str, Any] = {
            "write": WriteSection(on_alt_down=on_alt_down),
            "purge": PurgeSection(rules=str(self.rules), max_objects_per_second=0),
        }  # fmt: skip
        self.reckoning = Reckoning(CountingSection().range_window)
        self.known: dict[str, Known] = {}
        self.armed = False  # a fault of alt waits for its call
        self.alt_down = False
        self.landings: dict[Landing, float] = {}  #: changes that alt does late, and when at the latest
        self.shared_memory = root.with_suffix(".shm")
        self.shared_memory.mkdir(parents=True)
        self.serial = 0
        self.in_parts: dict[bytes, str] = {}  #: ETags of contents that came in parts
        self.crashed = False

    # ------------------------------------------------------------ the machine

    async def start(self) -> None:
        self.files = FailingFiles()
        catalogues: list[FaultyCatalogue] = []

        def wrap(doors: Doors) -> Doors:
            catalogues.append(StoppingCatalogue(doors.catalogue, self.files))
            self.table = VersionTable.open(self.root, Files(), 0.0, self.shared_memory)
            return replace(doors, catalogue=catalogues[0].port, random=lambda: 0.5, versions=self.table)

        self.node = stopped_node(self.root, self.alt, self.clock, self.files, wrap, **self.config)
        await self.node.start()
        self.catalogue = catalogues[0]
        self.rig = Rig(self.node, self.alt, self.root)
        self.reckoning.watch(self.node)

    async def stop(self) -> None:
        if self.files.crashed:
            await self.killed()
        else:
            await self.node.stop(5)
            self.table.close()

    async def killed(self) -> None:
        """Nothing is written to the shared memory from here on, and the kernel lets it go."""
        self.table._closed = True
        await abandon(self.node)
        self.table._unmap()

    async def counted(self) -> None:
        """The catalogue has counted what was delivered."""
        await self.node.parts.tally.flush()
        await self.reckoning.compare(self.node)

    async def idle(self) -> None:
        """Until nothing works in the background, or the machine has stopped."""
        parts = self.node.parts
        while (len(parts.tasks) or parts.queue.running) and not self.files.crashed:
            await asyncio.sleep(0.0002)

    def known_of(self, key: str) -> Known:
        return self.known.setdefault(key, Known())

    @property
    def troubled(self) -> bool:
        return self.alt_down or self.armed

    # ------------------------------------------------------------ the weather

    async def do_purge(self, op: Op) -> None:
        async with self.pins_hold():
            await self.rig.purge(*([op.key] if op.key else []))

    async def do_rule_purge(self, _op: Op) -> None:
        """By the rules: what is large goes."""
        parts = self.node.parts
        await self.idle()
        wish = PurgeRun(0, RunKind.RULES, RunState.ASKED, self.clock.now(), author="model", confirmed=True)
        async with self.pins_hold():
            run = await parts.purges.runs.carry_out(await parts.catalogue.add_run(wish))
        assert run.state is RunState.DONE, run
        assert run.objects + run.skipped >= run.planned_objects, run
        assert sum(one.objects for one in parts.catalogue.run_rules(run.number)) == run.objects

    async def do_pin(self, op: Op) -> None:
        """For ever, or (``number`` 0) not any more."""
        with suppress(NoSuchKey):
            await self.node.parts.catalogue.pin(name(op.key), math.inf if op.number else None)

    @asynccontextmanager
    async def pins_hold(self) -> AsyncIterator[None]:
        """Around a purge: it removes nothing that is pinned."""
        held = {key: blob for key in self.known if (blob := self.held(key)) is not None}
        yield
        assert held == {key: self.held(key) for key in held}

    def held(self, key: str) -> str | None:
        """The blob that no purge may take."""
        standing = self.node.parts.catalogue.standing(name(key))
        return None if standing is None or standing.pinned_until is None else standing.entry.blob

    async def do_alt_down(self, _op: Op) -> None:
        self.alt.down()
        self.alt_down = True

    async def do_alt_up(self, _op: Op) -> None:
        self.alt.heal()
        self.alt_down = self.armed = False

    async def do_alt_fault(self, op: Op) -> None:
        self.armed = True
        if op.effect == "late":
            self.landings[self.alt.late(op.other, nth=op.number)] = math.inf
        elif op.effect == "refused":
            self.alt.fail(op.other, AltRefused("made to refuse"), nth=op.number)
        else:
            self.alt.fail(op.other, nth=op.number, effect=Effect(op.effect))

    async def do_cut_body(self, op: Op) -> None:
        self.armed = True
        self.alt.cut_body(AltUnavailable("cut"), nth=1, chunk=op.number)

    async def do_disk_fails(self, op: Op) -> None:
        self.files.code = op.number or errno.EIO

    async def do_disk_heals(self, _op: Op) -> None:
        self.files.code = 0

    async def do_advance(self, op: Op) -> None:
        await self.pass_time(op.number)

    async def pass_time(self, seconds: int) -> None:
        """What alt does late it does in time."""
        for _ in range(seconds):
            await self.clock.advance(1)
            now = self.clock.monotonic()
            for landing, latest in list(self.landings.items()):
                if landing.waiting and latest == math.inf:
                    self.landings[landing] = now + LATE
                elif latest <= now:
                    await self.land(landing)

    async def land(self, *landings: Landing) -> None:
        """These changes are done now by alt, all that it was asked for if none is named."""
        for landing in landings or [one for one in self.landings if one.waiting]:
            await landing.land()
            del self.landings[landing]

    async def do_land(self, _op: Op) -> None:
        await self.land()

    async def do_wall(self, op: Op) -> None:
        self.clock.jump_wall(op.number)

    async def do_idle(self, _op: Op) -> None:
        await self.idle()

    async def do_upload(self, _op: Op) -> None:
        """Every job is tried now."""
        await self.node.parts.catalogue.hurry(None, self.clock.now())
        self.node.parts.queue.wake()
        await asyncio.sleep(0)
        await self.idle()

    async def do_restart(self, _op: Op) -> None:
        await self.stop()
        await self.start()
        await self.reckoning.compare(self.node)
