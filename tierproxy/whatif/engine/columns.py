"""The objects of a trace as columns: what the catalogue knows of each, by its number."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from json import dumps

from tierproxy.disk.trailer import PAGE, table_length
from tierproxy.trace import Objects

NOWHERE = math.nan
"""Of ``stored`` and ``purged``: not on disk, not purged. No comparison with it is true, as with NULL in SQL."""

RECORD = 199
"""Bytes of a blob's record beside its names: the fixed fields, and a label with an ETag and a content type."""

UNKNOWN = -1  #: of ``masks``: nobody has asked yet
LATE = 3  #: visits are counted up to this, as in the catalogue


def blob_bytes(size: int, names: int) -> int:
    """What a blob of ``size`` body bytes occupies when bucket and key have ``names`` characters: body, table and record
    (``tierproxy.disk.trailer``), rounded up. Metadata, which a trace does not have, may take a page more."""
    return -(-(size + table_length(size) + RECORD + names) // PAGE) * PAGE


def _label(name: str) -> int:
    """Characters of ``name`` in a blob's record, which is JSON in ASCII."""
    plain = name.isascii() and name.isprintable() and '"' not in name and "\\" not in name
    return len(name) if plain else len(dumps(name)) - 2


class Columns:
    """``written``, ``stored``, ``purged``: seconds since the epoch; ``used``: since when it is idle, as
    ``Facts.idle_since``; ``reads``, ``machine``: since it was written first; ``size``: of the body, ``blob``: on disk,
    0: not there; ``by``: number of the reason that purged it; ``visits``, ``main``, ``queued``, ``worth``: as in the
    catalogue. ``days`` and ``machine_days``: one UTC day for each read, ascending; kept only where rules ask for them.
    ``masks``: which rules' texts fit, ``UNKNOWN`` at first. ``alive``: alt has it."""

    def __init__(self, objects: Objects) -> None:
        count = len(objects)
        self.objects = objects
        self.written = array("d", bytes(8 * count))
        self.stored = array("d", [NOWHERE]) * count
        self.used = array("d", bytes(8 * count))
        self.purged = array("d", [NOWHERE]) * count
        self.queued = array("d", bytes(8 * count))
        self.worth = array("d", bytes(8 * count))
        self.size = array("q", bytes(8 * count))
        self.blob = array("q", bytes(8 * count))
        self.reads = array("q", bytes(8 * count))
        self.machine = array("q", bytes(8 * count))
        self.by = array("h", bytes(2 * count))
        self.masks = [UNKNOWN] * count
        self.visits = bytearray(count)
        self.main = bytearray(count)
        self.alive = bytearray(count)
        self._labels = array("i", bytes(4 * count))  # characters of bucket and key, 0: not counted yet
        self.days: list[list[int] | None] = [None] * count
        self.machine_days: list[list[int] | None] = [None] * count

    def __len__(self) -> int:
        return len(self.reads)

    def footprint(self, number: int) -> int:
        """Bytes its blob would occupy."""
        labels = self._labels[number]
        if not labels:
            objects = self.objects
            labels = self._labels[number] = _label(objects.buckets[number]) + _label(objects.keys[number])
        return blob_bytes(self.size[number], labels)

    def forget(self, number: int) -> None:
        """It was deleted: what comes under its key later begins anew."""
        self.stored[number] = self.purged[number] = NOWHERE
        self.reads[number] = self.machine[number] = self.blob[number] = 0
        self.visits[number] = self.main[number] = self.alive[number] = 0
        self.days[number] = self.machine_days[number] = None

    def names(self, numbers: Sequence[int]) -> list[int]:
        """``numbers`` in the order of their names, as the catalogue walks them."""
        buckets, keys = self.objects.buckets, self.objects.keys
        return sorted(numbers, key=lambda number: (buckets[number], keys[number]))
