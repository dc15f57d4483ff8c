"""Whose blob is being read just now: a purge leaves it for the next time."""

from __future__ import annotations

from collections import Counter

from tierproxy.model import ObjectName


class Leases:
    """Names with a blob open by a reader, or with a flight in the air. A file that goes under a reader stays readable
    for him, so this is no safety: it keeps a purge from removing what somebody obviously wants."""

    def __init__(self) -> None:
        self._held: Counter[ObjectName] = Counter()

    def __repr__(self) -> str:
        return f"<Leases {len(self._held)} held>"

    def take(self, name: ObjectName) -> None:
        """loop. Every take needs a ``give``."""
        self._held[name] += 1

    def give(self, name: ObjectName) -> None:
        left = self._held[name] - 1
        if left > 0:
            self._held[name] = left
        else:
            del self._held[name]

    def held(self, name: ObjectName) -> bool:
        """loop. Somebody is reading it."""
        return name in self._held
