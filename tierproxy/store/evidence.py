"""What rows, files and alt say of each other: the judgements that scrub, check, rebuild and sync share."""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from enum import StrEnum

from tierproxy.errors import BlobCorrupt
from tierproxy.model import AltObject, BlobLabel, Entry, ObjectName, SealedBlob, State
from tierproxy.ports import Catalogue, DiskTier

FEW = 100  #: so many files without a row are nothing unusual, however small the catalogue is


async def sound(disk: DiskTier, entry: Entry) -> None:
    """Read the entry's blob to its end and compare its trailer with the row.

    Raises BlobMissing, BlobCorrupt (also for a sound file that belongs to something else), DiskUnavailable.
    """
    assert entry.blob is not None, "only entries with a blob"
    label, sealed = await disk.verify(entry.blob)
    said = (label.name, label.generation, sealed.size, sealed.xxh3)
    if said != (entry.name, entry.generation, entry.size, entry.xxh3 or sealed.xxh3):
        raise BlobCorrupt(f"{entry.blob} holds {label.name} generation {label.generation}, not {entry.name}")


class Fate(StrEnum):
    """What becomes of a blob file that no row names."""

    REMOVE = "remove"  #: certainly of no use
    KEEP = "keep"  #: may be an acknowledged write: in flight, or unknown to a catalogue restored from a backup
    QUARANTINE = "quarantine"  #: damaged: nobody can say what it was


def fate(label: BlobLabel | None, row: Entry | None, catalogue: Catalogue, ceiling: int) -> Fate:
    """Judge a file without a row by its trailer (None: it has no sound one).

    ``ceiling``: a generation that was not given out when the files were looked for was begun. A file at or above it is
    a write of this very process. A file of a generation no process has committed under (``unaccounted``) was cut off by
    a crash, or the catalogue is older than the file (restored from a backup): nobody can tell here, so it is never
    touched. Any other write without a row was never acknowledged, or the object was overwritten or deleted since: both
    orders are "publish the file, commit the row, answer" and "commit the row, unlink the old file".
    """
    if label is None:
        return Fate.QUARANTINE
    if label.generation >= ceiling or catalogue.unaccounted(label.generation):
        return Fate.KEEP
    if row is not None and row.generation == label.generation and row.state is not State.CLEAN:
        return Fate.KEEP  # a second copy of bytes that may be nowhere else
    return Fate.REMOVE


def plausible(known: int, unknown: int) -> bool:
    """Whether ``unknown`` files without a row beside ``known`` with one look like leftovers of crashes.

    More of them than of the others means that the catalogue is not the one these files belong to (lost, or of another
    data directory). Then nothing is removed: `tierproxy catalogue rebuild` reads them back.
    """
    return unknown <= max(FEW, known)


def same_etag(found: AltObject, label: BlobLabel, sealed: SealedBlob) -> bool:
    """Alt's object and the blob have the same size and the ETag their client was shown."""
    return found.size == sealed.size and (found.client_etag or found.etag) == label.etag


def agrees(found: AltObject, entry: Entry) -> bool:
    """What alt shows of an object is what a CLEAN row says. A row that never learnt alt's ETag is held to the size."""
    return found.size == entry.size and entry.alt_etag in {None, found.etag}


class Seen:
    """A set of object names in 8 bytes each: 10,000,000 take 80 MB.

    Only 64-bit hashes are kept. Two of 10,000,000 names collide once in 370,000 runs; then one name that was not added
    looks as if it was. Names are added first and asked for afterwards.
    """

    def __init__(self) -> None:
        self._bins = [array("Q") for _ in range(4096)]
        self._sorted = False

    def __len__(self) -> int:
        return sum(len(values) for values in self._bins)

    def add(self, name: ObjectName) -> None:
        value = _hash(name)
        self._bins[value & 4095].append(value)
        self._sorted = False

    def __contains__(self, name: ObjectName) -> bool:
        if not self._sorted:
            self._bins = [array("Q", sorted(values)) for values in self._bins]
            self._sorted = True
        value = _hash(name)
        values = self._bins[value & 4095]
        place = bisect_left(values, value)
        return place < len(values) and values[place] == value


def _hash(name: ObjectName) -> int:
    text = f"{name.bucket}\0{name.key}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
