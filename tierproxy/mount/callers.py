"""On whose behalf the kernel asks: the program of the process, and whether that makes it a person or a machine."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from tierproxy.mount.ports import NOBODY, Who
from tierproxy.ports import Clock
from tierproxy.traffic import Reason

FOR = 2.0
"""Seconds a process's name is believed: it may exec, and its number may be another's one day."""
MANY = 4096

MACHINES = (
    ("lmtp", Reason.INDEX),
    ("indexer", Reason.INDEX),
    ("doveadm", Reason.SCAN),
    ("dsync", Reason.BACKUP),
)
"""Beginnings of program names. Everybody else is a person's: imap, imap-hibernate, pop3, managesieve, a shell."""


def program_of(pid: int) -> str:
    """The name of a process as the kernel has it (15 bytes at most), "" for one that is gone. Source: proc(5)."""
    try:
        return Path(f"/proc/{pid}/comm").read_bytes().decode(errors="replace").strip()
    except OSError:
        return ""


class Callers:
    """Process numbers as ``Who``. ``program_of``: reads the name of a process."""

    def __init__(self, clock: Clock, program_of: Callable[[int], str] = program_of) -> None:
        self._clock = clock
        self._program_of = program_of
        self._known: OrderedDict[int, tuple[float, Who]] = OrderedDict()

    def who(self, pid: int) -> Who:
        """0, as for a process of another pid namespace: nobody, which counts as a person."""
        if not pid:
            return NOBODY
        until, who = self._known.get(pid, (0.0, NOBODY))
        now = self._clock.monotonic()
        if now >= until:
            who = _told(self._program_of(pid))
            self._known[pid] = now + FOR, who
            self._known.move_to_end(pid)
            if len(self._known) > MANY:
                self._known.popitem(last=False)
        return who


def _told(program: str) -> Who:
    reason = next((reason for begin, reason in MACHINES if program.startswith(begin)), Reason.PERSON)
    return Who(reason.value, program) if program else NOBODY
