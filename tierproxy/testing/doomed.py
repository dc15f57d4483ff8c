"""``tierproxy`` that kills its own process at a named point, and whose clock can be set from outside.

    python -m tierproxy.testing.doomed [--kill POINT]... [--calls FILE] [--look FILE] [--clock FILE] serve --config FILE

A point is DOOR:KIND:NTH:WHEN. DOOR and KIND are ``files`` and a method of ``disk.fsio.Files``, ``catalogue`` and a
change of ``faulty_catalogue.CHANGES``, or ``alt`` and one of put, put_stream, delete, copy. At the NTH such call it
kills itself with SIGKILL, ``before`` the call does anything or ``after`` it did and before its caller hears of it:

    files:rename:12:after        the name is there, its directory is not fsynced yet
    catalogue:publish:5:before   the file is durable, no row names it
    catalogue:publish:5:after    the row is durable, the client has no answer
    alt:put:3:after              alt has the object, the catalogue does not know

The file of ``--calls`` has what was called how often, also after a SIGKILL; at SIGUSR1 the file of ``--look`` says
which tasks and threads there are.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import mmap
import os
import re
import signal
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeVar, cast

from tierproxy.clock import SystemClock
from tierproxy.disk.fsio import Files
from tierproxy.ports import AltTier
from tierproxy.testing.faulty_catalogue import CHANGES, FaultyCatalogue
from tierproxy.testing.small_caches import remember

T = TypeVar("T")
ALT_CALLS = frozenset({"put", "put_stream", "delete", "copy"})
FILE_CALLS = frozenset(
    {"create", "write_at", "truncate", "fsync", "rename", "unlink", "fsync_dir", "mkdir", "open_or_create"}
)  # fmt: skip
KINDS = {"files": FILE_CALLS, "catalogue": CHANGES, "alt": ALT_CALLS}
POINT = re.compile(r"(files|catalogue|alt):(\w+):([1-9]\d*):(before|after)")
PLACES = tuple((door, kind) for door, kinds in KINDS.items() for kind in sorted(kinds))  #: in the file of calls
COUNT = struct.Struct("<Q")
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


class CallsFile:
    """How often each kind of call was made, in a file that outlives the process. One process writes, others read."""

    SIZE = COUNT.size * len(PLACES)

    def __init__(self, file: Path) -> None:
        """Begins at nought."""
        file.write_bytes(bytes(self.SIZE))
        with file.open("r+b") as opened:
            self._memory = mmap.mmap(opened.fileno(), self.SIZE)
        self._offsets = {place: number * COUNT.size for number, place in enumerate(PLACES)}

    def note(self, door: str, kind: str, calls: int) -> None:
        COUNT.pack_into(self._memory, self._offsets[door, kind], calls)

    @staticmethod
    def read(file: Path) -> Counter[tuple[str, str]]:
        """Those that were called; nothing where there is no such file."""
        content = file.read_bytes() if file.exists() else b""
        numbers = (count for (count,) in COUNT.iter_unpack(content))
        return Counter({place: count for place, count in zip(PLACES, numbers, strict=False) if count})


class Doom:
    """Counts calls, and ends the process at the first of its points that it comes to."""

    def __init__(self, *points: Point, end: Callable[[], None] | None = None, calls: CallsFile | None = None) -> None:
        self._points = {(point.door, point.kind, point.nth): point for point in points}
        self._places = {(point.door, point.kind) for point in points}
        self._end = end or _end
        self._counts: Counter[tuple[str, str]] = Counter()
        self._calls = calls
        self._mutex = threading.Lock()

    def about(self, door: str, kind: str) -> bool:
        """It may end at such a call."""
        return (door, kind) in self._places

    def meets(self, door: str, kind: str) -> bool:
        """A call; whether it is the one. Ends the process if it is not to happen any more."""
        with self._mutex:
            count = self._counts[door, kind] = self._counts[door, kind] + 1
            if self._calls is not None:
                self._calls.note(door, kind, count)
        point = self._points.get((door, kind, count))
        if point is None:
            return False
        if not point.after:
            self._end()
        return point.after

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
        if kind not in FILE_CALLS:
            return super().call(kind, function, *args)
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


def doom_node(doom: Doom) -> None:
    """Whatever node this process builds from now on makes its calls under the eyes of ``doom``."""
    from tierproxy import wiring
    from tierproxy.alt import opening

    house, street = cast(Any, wiring), cast(Any, opening)
    open_local, assemble, limited = house.open_local, house.assemble, street.Limited
    house.open_local = functools.partial(open_local, files=DoomedFiles(doom))
    house.assemble = lambda doors: assemble(replace(doors, catalogue=DoomedCatalogue(doors.catalogue, doom).port))
    street.Limited = lambda alt, *args, **kwargs: limited(DoomedAlt(alt, doom), *args, **kwargs)


def show_what_runs(file: Path) -> None:
    """From now on SIGUSR1 writes the names of this process' tasks and threads into ``file``."""

    def look(_signal: int, _frame: object) -> None:
        try:
            tasks = Counter(_named(task) for task in asyncio.all_tasks(asyncio.get_running_loop()))
        except RuntimeError:  # no loop runs
            tasks = Counter()
        threads = Counter(thread.name for thread in threading.enumerate())
        half = file.with_suffix(".new")
        half.write_text(json.dumps({"tasks": tasks, "threads": threads}))
        half.rename(file)

    signal.signal(signal.SIGUSR1, look)


def _named(task: asyncio.Task[Any]) -> str:
    """Its name; of one that has none, what it does."""
    name, does = task.get_name(), task.get_coro()
    return getattr(does, "__qualname__", name) if name.startswith("Task-") else name


def use_clock(file: Path) -> None:
    """Whatever node ``serve`` builds from now on goes by this clock."""
    from tierproxy.cli import serve

    program = cast(Any, serve)
    program.build = functools.partial(program.build, clock=SetClock(file))


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--kill", type=Point.parse, action="append", default=[], help="DOOR:KIND:NTH:before|after; of several the first"
    )
    parser.add_argument("--calls", type=Path, help="file that counts calls")
    parser.add_argument("--look", type=Path, help="file that SIGUSR1 writes tasks and threads to")
    parser.add_argument("--clock", type=Path, help="file with the seconds the clock is off")
    parser.add_argument("--names", type=int, default=0, help="how many names it remembers at most (0: as always)")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what tierproxy is to do")
    options = parser.parse_args(arguments)
    if options.kill or options.calls is not None:
        doom_node(Doom(*options.kill, calls=CallsFile(options.calls) if options.calls is not None else None))
    if options.look is not None:
        show_what_runs(options.look)
    if options.clock is not None:
        use_clock(options.clock)
    if options.names:
        remember(options.names)
    from tierproxy.cli import main as program

    sys.argv = ["tierproxy", *options.command]
    program()


if __name__ == "__main__":
    main(sys.argv[1:])
