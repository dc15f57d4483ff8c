"""The catalogue's side of counting, and the log of history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tierproxy.model import ObjectName
from tierproxy.purges import Drop, RuleRecord, ShadowRecord
from tierproxy.traffic import Counts, Event, Rollup


class Counting(Protocol):
    """Read counts, day bins, rollups and regrets."""

    async def count(self, counts: Counts) -> None:
        """Book counts, all or nothing: a flush, or a piece of one that has all that is of its objects (a few hundred: a
        thousand keep the writer for 0.1 s). Totals and day bins of each object, corrections, regrets per rule and day,
        the counters of the minute and the hour; when there is a shadow, what it would have missed. Names without a row
        are ignored (their increments and regrets are not). ``last_read_at`` never goes back but by a correction.
        Owner and folder of a count are kept where the row has none, as named by a request.

        A visit (of the FIFO orders) is a people's read after the blob was stored: the read that filled it is none."""
        ...

    async def prune_counts(self, day: int, minute: int) -> int:
        """Remove day bins (and rule records) before ``day`` and minute rollups before second ``minute``, some thousand
        rows a call; hours go with the days. Returns how many rows; 0: there is nothing left to remove."""
        ...

    async def rollups(self, span: int, since: float, until: float) -> list[Rollup]:
        """Minutes (60) or hours (3600) that begin in [since, until), in order; those without counts are left out."""
        ...

    async def records(self, since_day: int) -> list[RuleRecord]:
        """What each reason purged and what people regretted of it, from ``since_day`` on, by name."""
        ...

    async def reclassify(self, after: ObjectName | None, limit: int) -> ObjectName | None:
        """Owner and folder of ``limit`` rows again by the naming patterns (those that requests named keep theirs).
        Returns the last name looked at, None at the end."""
        ...

    def named_by(self) -> int:
        """loop. Fingerprint of the naming patterns by which all rows are classified; 0: there is none."""
        ...

    async def name_by(self, fingerprint: int) -> None:
        """All rows are classified by these patterns now (63 bits)."""
        ...

    # the shadow

    async def begin_shadow(self, at: float) -> None:
        """The shadow disk becomes a copy of the live one, records of an earlier shadow go, and from now on every change
        of a blob, every count and every purge under ``shadow`` is booked for it."""
        ...

    async def end_shadow(self) -> None:
        """No shadow; its rows go."""
        ...

    async def shadow(self, since_day: int = 0) -> ShadowRecord | None:
        """The shadow beside the live rules since it began, or what was counted from UTC day ``since_day`` on (what is
        on disk is always as now); None: there is no shadow, or it is still being copied."""
        ...

    async def shadow_drop(self, drops: Sequence[Drop], *, at: float) -> list[bool]:
        """The shadow's purge, in one transaction: each object of that generation that is on the shadow disk, CLEAN and
        not pinned at ``at`` leaves it, booked on ``by`` for the shadow. Which went, in order. The real disk is left
        alone."""
        ...


class HistoryLog(Protocol):
    """Where every read, write, delete and purge goes."""

    def note(self, event: Event, times: int = 1) -> None:
        """loop. ``event`` happened ``times`` times. Never waits and never raises: what cannot be kept is counted and
        reported."""
        ...
