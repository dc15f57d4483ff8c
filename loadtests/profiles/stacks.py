"""What a recorded profile says in words: the functions that took the time."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import report

WAITING = (
    "_worker (concurrent/futures/thread.py)", "WatchedPool._work (tierproxy/offload.py)",
    "Bell.wait (tierproxy/catalogue/writer.py)", "Writer._take (tierproxy/catalogue/writer.py)",
)  # fmt: skip
"""Threads that wait for work by a lock: to py-spy they look as if they worked."""
PLACE = re.compile(r".*(?:/site-packages/|/lib/python3\.\d+/|/(?=tierproxy/))")


@dataclass(frozen=True, slots=True)
class Stacks:
    """Samples of a speedscope file, but those of threads that wait. ``own``: by the function that ran, ``all``: by
    every function on the stack."""

    samples: int
    own: Counter[str]
    all: Counter[str]

    @classmethod
    def read(cls, file: Path) -> Stacks:
        document = json.loads(file.read_text())
        names = [_name(frame) for frame in document["shared"]["frames"]]
        own: Counter[str] = Counter()
        everything: Counter[str] = Counter()
        stacks = [stack for profile in document["profiles"] for stack in profile["samples"] if stack]
        samples = [stack for stack in stacks if names[stack[-1]] not in WAITING]
        for stack in samples:
            own[names[stack[-1]]] += 1
            everything.update({names[frame] for frame in stack})
        return cls(len(samples), own, everything)

    def table(self, most: int) -> str:
        """The functions with most time of their own, and their part with all they call."""
        rows = [
            [name, f"{count / self.samples:.1%}", f"{self.all[name] / self.samples:.1%}"]
            for name, count in self.own.most_common(most)
        ]
        return report.table(("function", "own", "with what it calls"), rows)


def _name(frame: dict[str, object]) -> str:
    return f"{frame['name']} ({PLACE.sub('', str(frame.get('file') or '?'))})"
