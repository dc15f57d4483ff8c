"""Events and places for the tests of this directory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tierproxy.disk.fsio import Files
from tierproxy.history.files import HistoryFiles
from tierproxy.history.reading import open_history
from tierproxy.model import ObjectName
from tierproxy.ports import FileCalls
from tierproxy.testing.clock import EPOCH
from tierproxy.traffic import Event, EventKind, Outcome, Reason


def read_event(number: int, at: float | None = None, **facts: Any) -> Event:
    """The ``number``-th read: one second after the one before, of a key of its own."""
    given: dict[str, Any] = {"owner": "alice@example.org", "folder": "inbox", "size": 1000, "sent": 1000}
    given |= {"outcome": Outcome.DISK, "reason": Reason.PERSON, "client": "AKIA@10.0.0.1"} | facts
    when = EPOCH + number if at is None else at
    return Event(when, EventKind.READ, ObjectName("mail", f"example.org/alice/u.{number}"), **given)


def events(first: int, count: int) -> list[Event]:
    return [read_event(number) for number in range(first, first + count)]


def numbers(*places: Path) -> list[int]:
    """Which of ``read_event`` are there, in the order in which they are read."""
    return [int(event["key"].rpartition(".")[2]) for event in open_history(*places).events()]


def history_files(root: Path, files: FileCalls | None = None) -> HistoryFiles:
    return HistoryFiles(root / "history", files or Files(), "here")


def names(root: Path) -> list[str]:
    """Files of history below ``root``, by their suffixes."""
    return sorted(path.suffix for path in (root / "history").iterdir())


def open_below(root: Path) -> list[str]:
    """Descriptors of this process that are open below ``root``."""
    found = [Path(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
    targets = [os.readlink(link) for link in found if link.is_symlink()]
    return [target for target in targets if target.startswith(str(root))]
