"""Where the node is to end itself next: at what was reached least, as early as such calls come."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from tierproxy.testing.doomed import Point

Place = tuple[str, str]  #: door and kind of call, as in ``doomed``

FILE_POINTS = ("create", "write_at", "fsync", "rename", "unlink", "fsync_dir", "mkdir", "open_or_create", "truncate")
CHANGE_POINTS = (
    "publish", "fill", "learn", "suspect", "settle", "uploaded", "tombstone", "forget", "drop_blob", "drop_blobs",
    "add_upload", "add_part", "remove_upload", "postpone", "add_run", "save_run", "count",
)  # fmt: skip
ALT_POINTS = ("put", "put_stream", "delete", "copy")
PLACES: tuple[Place, ...] = (
    *(("files", kind) for kind in FILE_POINTS),
    *(("catalogue", kind) for kind in CHANGE_POINTS),
    *(("alt", kind) for kind in ALT_POINTS),
)
FAULTS_FOR = {
    ("catalogue", "postpone"): "S3 answers 500 to changes",
    ("catalogue", "suspect"): "S3 answers 500 to changes",
    ("catalogue", "settle"): "S3 answers 500 to changes",
    ("catalogue", "drop_blob"): "blobs deleted",
    ("catalogue", "drop_blobs"): "everything purged",
    ("catalogue", "add_run"): "everything purged",
    ("catalogue", "save_run"): "everything purged",
    ("catalogue", "fill"): "everything purged",
    ("catalogue", "learn"): "everything purged",
}
"""Without which a place is seldom come to: the round has it while the node heads for it."""
WITHIN = 1.5  #: seconds of load in which a call should come
MOST = 60
PRIOR = 2.0  #: seconds of load that were seen with nothing in them: the first guess is early


class Aims:
    """``drawn`` and ``reached`` by place and side (after: the call has happened)."""

    def __init__(self, chance: random.Random, places: Sequence[Place] = PLACES) -> None:
        self._chance = chance
        self._places = tuple(places)
        self._rates: Counter[Place] = Counter()
        self._seconds = PRIOR
        self.drawn: Counter[tuple[Place, bool]] = Counter()
        self.reached: Counter[tuple[Place, bool]] = Counter()

    def draw(self, several: int = 1) -> list[Point]:
        """The next: what was reached least, and of that what was tried least, the first for sure. Where a node goes for
        several it ends at the first it comes to, so that what comes seldom keeps nothing else back."""
        places = self._shuffled()
        places.sort(key=lambda one: 2 * self._of(self.reached, one) + self._of(self.drawn, one) / several)
        return [self._aimed(place) for place in places[:several]]

    def _aimed(self, place: Place) -> Point:
        sides = sorted((False, True), key=lambda after: (self.reached[place, after], self.drawn[place, after]))
        undecided = self.drawn[place, False] == self.drawn[place, True]
        after = self._chance.random() < 0.5 if undecided else sides[0]
        self.drawn[place, after] += 1
        door, kind = place
        return Point(door, kind, self._chance.randint(1, self._reachable(place)), after)

    def came(self, point: Point) -> None:
        """The node has ended itself there."""
        self.reached[(point.door, point.kind), point.after] += 1

    def saw(self, calls: Counter[Place], seconds: float) -> None:
        """What a node was called to do in so many seconds of load."""
        self._rates += calls
        self._seconds += seconds

    @property
    def missing(self) -> list[Place]:
        """Never reached, neither before nor after."""
        return [place for place in self._places if not self._of(self.reached, place)]

    def _shuffled(self) -> list[Place]:
        return self._chance.sample(self._places, len(self._places))

    def _of(self, counts: Counter[tuple[Place, bool]], place: Place) -> int:
        return counts[place, False] + counts[place, True]

    def _reachable(self, place: Place) -> int:
        """About as many such calls as come within a moment, one at least."""
        return max(1, min(MOST, int(self._rates[place] / self._seconds * WITHIN)))
