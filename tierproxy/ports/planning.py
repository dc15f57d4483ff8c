"""The catalogue's side of purging: plans, pins, runs, rule versions, statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tierproxy.model import ObjectName
from tierproxy.purges import (
    Booking,
    Candidate,
    Drop,
    Eviction,
    Move,
    Place,
    PurgeRun,
    RunRule,
    RunState,
    Scope,
    Standing,
    Survey,
    Version,
)
from tierproxy.rules.model import Order
from tierproxy.stats import Breakdown, StatsTable


class Planning(Protocol):
    """What the rules say of the rows. Each call is one snapshot, read in a thread at low priority, and takes bounded
    memory; a survey also takes turns with whoever wants the processor, and much longer then. SQL and
    ``tierproxy.rules.evaluate`` agree on every row (a property test holds them to it)."""

    async def survey(self, scope: Scope) -> Survey:
        """The dry run in numbers."""
        ...

    async def decided(self, scope: Scope, after: ObjectName | None, limit: int) -> list[Candidate]:
        """Candidates that a rule purges, in name order after ``after``; an empty list: there are no more."""
        ...

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
        """Candidates for pressure in ``order``, the first to go first, after ``after``. Those that a rule purges come
        in every case before the undecided ones: rank -1 for LRU, FIFO, LFU, GDSF and SCORE; the FIFO orders with a
        state (SIEVE, S3-FIFO) do not tell them apart. ``kept``: those that a rule keeps, instead. ``main``: only this
        queue of S3-FIFO."""
        ...

    async def ahead(self, scope: Scope, order: Order, name: ObjectName) -> tuple[int, int] | None:
        """How many candidates (objects, bytes) ``pressed`` would deliver before ``name``; None if it is none of
        them."""
        ...

    async def small_bytes(self, bucket: str) -> tuple[int, int]:
        """S3-FIFO: bytes of clean blobs in the small queue, and in both."""
        ...

    def standing(self, name: ObjectName) -> Standing | None:
        """loop."""
        ...

    async def stats(self, by: Breakdown, *, bucket: str, now: float) -> StatsTable:
        """What there is, and how often it was read, broken down."""
        ...


class Purging(Protocol):
    """Changes that purges make, and their records."""

    async def drop_blobs(self, drops: Sequence[Drop], *, at: float, booking: Booking | None = None) -> list[bool]:
        """Purge a batch in one transaction: each row that is CLEAN, of that generation and blob, and not pinned at
        ``at`` loses its blob (purged_at, purged_by, purged_run); those that went are booked on their ``by`` (day of
        ``at``) and, with the run's progress, on the run of ``booking``. Which went, in order. Never StaleGeneration."""
        ...

    async def requeue(self, moves: Sequence[Move], eviction: Eviction) -> None:
        """New places in the FIFO orders (rows that have changed since are left), and what the order remembers."""
        ...

    def eviction(self, bucket: str) -> Eviction:
        """loop. What ``requeue`` stored last for ``bucket``."""
        ...

    async def pin(self, name: ObjectName, until: float | None) -> None:
        """Keep the blob of ``name`` on disk until then (infinity: for ever), if it is there; None: unpin. Raises
        NoSuchKey without a row or for a tombstone."""
        ...

    async def add_run(self, run: PurgeRun) -> PurgeRun:
        """A new run; ``run.number`` is ignored. Returns it with its number."""
        ...

    async def save_run(self, run: PurgeRun, *, expected: RunState) -> PurgeRun:
        """Store state, rules version, times, plan and note of a run whose state is still ``expected``
        (StaleGeneration); progress and the wish to cancel are left as they are, a confirmation is never taken back.
        Returns the row."""
        ...

    async def confirm_run(self, number: int) -> PurgeRun | None:
        """The run may remove what was read recently. Its state stays (WAITING): the node looks at ``confirmed`` and
        goes on. Returns it; None: there is no such run or it has ended."""
        ...

    async def cancel_run(self, number: int, *, at: float | None = None) -> PurgeRun | None:
        """Wish the end of a run that has not ended (one that was only asked for, or waits, is CANCELLED at once, ended
        at ``at``). Returns it; None: there is no such run or it has ended."""
        ...

    def run(self, number: int) -> PurgeRun | None:
        """loop."""
        ...

    def runs(self, limit: int, *, open_only: bool = False) -> list[PurgeRun]:
        """loop. The newest first; ``open_only``: those that have not ended, oldest first."""
        ...

    async def prune_runs(self, before: float) -> int:
        """Remove the records of runs that ended before ``before`` (seconds since the epoch). Returns how many."""
        ...

    def run_rules(self, number: int) -> list[RunRule]:
        """loop. What a run removed, by reason and by the rule that had kept it, in order of these names."""
        ...

    async def add_version(self, version: Version) -> Version:
        """A new rules version; ``version.number`` is ignored. Returns it with its number (from 1 on, kinds share the
        numbers)."""
        ...

    async def version_live(self, number: int, at: float) -> None:
        """The node works by this version from ``at`` on."""
        ...

    def version(self, number: int) -> Version | None:
        """loop."""
        ...

    def versions(self, kind: str, limit: int) -> list[Version]:
        """loop. The newest first."""
        ...
