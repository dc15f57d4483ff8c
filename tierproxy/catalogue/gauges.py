"""The catalogue in a few numbers that nobody keeps: looked up when somebody watches."""

from __future__ import annotations

from pathlib import Path

from tierproxy.catalogue.database import Database, Reads
from tierproxy.stats import CatalogueGauges, RunGauge

# In the order of the index job_age: as long as the first job is a put, one row is looked at.
OLDEST_PUT = "SELECT queued_at FROM job WHERE kind = 'put' ORDER BY queued_at LIMIT 1"
# The condition and the expression of the index entry_victim, word for word.
IDLE = """SELECT coalesce(last_read_at, stored_at) FROM entry INDEXED BY entry_victim
    WHERE state = 'clean' AND blob IS NOT NULL ORDER BY coalesce(last_read_at, stored_at) LIMIT 1"""
RUNS = "SELECT kind, state, count(*), max(ended_at) FROM purge_run GROUP BY kind, state ORDER BY kind, state"


class Gauges:
    """``tierproxy.ports.Catalogue.gauges``."""

    def __init__(self, database: Database) -> None:
        self._file = database.file
        self._pool = database.pool

    async def gauges(self) -> CatalogueGauges:
        return await self._pool.run(self._look)

    def _look(self, reads: Reads) -> CatalogueGauges:
        oldest, idle = reads.row(OLDEST_PUT), reads.row(IDLE)
        return CatalogueGauges(
            file_bytes=_size(self._file),
            wal_bytes=_size(self._file.with_name(self._file.name + "-wal")),
            oldest_dirty_at=None if oldest is None else oldest[0],
            idle_since=None if idle is None else idle[0],
            runs=tuple(RunGauge(*row) for row in reads.rows(RUNS)),
        )


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0
