"""Processor time of a running process, as its kernel counts it (proc(5), /proc/PID/task/TID/stat)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds. ``program``: outside the kernel; ``kernel``: in system calls; ``loop``: both, of the first thread, which
    is the event loop's."""

    program: float
    kernel: float
    loop: float

    @classmethod
    def by(cls, pid: int) -> Spent:
        """Since the process began, by its threads there are now."""
        threads = {task.name: _seconds(task) for task in Path(f"/proc/{pid}/task").iterdir()}
        return cls(
            sum(program for program, _ in threads.values()),
            sum(kernel for _, kernel in threads.values()),
            sum(threads[str(pid)]),
        )

    def since(self, before: Spent) -> Spent:
        return Spent(self.program - before.program, self.kernel - before.kernel, self.loop - before.loop)

    def shares(self) -> str:
        """In words."""
        both = (self.program + self.kernel) or 1.0
        return (
            f"of the node's processor time {self.program / both:.0%} in the program, {self.kernel / both:.0%} in the "
            f"kernel; {self.loop / both:.0%} in the event loop's thread"
        )


def _seconds(task: Path) -> tuple[float, float]:
    fields = (task / "stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) / TICKS, int(fields[12]) / TICKS
