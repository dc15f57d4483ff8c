"""The counter behind every generation: in memory, below a ceiling made durable before a number under it is used."""

from __future__ import annotations

import concurrent.futures
import sqlite3

from tierproxy.catalogue.database import Database

BLOCK = 1_000_000


class Generations:
    """After a restart counting goes on above the ceiling: numbers are skipped, never repeated."""

    def __init__(self, database: Database, block: int = BLOCK) -> None:
        """Blocks until the first block is reserved; at start only. Raises DiskError."""
        self._writer = database.writer
        self._block = block
        self._reserved: concurrent.futures.Future[int] | None = None
        self._next = self._limit = 0
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

    async def raise_generation(self, at_least: int) -> None:
        """From now on generations are greater than ``at_least`` (and than all before). Raises DiskError."""
        ceiling = await self._writer.change(lambda connection: self._reserve(connection, at_least))
        self._reserved = None  # a block asked for before lies below
        self._use(ceiling)

    def _use(self, ceiling: int) -> None:
        self._next, self._limit = ceiling - self._block + 1, ceiling

    def _next_block(self) -> int:
        """Forgotten before it is awaited: after an error the next call asks anew."""
        reserved, self._reserved = self._reserved, None
        return (reserved or self._writer.post(self._reserve)).result()

    def _reserve(self, connection: sqlite3.Connection, at_least: int = 0) -> int:
        """The new ceiling; the ``block`` numbers up to it are this process's."""
        sql = "UPDATE fact SET value = max(value, ?) + ? WHERE name = 'generation_ceiling' RETURNING value"
        return int(connection.execute(sql, (at_least, self._block)).fetchall()[0][0])
