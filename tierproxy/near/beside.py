"""Objects as they stand, in another process than the node's (``tierproxy.ports.Near``)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tierproxy.catalogue.beside import CatalogueBeside
from tierproxy.disk.inline import InlineBodies
from tierproxy.model import ObjectName
from tierproxy.near.store import NearStore
from tierproxy.near.versions import EPOCH, SharedTable
from tierproxy.ports import Standing


class NearBeside:
    """For processes that live longer than the node, such as mounts. Used by one thread at a time, ``load`` by any.

    Table and catalogue are opened when they are asked for, and anew with another table or epoch: the catalogue's file
    may be another one then (``tierproxy catalogue rebuild``).
    """

    def __init__(self, data: Path, exclusive: Callable[[str], bool] | None = None) -> None:
        """``exclusive``: as ``NearStore``'s; None: what the catalogue calls complete, which is exclusive."""
        self._data = data
        self._exclusive = exclusive
        self._bodies = InlineBodies(data)
        self._open: _Opened | None = None

    def __repr__(self) -> str:
        return f"<NearBeside {self._data}{'' if self._open else ' (nobody there)'}>"

    @property
    def table(self) -> memoryview | None:
        """As ``NearStore.table``, as of now: another one after a ``find`` that mapped anew."""
        return self._open.store.table if self._open is not None else None

    def find(self, name: ObjectName) -> Standing | None:
        """See ``tierproxy.ports.Near``."""
        opened = self._opened()
        standing = None if opened is None else opened.store.find(name)
        return standing if opened is not None and standing is not None and standing.epoch == opened.epoch else None

    def stands(self, standing: Standing) -> bool:
        """See ``tierproxy.ports.Near``. Costs a system call besides: the table may be one nobody writes any more."""
        opened = self._open
        return opened is not None and opened.store.stands(standing) and opened.shared.there()

    def read(self, standing: Standing) -> bytes | None:
        """See ``tierproxy.ports.Near``."""
        entry = standing.entry
        return self._bodies.cached(entry.blob or "", entry.size, entry.xxh3 or b"")

    def load(self, standing: Standing) -> bytes | None:
        """See ``tierproxy.ports.Near``."""
        entry = standing.entry
        return self._bodies.loaded(entry.blob or "", entry.size, entry.xxh3 or b"")

    def sweep(self) -> None:
        """See ``tierproxy.ports.Near``. Nothing is held."""

    def close(self) -> None:
        """Idempotent; it opens again when it is asked again."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _opened(self) -> _Opened | None:
        if self._open is not None and self._open.lasts():
            return self._open
        self.close()
        self._open = _Opened.of(self._data, self._bodies, self._exclusive)
        return self._open


class _Opened:
    """A table and the catalogue, as they were found under one epoch."""

    def __init__(
        self, shared: SharedTable, catalogue: CatalogueBeside, bodies: InlineBodies,
        exclusive: Callable[[str], bool] | None, epoch: int,
    ) -> None:  # fmt: skip
        self.shared = shared
        self._catalogue = catalogue
        self.epoch = epoch
        self._complete: dict[str, bool] = {}
        self.store = NearStore(
            table=shared.table, find=catalogue.find, bodies=bodies, exclusive=exclusive or self._is_complete
        )

    @classmethod
    def of(cls, data: Path, bodies: InlineBodies, exclusive: Callable[[str], bool] | None) -> _Opened | None:
        shared = SharedTable.map(data)
        if shared is None:
            return None
        epoch = shared.table[EPOCH]  # before the catalogue is opened
        catalogue = CatalogueBeside.open(data) if shared.there() else None
        if catalogue is None:
            shared.close()
            return None
        return cls(shared, catalogue, bodies, exclusive, epoch)

    def lasts(self) -> bool:
        return self.shared.table[EPOCH] == self.epoch and self.shared.there()

    def close(self) -> None:
        self._catalogue.close()
        self.shared.close()

    def _is_complete(self, bucket: str) -> bool:
        """Remembered: it changes with the epoch only."""
        found = self._complete.get(bucket)
        if found is None:
            found = self._complete[bucket] = self._catalogue.complete(bucket)
        return found
