"""Plans in the node: each is one snapshot, read by a thread at low priority, so that it neither waits for listings nor
holds them up. Inside SQLite the interpreter's lock is free. Surveys, for which nobody is in a hurry, take turns with
whoever wants the processor, and have a thread of their own: pressure must not wait until they are done."""

from __future__ import annotations

from tierproxy.catalogue import pressing, stats, survey
from tierproxy.catalogue.database import Database, Reads
from tierproxy.catalogue.rows import ENTRY, entry_of
from tierproxy.catalogue.turns import Ending, Turns
from tierproxy.model import ObjectName
from tierproxy.purges import Candidate, Place, Scope, Standing, Survey
from tierproxy.rules.model import Order
from tierproxy.stats import Breakdown, HeatTable, Overview, StatsTable

_FURTHER = "machine_reads, pinned_until, visits, main, queued_at, worth, purged_run"
STANDING = f"SELECT {ENTRY}, {_FURTHER} FROM entry WHERE bucket = ? AND key = ?"
REMOVED = """SELECT bucket, key, size FROM entry
    WHERE (bucket, key) > (?, ?) AND purged_run = ? AND blob IS NULL AND state = 'clean'
    ORDER BY bucket, key LIMIT ?"""
DAYS = "SELECT day, reads, machine_reads FROM read_day WHERE bucket = ? AND key = ? ORDER BY day"
SHADOW = """SELECT stored_at IS NOT NULL, purged_by FROM fact LEFT JOIN shadow ON bucket = ? AND key = ?
    WHERE name = 'shadow' AND value = 1"""
_COLUMNS = len(ENTRY.split(","))


class Plans:
    """``tierproxy.ports.Planning`` on the database."""

    def __init__(self, database: Database) -> None:
        self._reads = database.reads
        self._pool = database.plans
        self._surveys = database.surveys
        self._turns = Turns(database.ending.wait)

    async def survey(self, scope: Scope) -> Survey:
        return await self._surveys.run(survey.survey, scope, self._turns)

    async def decided(self, scope: Scope, after: ObjectName | None, limit: int) -> list[Candidate]:
        return await self._pool.run(pressing.decided, scope, after, limit)

    async def pressed(
        self,
        scope: Scope,
        order: Order,
        limit: int,
        *,
        after: Place | None = None,
        kept: bool = False,
        main: bool | None = None,
    ) -> list[Candidate]:
        return await self._pool.run(pressing.pressed, scope, order, limit, after, kept, main)

    async def ahead(self, scope: Scope, order: Order, name: ObjectName) -> tuple[int, int] | None:
        return await self._pool.run(pressing.ahead, scope, order, name)

    async def small_bytes(self, bucket: str) -> tuple[int, int]:
        return await self._pool.run(pressing.small_bytes, bucket)

    def standing(self, name: ObjectName) -> Standing | None:
        with self._reads.snapshot():
            return standing(self._reads, name)

    async def stats(self, by: Breakdown, *, bucket: str, now: float) -> StatsTable:
        return await self._surveys.run(stats.table, by, bucket, now, self._turns)


class PlanReads:
    """The same questions on one connection, without a loop: for another process."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._ending = Ending()
        self._hurried = False
        self._turns = Turns(self._rest)

    def interrupt(self) -> None:
        """any thread. End what runs now, and every survey from here on: they raise DiskError."""
        self._ending.end()
        self._reads.connection.interrupt()

    def hurry(self) -> None:
        """any thread. Do not stand back between pages from here on: somebody waits for the answer."""
        self._hurried = True

    def _rest(self, seconds: float) -> None:
        self._ending.wait(0.0 if self._hurried else seconds)

    def survey(self, scope: Scope) -> Survey:
        with self._reads.snapshot():
            return survey.survey(self._reads, scope, self._turns)

    def decided(self, scope: Scope, after: ObjectName | None, limit: int) -> list[Candidate]:
        with self._reads.snapshot():
            return pressing.decided(self._reads, scope, after, limit)

    def pressed(
        self,
        scope: Scope,
        order: Order,
        limit: int,
        *,
        after: Place | None = None,
        kept: bool = False,
        main: bool | None = None,
    ) -> list[Candidate]:
        with self._reads.snapshot():
            return pressing.pressed(self._reads, scope, order, limit, after, kept, main)

    def ahead(self, scope: Scope, order: Order, name: ObjectName) -> tuple[int, int] | None:
        with self._reads.snapshot():
            return pressing.ahead(self._reads, scope, order, name)

    def standing(self, name: ObjectName) -> Standing | None:
        with self._reads.snapshot():
            return standing(self._reads, name)

    def stats(self, by: Breakdown, *, bucket: str, now: float) -> StatsTable:
        with self._reads.snapshot():
            return stats.table(self._reads, by, bucket, now, self._turns)

    def heat(self, *, bucket: str, now: float) -> HeatTable:
        """Objects and bytes by age and reads, of ``bucket`` or ("") all. Looks at every row."""
        with self._reads.snapshot():
            return stats.heat(self._reads, bucket, now, self._turns)

    def overview(self, *, bucket: str, now: float) -> Overview:
        """``stats`` by age, owner and folder, and ``heat``, in one look at every row."""
        with self._reads.snapshot():
            return stats.overview(self._reads, bucket, now, self._turns)

    def removed(self, run: int, after: ObjectName | None, limit: int) -> list[tuple[ObjectName, int]]:
        """What ``run`` took from disk and nobody has brought back: names and sizes, in name order after ``after``."""
        with self._reads.snapshot():
            rows = self._reads.rows(REMOVED, *(after or ("", "")), run, limit)
            return [(ObjectName(bucket, key), size) for bucket, key, size in rows]


def standing(reads: Reads, name: ObjectName) -> Standing | None:
    """``Planning.standing``."""
    row = reads.row(STANDING, *name)
    if row is None:
        return None
    machine_reads, pinned_until, visits, main, queued_at, worth, purged_run = row[_COLUMNS:]
    shadow = reads.row(SHADOW, *name)
    return Standing(
        entry_of(row[:_COLUMNS]), machine_reads, tuple(reads.rows(DAYS, *name)), pinned_until, visits, bool(main),
        queued_at or 0.0, worth, purged_run,
        shadow=None if shadow is None else bool(shadow[0]), shadow_by=None if shadow is None else shadow[1],
    )  # fmt: skip
