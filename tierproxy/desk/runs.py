"""Purge runs: as documents, and as wishes for the row that a node looks at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Protocol

from tierproxy import purges
from tierproxy.desk.plan import Wanted
from tierproxy.desk.wishes import NoSuchRun
from tierproxy.errors import StaleGeneration
from tierproxy.purges import ENDED, PurgeRun, RunKind, RunState
from tierproxy.wire.purges import Run, RunRule, RunWish


class Records(Protocol):
    """Who knows the runs: a reader, or the node's catalogue."""

    def run(self, number: int) -> PurgeRun | None: ...

    def runs(self, limit: int, *, open_only: bool = False) -> list[PurgeRun]: ...

    def run_rules(self, number: int) -> list[purges.RunRule]: ...


def document(run: PurgeRun, by_rule: Iterable[purges.RunRule] | None = None) -> Run:
    """Every field of the record; the cursor as BUCKET/KEY."""
    rules = None if by_rule is None else [RunRule.model_validate(asdict(one)) for one in by_rule]
    cursor = str(run.cursor) if run.cursor is not None else None
    return Run.model_validate(asdict(run) | {"cursor": cursor, "by_rule": rules})


def listed(records: Records, limit: int, *, open_only: bool = False) -> list[Run]:
    """The newest first; those that have not ended: oldest first."""
    return [document(run) for run in records.runs(limit, open_only=open_only)]


def one(records: Records, number: int) -> Run:
    """With what it removed, by rule. Raises NoSuchRun."""
    return document(known(records, number), records.run_rules(number))


def known(records: Records, number: int) -> PurgeRun:
    """Raises NoSuchRun."""
    run = records.run(number)
    if run is None:
        raise NoSuchRun(f"there is no run {number}")
    return run


def asked(wish: RunWish, author: str, at: float) -> PurgeRun:
    """As a row. Raises WrongWish when the wish contradicts itself."""
    wanted = Wanted(wish.target, wish.rule, wish.everything)
    kind = RunKind.OPERATOR if wish.everything else RunKind.RULES
    return PurgeRun(
        0, kind, RunState.ASKED, at, rule=wish.rule, bucket=wanted.bucket, prefix=wanted.prefix, author=author,
        reason=wish.reason, confirmed=wish.confirmed,
    )  # fmt: skip


def waiting_for(records: Records, run: PurgeRun) -> PurgeRun | None:
    """The run that waits for a confirmation of just this."""

    def same(other: PurgeRun) -> bool:
        confined = (other.kind, other.bucket, other.prefix, other.rule) == (run.kind, run.bucket, run.prefix, run.rule)
        return confined and other.state is RunState.WAITING

    return next((other for other in records.runs(1000, open_only=True) if same(other)), None)


def settled(run: PurgeRun) -> bool:
    """It has ended, or waits for somebody."""
    return run.state in ENDED or (run.state is RunState.WAITING and not run.confirmed)


def cancellable(run: PurgeRun) -> None:
    """Raises StaleGeneration when it has ended, or is pressure's, which makes room for mail."""
    if run.state in ENDED:
        raise StaleGeneration(f"run {run.number} has ended: it is {run.state}")
    if run.kind is RunKind.PRESSURE:
        raise StaleGeneration(
            f"run {run.number} is pressure's, which makes room for mail", hint="raise the budget to end it"
        )
