"""What was asked of a file system, how it was answered and how long that took."""

from __future__ import annotations

import errno
from collections import Counter

from tierproxy.fuse.protocol import Opcode
from tierproxy.stats import Latency


class Asked:
    """``latency``: from reading a request to its answer, by opcode; ``failed``: answers by opcode and errno. Changed on
    the loop only."""

    def __init__(self) -> None:
        self.latency: dict[int, Latency] = {opcode: Latency() for opcode in Opcode}
        self.failed: Counter[tuple[int, int]] = Counter()

    def __repr__(self) -> str:
        return f"<Asked {sum(one.count for one in self.latency.values())} times>"

    def answered(self, opcode: int, error: int, seconds: float) -> None:
        """``error``: 0 or an errno. Opcodes that are not known are not timed."""
        if opcode in self.latency:
            self.latency[opcode].add(seconds)
        if error:
            self.failed[opcode, error] += 1

    def of(self, opcode: Opcode) -> int:
        """How often it was asked."""
        return self.latency[opcode].count

    def failures(self) -> dict[tuple[str, str], int]:
        """By names, as ("open", "EIO")."""
        return {
            (name_of(opcode), errno.errorcode.get(error, str(error))): count
            for (opcode, error), count in self.failed.items()
        }


def name_of(opcode: int) -> str:
    """``lookup`` for 1; a number for what later kernels have."""
    return Opcode(opcode).name.lower() if opcode in Opcode.__members__.values() else str(opcode)
