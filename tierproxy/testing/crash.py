"""Disks that fail at the n-th call, and machines that stop at it and lose what was not fsynced.

``FaultyFiles`` makes the kernel say no. ``CrashFiles`` stops the machine before (or in the middle of) a call; from then
on every call fails, as nothing runs on a machine that is off. What is on the file system then is what a killed process
leaves behind; ``power_cut`` takes away what a power failure would.
"""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tierproxy.disk.fsio import Files

T = TypeVar("T")

SYNCS = frozenset({"fsync", "fsync_dir"})


class SimulatedCrash(BaseException):
    """The machine stopped. Not an Exception: no ``except Exception`` of the code under test may go on after it."""


class FaultyFiles(Files):
    """The ``nth`` call of ``kind`` (a method of ``Files``; "" for any) fails with ``code`` (errno, as in errno.ENOSPC),
    and with ``lasting`` every one after it. ``calls`` counts what was asked, by kind."""

    def __init__(self, kind: str = "", code: int = 0, *, nth: int = 1, lasting: bool = False) -> None:
        self.kind = kind
        self.code = code
        self.nth = nth
        self.lasting = lasting
        self.calls: Counter[str] = Counter()
        self._lock = threading.Lock()

    def call(self, kind: str, function: Callable[..., T], *args: object) -> T:
        with self._lock:
            self.calls[kind] += 1
            count = self.calls[kind] if self.kind else self.calls.total()
            hit = count == self.nth or (self.lasting and count > self.nth)
        if self.code and hit and self.kind in {"", kind}:
            raise OSError(self.code, os.strerror(self.code))
        return super().call(kind, function, *args)


@dataclass(eq=False)
class _Node:
    """A file or a directory. ``durable``: a file's content at its last fsync; None: never fsynced by us.
    ``entries`` and ``durable_entries``: a directory's, now and at its last fsync. ``known``: it was there before us."""

    is_dir: bool = False
    known: bool = False
    written: int = 0
    changed: bool = False
    durable: bytes | None = None


class CrashFiles(Files):
    """Counts calls (``steps``) and stops the machine at call number ``crash_at`` (0: never). With ``torn`` a write that
    is stopped leaves half its bytes; every other call is stopped before it does anything.

    It assumes the least a file system must keep: content as of the file's last fsync, entries as of their directory's
    last fsync. What was there before the first call below a directory counts as durable. It keeps its own account of
    fsyncs and does not trouble the real disk with them.
    """

    def __init__(self, crash_at: int = 0, *, torn: bool = False) -> None:
        self.crash_at = crash_at
        self.torn = torn
        self.steps = 0
        self.crashed = False
        self.kinds: list[str] = []
        self._lock = threading.RLock()
        self._live: dict[Path, dict[str, _Node]] = {}
        self._durable: dict[Path, dict[str, _Node]] = {}
        self._open: dict[int, _Node] = {}

    def __repr__(self) -> str:
        return f"<CrashFiles at step {self.steps} of {self.crash_at}{', crashed' if self.crashed else ''}>"

    def call(self, kind: str, function: Callable[..., Any], *args: Any) -> Any:
        with self._lock:
            self._step(kind, function, args)
            self._before(args)
            result = None if kind in SYNCS else function(*args)
            getattr(self, f"_after_{kind}")(result, *args)
            return result

    def _step(self, kind: str, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        if self.crashed:
            raise SimulatedCrash("the machine is off")
        self.steps += 1
        self.kinds.append(kind)
        if self.steps == self.crash_at:
            self.crashed = True
            if self.torn and kind == "write_at":
                fd, data, offset = args
                half = data[: len(data) // 2]
                self._after_write_at(function(fd, half, offset), fd, half, offset)
            raise SimulatedCrash(f"stopped at step {self.steps}, {kind}")

    # ------------------------------------------------------------ what the calls did

    def _before(self, args: tuple[Any, ...]) -> None:
        """Take note of what is there, before it changes."""
        for path in args:
            if isinstance(path, Path):
                self._adopt(path.parent)
                node = self._live[path.parent].get(path.name)
                if node is not None and node.known and not node.is_dir and node.durable is None and path.exists():
                    node.durable = path.read_bytes()

    def _adopt(self, directory: Path) -> None:
        if directory in self._live:
            return
        found: dict[str, _Node] = {}
        if directory.is_dir():
            with os.scandir(directory) as entries:
                found = {entry.name: _Node(entry.is_dir(follow_symlinks=False), known=True) for entry in entries}
        self._live[directory] = found
        self._durable[directory] = dict(found)

    def _after_mkdir(self, _result: None, path: Path, _mode: int) -> None:
        self._live[path.parent][path.name] = _Node(is_dir=True)
        self._live[path] = {}
        self._durable[path] = {}

    def _after_create(self, fd: int, path: Path, _flags: int, _mode: int) -> None:
        self._open[fd] = self._live[path.parent][path.name] = _Node()

    def _after_open_or_create(self, fd: int, path: Path, _flags: int, _mode: int) -> None:
        self._open[fd] = self._live[path.parent].setdefault(path.name, _Node())

    def _after_write_at(self, written: int, fd: int, _data: Any, offset: int) -> None:
        node = self._open[fd]
        node.changed = True
        node.written = max(node.written, offset + written)

    def _after_truncate(self, _result: None, fd: int, size: int) -> None:
        node = self._open[fd]
        node.changed = True
        node.written = size

    def _after_allocate(self, _result: None, fd: int, _offset: int, size: int) -> None:
        node = self._open[fd]
        node.changed = True
        node.written = max(node.written, size)

    def _after_fsync(self, _result: None, fd: int) -> None:
        node = self._open[fd]
        node.durable = _content(fd)
        node.changed = False

    def _after_rename(self, _result: None, source: Path, target: Path) -> None:
        self._live[target.parent][target.name] = self._live[source.parent].pop(source.name)

    def _after_unlink(self, _result: None, path: Path) -> None:
        self._live[path.parent].pop(path.name, None)

    def _after_rmdir(self, _result: None, path: Path) -> None:
        self._live[path.parent].pop(path.name, None)

    def _after_fsync_dir(self, _result: None, path: Path) -> None:
        self._adopt(path)
        self._durable[path] = dict(self._live[path])

    # ------------------------------------------------------------ the power failure

    def power_cut(self, root: Path, seed: int = 0, *, keep: float = 0.0) -> None:
        """Leave below ``root`` only what is durable; the machine is off from now on.

        Of what is not: an entry change survives with probability ``keep`` each (a journal may have got that far); the
        content of a file that was not fsynced is cut at a random point, filled with zeros from there, or, in the same
        proportion as ``keep``, whole. ``seed`` makes the choices. Files that did not go through here are left alone.
        """
        with self._lock:
            self.crashed = True
            chance = random.Random(seed)
            wanted = self._survivors(root, chance, keep)
            for path in sorted(self._named(root), reverse=True):
                if path not in wanted:
                    _remove(path)
            for path, content in sorted(wanted.items()):
                _restore(path, content)

    def _survivors(self, root: Path, chance: random.Random, keep: float) -> dict[Path, bytes | None]:
        """Path to content (None: a directory) of everything that is to be there afterwards."""
        places = {id(node): directory / name for directory, names in self._live.items() for name, node in names.items()}
        wanted: dict[Path, bytes | None] = {}
        for directory in sorted(path for path in self._live if path == root or root in path.parents):
            if directory.parent in self._live and directory != root and directory not in wanted:
                continue  # it vanishes itself, with all that is in it
            for name, node in self._entries(directory, chance, keep).items():
                place = places.get(id(node))
                if node.is_dir:
                    wanted[directory / name] = None
                elif place is not None and node.known and not node.changed and node.durable is None:
                    wanted[directory / name] = place.read_bytes()
                else:
                    wanted[directory / name] = _after_power_cut(node, place, chance, keep)
        return wanted

    def _entries(self, directory: Path, chance: random.Random, keep: float) -> dict[str, _Node]:
        live, durable = self._live[directory], self._durable[directory]
        entries = {}
        for name in sorted({*live, *durable}):
            now, then = live.get(name), durable.get(name)
            node = now if now is then or chance.random() < keep else then
            if node is not None:
                entries[name] = node
        return entries

    def _named(self, root: Path) -> set[Path]:
        named = {
            directory / name
            for maps in (self._live, self._durable)
            for directory, names in maps.items()
            for name in names
        }
        return {path for path in named if root in path.parents}


def _after_power_cut(node: _Node, place: Path | None, chance: random.Random, keep: float) -> bytes:
    if not node.changed:
        return node.durable or b""
    if node.durable is not None and chance.random() < 0.5:
        return node.durable
    whole = place.read_bytes() if place is not None else bytes(node.written)
    if chance.random() < keep:
        return whole
    cut = chance.randrange(len(whole) + 1)
    return whole[:cut] + (bytes(len(whole) - cut) if chance.random() < 0.5 else b"")


def _content(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)


def _remove(path: Path) -> None:
    if path.is_dir():
        if not any(path.iterdir()):
            path.rmdir()
    else:
        path.unlink(missing_ok=True)


def _restore(path: Path, content: bytes | None) -> None:
    if content is None:
        path.mkdir(exist_ok=True)
    elif not path.exists() or path.read_bytes() != content:
        path.write_bytes(content)
