"""The counter behind every generation: in memory, below a ceiling made durable before a number under it is used.

A catalogue that was restored from a backup counts on from an old ceiling, while files are there that were written, and
acknowledged, by numbers it has given out since. So every start but the first counts on from the time of day in
microseconds, beyond all that an earlier process can have used, and remembers the gap: the numbers from the last commit
to the first this process uses are never taken for those of leftovers.
"""

from __future__ import annotations

import concurrent.futures
import sqlite3

from tierproxy.catalogue.database import Database

BLOCK = 1_000_000
SKIPPED = 1000  #: blocks, where the time of day is of no help: a clock that was set back

COMMITTED = "SELECT value FROM fact WHERE name = 'generation_committed'"
BEGIN_GAP = """INSERT INTO generation_gap
    SELECT committed.value,
            max(max(committed.value, ceiling.value) + ?,
                1000 * CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))
        FROM fact AS committed, fact AS ceiling
        WHERE committed.name = 'generation_committed' AND ceiling.name = 'generation_ceiling' AND ceiling.value > 0
    ON CONFLICT (committed) DO UPDATE SET ceiling = excluded.ceiling"""
OVER_GAP = """UPDATE fact SET value = coalesce(max(value, (SELECT max(ceiling) FROM generation_gap)), value)
    WHERE name = 'generation_ceiling'"""
CLOSE_GAP = f"DELETE FROM generation_gap WHERE committed = ({COMMITTED}) AND committed >= ?"
GAPS = "SELECT committed, ceiling FROM generation_gap ORDER BY committed"


class Generations:
    """After a restart counting goes on above the ceiling: numbers are skipped, never repeated."""

    def __init__(self, database: Database, block: int = BLOCK) -> None:
        """Blocks until the first block is reserved; at start only. Raises DiskError."""
        self._writer = database.writer
        self._reads = database.reads
        self._block = block
        self._reserved: concurrent.futures.Future[int] | None = None
        self._next = self._limit = 0
        self._gaps = self._writer.post(self._begin).result()
        self._use(self._writer.post(self._reserve).result())

    def next_generation(self) -> int:
        """Strictly increasing. The next block is asked for when half of this one is used, so this waits only when the
        writer is half a block behind. Raises DiskError."""
        if self._reserved is None and self._limit - self._next < self._block // 2:
            self._reserved = self._writer.post(self._reserve)
        if self._next > self._limit:
            self._use(self._next_block())
        generation = self._next
        self._next += 1
        return generation

    def unaccounted(self, generation: int) -> bool:
        """loop. An earlier process may have acknowledged a write of this generation without a trace of it here."""
        return any(generation in gap for gap in self._gaps)

    def committed(self) -> int:
        """loop. The largest generation that was ever committed."""
        return int(self._reads.rows(COMMITTED)[0][0])

    def account_for(self, seen: int) -> None:
        """At start, before any change; blocks. ``seen`` is the largest generation known, from outside, to have been
        committed. If this catalogue has come as far, the numbers beyond were never committed by anybody: what there is
        of them was cut off by a crash. Raises DiskError."""
        self._gaps = self._writer.post(lambda connection: self._close_gap(connection, seen)).result()

    async def raise_generation(self, at_least: int) -> None:
        """From now on generations are greater than ``at_least`` (and than all before), and those up to it are accounted
        for. Raises DiskError."""
        ceiling = await self._writer.change(lambda connection: self._raise(connection, at_least))
        self._reserved = None  # a block asked for before lies below
        self._gaps = [gap for gap in self._gaps if gap.start > at_least]
        self._use(ceiling)

    def _use(self, ceiling: int) -> None:
        self._next, self._limit = ceiling - self._block + 1, ceiling

    def _next_block(self) -> int:
        """Forgotten before it is awaited: after an error the next call asks anew."""
        reserved, self._reserved = self._reserved, None
        return (reserved or self._writer.post(self._reserve)).result()

    def _begin(self, connection: sqlite3.Connection) -> list[range]:
        """Leave a gap, unless the catalogue is new; returns all there are."""
        connection.execute(BEGIN_GAP, (SKIPPED * self._block,))
        connection.execute(OVER_GAP)
        return _gaps(connection)

    def _close_gap(self, connection: sqlite3.Connection, seen: int) -> list[range]:
        connection.execute(CLOSE_GAP, (seen,))
        return _gaps(connection)

    def _reserve(self, connection: sqlite3.Connection, at_least: int = 0) -> int:
        """The new ceiling; the ``block`` numbers up to it are this process's."""
        sql = "UPDATE fact SET value = max(value, ?) + ? WHERE name = 'generation_ceiling' RETURNING value"
        return int(connection.execute(sql, (at_least, self._block)).fetchall()[0][0])

    def _raise(self, connection: sqlite3.Connection, at_least: int) -> int:
        connection.execute("DELETE FROM generation_gap WHERE committed < ?", (at_least,))
        connection.execute(
            "UPDATE fact SET value = max(value, ?) WHERE name = 'generation_committed'", (at_least,)
        )  # fmt: skip
        return self._reserve(connection, at_least)


def _gaps(connection: sqlite3.Connection) -> list[range]:
    return [range(committed + 1, ceiling + 1) for committed, ceiling in connection.execute(GAPS)]
