"""What the model test (``trial``) is made of: operations as data, the dictionary, and a node that is ill-treated."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import WriteSection
from tierproxy.errors import (
    AltRefused,
    AltUnavailable,
)
from tierproxy.model import Ack, OnAltDown
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.crash import CrashFiles
from tierproxy.testing.faults import Effect, FaultyAlt, Landing
from tierproxy.testing.faulty_catalogue import FaultyCatalogue
from tierproxy.testing.rig import Rig, abandon, stopped_node
from tierproxy.wiring import Doors

from .test_crash import StoppingCatalogue

WRITES = frozenset({"create", "write_at", "fsync", "rename", "mkdir"})
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
    """What the dictionary knows of a key: the values a read may give, and whether alt may hold a value that was never
    acknowledged and that no row knows."""

    values: set[Value] = field(default_factory=lambda: {None})
    orphans: set[Value] = field(default_factory=set)

    @property
    def certain(self) -> Value:
        (value,) = self.values
        return value


class World:
    """One node, its alt tier, its machine, its weather, and the dictionary."""

    def __init__(self, root: Path, on_alt_down: OnAltDown = OnAltDown.QUEUE) -> None:
        self.root = root
        self.clock = VirtualClock()
        self.memory = MemoryAlt(clock=self.clock)
        self.alt = FaultyAlt(self.memory)
        self.queues = on_alt_down is OnAltDown.QUEUE
        self.config = {"write": WriteSection(on_alt_down=on_alt_down)}
        self.known: dict[str, Known] = {}
        self.armed = False  # a fault of alt waits for its call
        self.alt_down = False
        self.landings: list[Landing] = []
        self.serial = 0
        self.in_parts: dict[bytes, str] = {}  #: ETags of contents that came in parts
        self.crashed = False

    # ------------------------------------------------------------ the machine

    async def start(self) -> None:
        self.files = FailingFiles()
        catalogues: list[FaultyCatalogue] = []

        def wrap(doors: Doors) -> Doors:
            catalogues.append(StoppingCatalogue(doors.catalogue, self.files))
            return replace(doors, catalogue=catalogues[0].port, random=lambda: 0.5)

        self.node = stopped_node(self.root, self.alt, self.clock, self.files, wrap, **self.config)
        await self.node.start()
        self.catalogue = catalogues[0]
        self.rig = Rig(self.node, self.alt, self.root)

    async def stop(self) -> None:
        if self.files.crashed:
            await abandon(self.node)
        else:
            await self.node.stop(5)

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
        await self.rig.purge(*([op.key] if op.key else []))

    async def do_alt_down(self, _op: Op) -> None:
        self.alt.down()
        self.alt_down = True

    async def do_alt_up(self, _op: Op) -> None:
        self.alt.heal()
        self.alt_down = self.armed = False

    async def do_alt_fault(self, op: Op) -> None:
        self.armed = True
        if op.effect == "late":
            self.landings.append(self.alt.late(op.other, nth=op.number))
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
        await self.clock.advance(op.number)

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
