"""What came of a replay, counted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tally:
    """Reads of a replay. ``bytes`` and ``hit_bytes``: whole sizes of the objects read, whatever was sent of them.
    ``evictions``: objects that went for want of space; deletes and overwrites are none."""

    requests: int = 0
    hits: int = 0
    bytes: int = 0
    hit_bytes: int = 0
    evictions: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.requests + other.requests,
            self.hits + other.hits,
            self.bytes + other.bytes,
            self.hit_bytes + other.hit_bytes,
            self.evictions + other.evictions,
        )

    @property
    def misses(self) -> int:
        return self.requests - self.hits

    @property
    def hit_ratio(self) -> float:
        """0 when nothing was read."""
        return self.hits / self.requests if self.requests else 0.0

    @property
    def byte_hit_ratio(self) -> float:
        """0 when nothing was read."""
        return self.hit_bytes / self.bytes if self.bytes else 0.0
