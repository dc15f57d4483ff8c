"""What a round saw, and what was wrong with it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum


class Wrong(StrEnum):
    """What must never be. The first four are the zeros that a run ends with."""

    LOST = "lost"  #: an acknowledged write is not there, is older content, or cannot be read
    RESURRECTED = "resurrected"  #: an acknowledged delete is there
    BYTES = "wrong bytes"  #: bytes nobody ever wrote, or not all of them
    LEAKED = "leaked"  #: space, a row, a file, a descriptor, a connection, a thread or a process that stays
    BROKEN = "broken"  #: another promise: an answer that is none, an alarm that is missing, a node that does not start
    VAIN = "proves nothing"  #: a fault that met nobody


ZEROS = (Wrong.LOST, Wrong.RESURRECTED, Wrong.BYTES, Wrong.LEAKED)


@dataclass(frozen=True, slots=True)
class Failing:
    """``key``: of the ledger, if it is about one."""

    wrong: Wrong
    text: str
    key: str = ""

    def __str__(self) -> str:
        return f"{self.wrong.upper()}: {f'{self.key}: ' if self.key else ''}{self.text}"


@dataclass
class Tally:
    """Of one round; several clients write to it. ``peak``: most jobs the journal had."""

    number: int = 0
    plan: str = ""
    operations: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    unanswered: int = 0
    refused: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    points: Counter[str] = field(default_factory=Counter)  #: where the node ended itself
    seen: Counter[str] = field(default_factory=Counter)  #: other things worth a line
    failings: list[Failing] = field(default_factory=list)
    peak: int = 0
    drained: float = 0.0
    phases: dict[str, float] = field(default_factory=dict)  #: seconds by what the harness did, for who watches
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def line(self) -> str:
        """For who watches."""
        return (
            f"{self.acknowledged} acknowledged, {self.unanswered} unanswered, at most {self.peak} pending, "
            f"{self.points.total()} points, {len(self.failings)} wrong; seconds: "
            + ", ".join(f"{name} {seconds:.0f}" for name, seconds in self.phases.items())
        )

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        begin = time.monotonic()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + time.monotonic() - begin

    def did(self, operation: str) -> None:
        with self._lock:
            self.operations[operation] += 1

    def ended(self, *, acknowledged: int = 0, unanswered: int = 0, refused: int = 0) -> None:
        with self._lock:
            self.acknowledged += acknowledged
            self.unanswered += unanswered
            self.refused += refused

    def fail(self, wrong: Wrong, text: str, key: str = "") -> None:
        with self._lock:
            self.failings.append(Failing(wrong, text, key))

    def count(self, wrong: Wrong) -> int:
        return sum(one.wrong is wrong for one in self.failings)
