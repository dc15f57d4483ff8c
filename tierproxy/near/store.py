"""Objects as they stand, by a catalogue, a version table and the blobs' files (``tierproxy.ports.Near``)."""

from __future__ import annotations

from collections.abc import Callable

from tierproxy.disk.inline import InlineBodies
from tierproxy.errors import DiskError
from tierproxy.model import Entry, ObjectName, State
from tierproxy.near.versions import EPOCH, NOBODY, slot_of
from tierproxy.ports import Standing

CERTAIN = frozenset({State.CLEAN, State.DIRTY})


class NearStore:
    """For the process that has the table for good: the node, and its workers. ``table``: as ``VersionTable.table``, so
    that callers can inline ``stands``."""

    def __init__(
        self, *, table: memoryview, find: Callable[[ObjectName], Entry | None], bodies: InlineBodies,
        exclusive: Callable[[str], bool],
    ) -> None:  # fmt: skip
        """``find``: a look-up that sees every commit made before it is called. ``exclusive``: nobody else writes to the
        bucket; what it says may only change together with the epoch."""
        self.table = table
        self._find = find
        self._bodies = bodies
        self._exclusive = exclusive

    def find(self, name: ObjectName) -> Standing | None:
        """See ``tierproxy.ports.Near``. The numbers first: a commit after them makes them too old, never too new."""
        table = self.table
        slot = slot_of(name)
        version, epoch = table[slot], table[EPOCH]
        if epoch == NOBODY:
            return None
        try:
            if not self._exclusive(name.bucket):
                return None
            entry = self._find(name)
        except DiskError:
            return None
        if entry is None or entry.blob is None or entry.headers is None or entry.xxh3 is None:
            return None
        return Standing(entry, slot, version, epoch) if entry.state in CERTAIN else None

    def stands(self, standing: Standing) -> bool:
        """See ``tierproxy.ports.Near``."""
        table = self.table
        return bool(table[standing.slot] == standing.version and table[EPOCH] == standing.epoch)

    def read(self, standing: Standing) -> bytes | None:
        """See ``tierproxy.ports.Near``."""
        entry = standing.entry
        return self._bodies.cached(entry.blob or "", entry.size, entry.xxh3 or b"")

    def sweep(self) -> None:
        """See ``tierproxy.ports.Near``."""
        self._bodies.sweep()

    def close(self) -> None:
        """Idempotent. What is held of files is given back."""
        self._bodies.close()

    def load(self, standing: Standing) -> bytes | None:
        """See ``tierproxy.ports.Near``."""
        entry = standing.entry
        return self._bodies.loaded(entry.blob or "", entry.size, entry.xxh3 or b"")
