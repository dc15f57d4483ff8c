"""How long people wait, by where a mail comes from."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, replace

from tierproxy.traffic import Outcome, Rollup
from tierproxy.whatif.result import Delay


@dataclass(frozen=True, slots=True)
class Latencies:
    """Seconds to the first byte from memory, disk and alt, bytes a second from alt, and the share of hits that memory
    serves. Without measurements: a local SSD, and S3 in the same region, whose first byte takes 100 to 200 ms for small
    objects (AWS, "Best practices design patterns: optimizing Amazon S3 performance")."""

    memory: float = 0.00005
    disk: float = 0.001
    alt: float = 0.15
    alt_bytes_per_second: float = 50e6
    memory_share: float = 0.5

    def of(self, hits: int, missed: array[int]) -> Delay:
        """Mean and 99th percentile (nearest rank) of ``hits`` and of misses that delivered ``missed`` bytes each."""
        total = hits + len(missed)
        if not total:
            return Delay()
        from_memory = round(hits * self.memory_share)
        waits = len(missed) * self.alt + sum(missed) / self.alt_bytes_per_second
        mean = (from_memory * self.memory + (hits - from_memory) * self.disk + waits) / total
        rank = -(-99 * total // 100)
        if rank <= from_memory:
            return Delay(mean, self.memory)
        if rank <= hits:
            return Delay(mean, self.disk)
        size = sorted(missed)[rank - hits - 1]
        return Delay(mean, self.alt + size / self.alt_bytes_per_second)


DEFAULT = Latencies()


def measured(rollups: Iterable[Rollup], otherwise: Latencies = DEFAULT) -> Latencies:
    """Means of what a node counted (``latency.*``, ``gets.hits.*`` of ``tierproxy.store.counters``); where it counted
    nothing, ``otherwise``. The time of a miss is taken from fills and passes: a join waits for somebody else's."""
    sums: dict[str, int] = {}
    for rollup in rollups:
        for name, value in rollup.counters.items():
            if name.startswith(("latency.", "gets.hits.")):
                sums[name] = sums.get(name, 0) + value
    memory, disk = _mean(sums, Outcome.MEMORY), _mean(sums, Outcome.DISK)
    alt = _mean(sums, Outcome.FILL, Outcome.PASS)
    hits = [sums.get(f"gets.hits.{outcome}", 0) for outcome in (Outcome.MEMORY, Outcome.DISK)]
    return replace(
        otherwise,
        memory=otherwise.memory if memory is None else memory,
        disk=otherwise.disk if disk is None else disk,
        alt=otherwise.alt if alt is None else alt,
        memory_share=hits[0] / sum(hits) if sum(hits) else otherwise.memory_share,
    )


def _mean(sums: dict[str, int], *outcomes: Outcome) -> float | None:
    """Seconds."""
    count = sum(sums.get(f"latency.{outcome}.count", 0) for outcome in outcomes)
    spent = sum(sums.get(f"latency.{outcome}.us", 0) for outcome in outcomes)
    return spent / count / 1e6 if count else None
