"""Objects as they stand, in memory: a ``tierproxy.ports.Near`` and its ``Versions`` for tests."""

from __future__ import annotations

from collections import Counter

from tierproxy.model import Entry, ObjectName, State
from tierproxy.ports import Standing

READ = 256 * 1024
LOAD = 1024 * 1024


class MemoryVersions:
    """Counts what it is told. ``names``: each name that changed, in order; ``all`` of the times everything did."""

    def __init__(self) -> None:
        self.names: list[ObjectName] = []
        self.all = 0
        self.versions: Counter[ObjectName] = Counter()

    def changed(self, name: ObjectName) -> None:
        self.names.append(name)
        self.versions[name] += 1

    def all_changed(self) -> None:
        self.all += 1


class MemoryNear:
    """What a test has put there. ``cold``: names whose bodies only ``load`` reads. ``shared``: buckets with other
    writers. ``damaged``: names whose body is not what was written. Counts ``found``, ``read`` and ``loaded``."""

    def __init__(self, versions: MemoryVersions | None = None) -> None:
        self.versions = versions or MemoryVersions()
        self.cold: set[ObjectName] = set()
        self.damaged: set[ObjectName] = set()
        self.shared: set[str] = set()
        self.counts: Counter[str] = Counter()
        self._objects: dict[ObjectName, tuple[Entry, bytes]] = {}

    def put(self, entry: Entry, body: bytes) -> None:
        """After a commit: the row, and what its blob holds."""
        self._objects[entry.name] = entry, body
        self.versions.changed(entry.name)

    def drop(self, name: ObjectName) -> None:
        """After a commit: no blob any more, or no row."""
        self._objects.pop(name, None)
        self.versions.changed(name)

    def find(self, name: ObjectName) -> Standing | None:
        self.counts["found"] += 1
        entry, _ = self._objects.get(name, (None, b""))
        if entry is None or name.bucket in self.shared or entry.state not in {State.CLEAN, State.DIRTY}:
            return None
        if entry.blob is None or entry.headers is None or entry.xxh3 is None:
            return None
        return Standing(entry, 0, self.versions.versions[name], self.versions.all)

    def stands(self, standing: Standing) -> bool:
        numbers = self.versions.versions[standing.entry.name], self.versions.all
        return numbers == (standing.version, standing.epoch)

    def read(self, standing: Standing) -> bytes | None:
        self.counts["read"] += 1
        return None if standing.entry.name in self.cold else self._body(standing, READ)

    def load(self, standing: Standing) -> bytes | None:
        self.counts["loaded"] += 1
        return self._body(standing, LOAD)

    def sweep(self) -> None:
        """Nothing is held."""

    def _body(self, standing: Standing, limit: int) -> bytes | None:
        name = standing.entry.name
        entry, body = self._objects.get(name, (None, b""))
        gone = entry is None or entry.blob != standing.entry.blob
        return None if gone or name in self.damaged or len(body) > limit else body
