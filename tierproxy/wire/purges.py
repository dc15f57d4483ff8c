"""Purges: what would go, what went."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tierproxy.wire.base import Amount, Document, Question


class PlanCount(Document):
    """What one rule would remove; ``rule`` null: all of them."""

    rule: str | None
    objects: int
    bytes: int
    recent_objects: int
    recent_bytes: int
    reads_7d: int
    reads_30d: int


class Going(Document):
    """One object that would go, and why."""

    object: str
    rule: str | None
    size: int
    disk_bytes: int
    age: float | None
    reads: int | None
    last_read_at: float | None


class PurgePlan(Document):
    """The dry run. ``stays``: dirty, pinned, young. ``recent_bytes``: on disk and read recently, whatever the dry run
    is confined to; ``asks_first``: more of it would go than [safety] lets go unasked. ``objects``: the first that would
    go, by name. ``warnings``: what is doubtful about the rules it goes by."""

    rules_version: int
    rules_about: str = ""
    bucket: str | None
    prefix: str
    rules: list[PlanCount]
    total: PlanCount
    stays: dict[str, Amount]
    recent_bytes: int
    recent_days: int = 0
    asks_first: bool
    objects: list[Going]
    warnings: list[str] = []
    computed_at: float = 0.0


class RunRule(Document):
    """What a run removed for one reason; ``rule``: the one that had kept it, when pressure took it nevertheless."""

    by: str
    rule: str
    objects: int
    bytes: int


class Run(Document):
    """One purge, from the wish to the end. See docs/operations.md, "Purge rules"."""

    number: int
    kind: Literal["rules", "pressure", "operator"]
    state: Literal["asked", "running", "waiting", "done", "cancelled", "failed"]
    at: float
    rules: int
    rule: str
    bucket: str
    prefix: str
    author: str
    reason: str
    confirmed: bool
    cancel: bool
    started_at: float | None
    ended_at: float | None
    planned_objects: int
    planned_bytes: int
    objects: int
    bytes: int
    skipped: int
    cursor: str | None
    note: str
    by_rule: list[RunRule] | None = None

    @property
    def ended(self) -> bool:
        """Nothing more comes of it."""
        return self.state in {"done", "cancelled", "failed"}


class RunWish(Question):
    """Remove from disk what the rules purge, now. ``target``: BUCKET[/PREFIX], "" for everything. ``rule``: only what
    this rule purges. ``everything``: all below the target that alt has, whatever rules keep. ``confirmed``: may remove
    what was read recently. ``author``: who says so, of a command line on the node's machine; from others their account
    counts."""

    target: str = Field(default="", max_length=1100)
    rule: str = Field(default="", max_length=200)
    everything: bool = False
    reason: str = Field(default="", max_length=1000)
    confirmed: bool = False
    author: str = Field(default="", max_length=200)
