"""What a round saw, and what was wrong with it."""

from __future__ import annotations

import threading
from collections import Counter
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
    seen: Counter[str] = field(default_factory=Counter)  #: other things worth a line
    failings: list[Failing] = field(default_factory=list)
    peak: int = 0
    drained: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def line(self) -> str:
        """For who watches."""
        return (
            f"{self.acknowledged} acknowledged, {self.unanswered} unanswered, at most {self.peak} pending, "
            f"{len(self.failings)} wrong"
        )

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
