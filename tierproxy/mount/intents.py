"""What must be brought to its end, whatever becomes of this process.

Renames of what is an object already, written down before they begin: each is a copy and a delete, and between the
two the mail has two names. Withdrawals, written down before the caller is told EIO: a mail whose PUT or copy is in
doubt may arrive although nobody was told of it, and its sender comes again with another one.

A line of JSON in a file of its own below ``<scratch>/intents``, fsynced with its name.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path

from tierproxy.disk.fsio import disk_errors
from tierproxy.mount.names import parted
from tierproxy.mount.ports import File
from tierproxy.mount.scratch import Scratch


@dataclass(frozen=True, slots=True)
class Step:
    """One object: exactly the content ``etag`` of ``source`` is to be at ``target`` alone. Keys that end in a slash
    are markers."""

    source: str
    target: str
    etag: str = ""
    size: int = 0
    modified: float = 0.0
    changed: float = 0.0
    change: str = ""


@dataclass(frozen=True, slots=True)
class Intent:
    """``steps`` in order. ``source`` and ``target``: what the caller named. ``create``: what is at the target and is
    not this content stays there."""

    source: str
    target: str
    steps: tuple[Step, ...]
    create: bool = True

    @property
    def withdrawal(self) -> bool:
        """No rename: the one step's change is to be taken back."""
        return any(step.change for step in self.steps)

    @property
    def of_directory(self) -> bool:
        return self.source.endswith("/")

    def undone(self) -> Intent:
        """The way back. Of a mail that did not move yet nothing is at its new name, and so nothing happens to it."""
        back = tuple(replace(step, source=step.target, target=step.source) for step in self.steps)
        return Intent(self.target, self.source, back)

    def concerns(self, directory: str, name: str = "") -> bool:
        """Whether names in ``directory`` may be wrong until this is finished. A withdrawal makes only one ``name`` so,
        which ``hides`` takes out of listings."""
        if self.withdrawal:
            return bool(name) and self.source == directory + name
        names = (self.source, self.target)
        return any(parted(name)[0] == directory or (name[-1:] == "/" and directory.startswith(name)) for name in names)

    def hides(self, file: File) -> bool:
        """It is what is to be taken back, and for everybody here not there any more."""
        return any(step.change and step.source == file.key and step.etag in {"", file.etag} for step in self.steps)


class IntentJournal:
    """Where they are kept. Numbers name them."""

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self._directory = scratch.root / "intents"
        self._numbers = count(1)

    async def load(self) -> dict[int, Intent]:
        """What was begun and not ended, oldest first. After ``Scratch.clean``, before ``write``."""
        found = await self._scratch.threads.run(self._load)
        self._numbers = count(max(found, default=0) + 1)
        return found

    async def write(self, intent: Intent) -> int:
        """Durable when it returns. Raises DiskError: then nothing may be begun."""
        number = self.number()
        await self.keep(number, intent)
        return number

    def number(self) -> int:
        """For an intent that is known before it is written."""
        return next(self._numbers)

    async def keep(self, number: int, intent: Intent) -> None:
        """As ``write``, under a number that was given out."""
        await self._scratch.threads.run(self._write, number, intent)

    async def remove(self, number: int, *, durable: bool = False) -> None:
        """Fine if it is not there. ``durable``: it must not come back, as it would be undone. Else it is not fsynced:
        the next ``write`` does that, and what comes back by a power cut before it is the last that was done, which
        finds nothing left to do."""
        await self._scratch.threads.run(self._remove, number, durable)

    def _remove(self, number: int, durable: bool) -> None:
        if self._path(number).exists():
            self._scratch.files.unlink(self._path(number))
        if durable:
            self._scratch.files.fsync_dir(self._directory)

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:012d}"

    def _write(self, number: int, intent: Intent) -> None:
        files = self._scratch.files
        line = json.dumps(asdict(intent)).encode() + b"\n"
        fd = files.create(self._path(number))
        try:
            files.write_at(fd, line, 0)
            files.fsync(fd)
        finally:
            os.close(fd)
        files.fsync_dir(self._directory)

    def _load(self) -> dict[int, Intent]:
        if self._scratch.files.mkdir(self._directory):
            self._scratch.files.fsync_dir(self._scratch.root)
        with disk_errors("list"):
            paths = sorted(Path(entry.path) for entry in os.scandir(self._directory))
        found = {}
        for path in paths:
            intent = _read(path)
            if intent is None:  # torn: it was not durable, so nothing was begun
                self._scratch.files.unlink(path)
            else:
                found[int(path.name)] = intent
        return found


def withdrawal(key: str, etag: str, change: str) -> Intent:
    """``change`` was to create ``key`` with ``etag``."""
    return Intent(key, key, (Step(key, "", etag, change=change),))


def _read(path: Path) -> Intent | None:
    with disk_errors("read"):
        line = path.read_bytes()
    try:
        facts = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    if facts is None:
        return None
    steps = tuple(Step(**step) for step in facts["steps"])
    return Intent(facts["source"], facts["target"], steps, facts["create"])
