"""What locust saw, request by request, and what can be asked of it."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path


class Verb(StrEnum):
    """What was done."""

    READ = "read"
    DELIVER = "deliver"
    LIST = "list"


class Who(StrEnum):
    """Who did it."""

    PEOPLE = "people"
    SCAN = "scan"


HIT, MISS, DIRECT = "hit", "miss", "S3"
"""Where the answer came from: the proxy's disk or memory, S3 by way of the proxy, S3 itself."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One request. ``phase``: in which it began; ``client``: the access key it was signed with; ``source``: of a read
    HIT, MISS or DIRECT, of others DIRECT or "". ``error``: "" when all was well. ``at``: seconds since the start."""

    phase: str
    who: str
    client: str
    verb: str
    source: str
    owner: str
    key: str
    size: int
    milliseconds: float
    at: float
    error: str = ""


class SampleFile:
    """Samples as lines of JSON."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)

    def add(self, sample: Sample) -> None:
        self._file.write(json.dumps(asdict(sample)) + "\n")

    def close(self) -> None:
        self._file.close()


class Samples:
    """All samples of a run."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.all = samples

    @classmethod
    def read(cls, path: Path) -> Samples:
        return cls([Sample(**json.loads(line)) for line in path.read_text().splitlines()])

    def of(
        self, phase: str = "", verb: str = "", source: str | None = None, who: str = "", *, good: bool = True
    ) -> Samples:
        """Those that fit; "" and None: all do. ``good``: without the failed ones."""
        return Samples([
            one for one in self.all
            if (not phase or one.phase == phase) and (not verb or one.verb == verb)
            and (source is None or one.source == source) and (not who or one.who == who)
            and not (good and one.error)
        ])  # fmt: skip

    def __len__(self) -> int:
        return len(self.all)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.all)

    def quantile(self, share: float) -> float:
        """Milliseconds that ``share`` of the requests did not exceed; NaN of none."""
        times = sorted(one.milliseconds for one in self.all)
        return times[min(len(times) - 1, math.ceil(share * len(times)) - 1)] if times else math.nan

    def errors(self) -> list[Sample]:
        return [one for one in self.all if one.error]

    def reads(self, who: str) -> Counter[str]:
        """Whole reads through the proxy, by owner."""
        return Counter(one.owner for one in self.of(verb=Verb.READ, who=who) if one.source != DIRECT)

    def phases(self) -> list[str]:
        """In order."""
        return list(dict.fromkeys(one.phase for one in sorted(self.all, key=lambda one: one.at)))
