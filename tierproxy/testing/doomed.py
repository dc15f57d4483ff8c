"""``tierproxy`` that kills its own process at a named point, and whose clock can be set from outside.

    python -m tierproxy.testing.doomed [--kill POINT] [--clock FILE] serve --config tierproxy.toml

A point is DOOR:KIND:NTH:WHEN. DOOR and KIND are ``files`` and a method of ``disk.fsio.Files``, ``catalogue`` and a
change of ``faulty_catalogue.CHANGES``, or ``alt`` and one of put, put_stream, delete, copy. At the NTH such call it
kills itself with SIGKILL, ``before`` the call does anything or ``after`` it did and before its caller hears of it:

    files:rename:12:after        the name is there, its directory is not fsynced yet
    catalogue:publish:5:before   the file is durable, no row names it
    catalogue:publish:5:after    the row is durable, the client has no answer
    alt:put:3:after              alt has the object, the catalogue does not know
"""

from __future__ import annotations

import argparse
import functools
import mmap
import os
import re
import signal
import struct
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeVar, cast

from tierproxy.clock import SystemClock
from tierproxy.disk.fsio import Files
from tierproxy.ports import AltTier
from tierproxy.testing.faulty_catalogue import CHANGES, FaultyCatalogue

T = TypeVar("T")
ALT_CALLS = frozenset({"put", "put_stream", "delete", "copy"})
FILE_CALLS = frozenset(
    {"create", "write_at", "truncate", "fsync", "rename", "unlink", "fsync_dir", "mkdir", "open_or_create"}
)  # fmt: skip
KINDS = {"files": FILE_CALLS, "catalogue": CHANGES, "alt": ALT_CALLS}
POINT = re.compile(r"(files|catalogue|alt):(\w+):([1-9]\d*):(before|after)")
OFFSET = struct.Struct("<d")


@dataclass(frozen=True, slots=True)
class Point:
    """Where a process ends. ``after``: the call has happened, and nobody has heard of it."""

    door: str
    kind: str
    nth: int
    after: bool

    def __str__(self) -> str:
        return f"{self.door}:{self.kind}:{self.nth}:{'after' if self.after else 'before'}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError."""
        found = POINT.fullmatch(text)
        if found is None or found[2] not in KINDS[found[1]]:
            raise ValueError(f"{text!r} is not a point: DOOR:KIND:NTH:before|after")
        return cls(found[1], found[2], int(found[3]), found[4] == "after")


class Doom:
    """Counts calls, and ends the process at its point."""

    def __init__(self, point: Point, end: Callable[[], None] | None = None) -> None:
        self._point = point
        self._end = end or _end
        self._calls = 0
        self._mutex = threading.Lock()

    def about(self, door: str, kind: str) -> bool:
        """Such calls are counted."""
        return (door, kind) == (self._point.door, self._point.kind)

    def meets(self, door: str, kind: str) -> bool:
        """A call; whether it is the one. Ends the process if it is not to happen any more."""
        if not self.about(door, kind):
            return False
        point = self._point
        with self._mutex:
            self._calls += 1
            hit = self._calls == point.nth
        if hit and not point.after:
            self._end()
        return hit and point.after

    def strike(self) -> None:
        """The call has happened."""
        self._end()


def _end() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class DoomedFiles(Files):
    """The disk's side."""

    def __init__(self, doom: Doom) -> None:
        self._doom = doom

    def call(self, kind: str, function: Callable[..., T], *args: object) -> T:
        last = self._doom.meets("files", kind)
        result = super().call(kind, function, *args)
        if last:
            self._doom.strike()
        return result


class DoomedCatalogue(FaultyCatalogue):
    """The catalogue's side. A change that follows a file waits for it first: killed before, the file is durable."""

    def __init__(self, inner: Any, doom: Doom) -> None:
        super().__init__(inner)
        self._doom = doom

    async def _change(self, name: str, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("after") is not None and self._doom.about("catalogue", name):
            await kwargs.pop("after").wait()
        last = self._doom.meets("catalogue", name)
        result = await method(*args, **kwargs)
        if last:
            self._doom.strike()
        return result


class DoomedAlt:
    """Alt's side."""

    def __init__(self, inner: AltTier, doom: Doom) -> None:
        self._inner = inner
        self._doom = doom

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._inner, name)
        return functools.partial(self._change, name, attribute) if name in ALT_CALLS else attribute

    async def _change(self, name: str, call: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any) -> T:
        last = self._doom.meets("alt", name)
        result = await call(*args, **kwargs)
        if last:
            self._doom.strike()
        return result


class SetClock:
    """The machine's clock, off by the seconds that ``file`` says (8 bytes, little-endian): ``set_clock`` makes it jump.
    Time that passes (``monotonic``, ``sleep``) is the machine's own, as after a jump of the wall clock."""

    def __init__(self, file: Path) -> None:
        with file.open("rb") as opened:
            self._offset = mmap.mmap(opened.fileno(), OFFSET.size, prot=mmap.PROT_READ)
        self._machine = SystemClock()
        self.monotonic, self.sleep, self.call_later = time.monotonic, self._machine.sleep, self._machine.call_later

    def now(self) -> float:
        return time.time() + float(OFFSET.unpack_from(self._offset)[0])


def set_clock(file: Path, seconds: float) -> None:
    """Every ``SetClock`` of ``file`` is off by ``seconds`` from now on. Makes the file."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.pwrite(descriptor, OFFSET.pack(seconds), 0)
    finally:
        os.close(descriptor)


def doom_node(point: Point) -> None:
    """Whatever node this process builds from now on ends it at ``point``."""
    from tierproxy import wiring

    house, doom = cast(Any, wiring), Doom(point)
    open_local, assemble, open_alt = house.open_local, house.assemble, house.open_alt
    house.open_local = functools.partial(open_local, files=DoomedFiles(doom))
    house.assemble = lambda doors: assemble(replace(doors, catalogue=DoomedCatalogue(doors.catalogue, doom).port))
    house.open_alt = lambda config, clock: DoomedAlt(open_alt(config, clock), doom)


def use_clock(file: Path) -> None:
    """Whatever node ``serve`` builds from now on goes by this clock."""
    from tierproxy.cli import serve

    program = cast(Any, serve)
    program.build = functools.partial(program.build, clock=SetClock(file))


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kill", type=Point.parse, help="DOOR:KIND:NTH:before|after")
    parser.add_argument("--clock", type=Path, help="file with the seconds the clock is off")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what tierproxy is to do")
    options = parser.parse_args(arguments)
    if options.kill is not None:
        doom_node(options.kill)
    if options.clock is not None:
        use_clock(options.clock)
    from tierproxy.cli import main as program

    sys.argv = ["tierproxy", *options.command]
    program()


if __name__ == "__main__":
    main(sys.argv[1:])
