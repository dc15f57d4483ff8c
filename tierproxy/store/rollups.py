"""From counters that only grow to what they grew by: the increments of a flush."""

from __future__ import annotations

from collections.abc import Callable, Mapping

Sample = Callable[[], Mapping[str, int]]


class Rollups:
    """Counters of several rooms under their dotted names. Nobody else may take their growth."""

    def __init__(self, *samples: Sample) -> None:
        self._samples = samples
        self._last: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Rollups of {len(self._last)} counters>"

    def growth(self) -> dict[str, int]:
        """loop. What each counter grew by since the last call; those that did not are left out."""
        grown: dict[str, int] = {}
        for sample in self._samples:
            for name, value in sample().items():
                if value != self._last.get(name, 0):
                    grown[name] = value - self._last.get(name, 0)
                    self._last[name] = value
        return grown
