"""Objects: what there is, and why each is where it is."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tierproxy.wire.base import Document, Moment, ObjectText, Question, When


class Found(Document):
    """One object in a list."""

    object: str
    size: int
    disk_bytes: int
    state: str
    tiers: list[str]
    written_at: float
    last_read_at: float | None
    reads: int
    owner: str | None
    folder: str | None
    pinned_until: Moment | None = None
    purged_by: str | None = None


class ObjectPage(Document):
    """In key order. ``next``: what ``after`` goes on with; null: that was all."""

    objects: list[Found]
    next: str | None


class ConditionValue(Document):
    """A condition of a rule in words, whether it holds, and the number behind it (also in words)."""

    condition: str
    holds: bool
    value: str | bool | int | float | list[str] | None
    text: str


class RuleJudgment(Document):
    """What one rule says of the object. ``then``: its action; null: it has only policies. ``expired``: its pin has run
    out."""

    rule: str
    then: str | None
    matches: bool
    expired: bool
    conditions: list[ConditionValue]


class PressurePlace(Document):
    """Where the object stands when space is short, on the disk or (``bucket``) in its bucket's budget. ``need``: bytes
    that must go now; ``reached``: it is among them."""

    bucket: str | None
    order: str
    objects_before: int
    bytes_before: int
    need: int
    need_reason: str = ""
    reached: bool
    used: int = 0
    high: int = 0


class Account(Document):
    """``tierproxy explain``: where an object is, every rule with its numbers, which one decides, what comes next.

    ``fate``: what the next run of the rules does, ``fate_text`` the same in words; ``pressure_text`` and
    ``change_text``: what pressure does, and when the fate changes by itself. ``warnings``: what is doubtful about the
    rules in force. ``stub``: head and tail are kept on disk; null: no, or there is no node to know.
    """

    object: str
    now: float
    tiers: list[str]
    state: str
    size: int
    disk_bytes: int
    written_at: float
    stored_at: float | None
    last_read_at: float | None
    reads: int
    machine_reads: int
    reads_7d: int
    reads_30d: int
    days: list[tuple[int, int, int]] = []
    owner: str | None
    folder: str | None
    pinned_until: Moment | None
    purged_at: float | None
    purged_by: str | None
    purged_run: int | None
    stub: bool | None = None
    shadow: bool | None
    shadow_by: str | None
    rules_version: int
    rules_about: str = ""
    warnings: list[str] = []
    rules: list[RuleJudgment]
    decided_by: str | None
    fate: str
    goes: bool
    by: str | None
    changes_at: float | None
    changes_to: str | None
    pressure: list[PressurePlace]
    fate_text: str = ""
    pressure_text: str = ""
    change_text: str = ""


class PinWish(Question):
    """Keep these on disk until ``until`` (a moment, or ``forever``)."""

    objects: list[ObjectText] = Field(min_length=1, max_length=1000)
    until: When | Literal["forever"] = "forever"


class Objects(Question):
    """Some objects by name."""

    objects: list[ObjectText] = Field(min_length=1, max_length=1000)


class Pinned(Document):
    """What was pinned, and which of it is not on disk now."""

    pinned: list[str]
    until: Moment
    not_on_disk: list[str]


class Unpinned(Document):
    """What is left to the rules again."""

    unpinned: list[str]


class Pin(Document):
    """An object that a command keeps on disk."""

    name: str
    until: Moment


class Moved(Document):
    """What became of one object that was fetched to disk or purged from it by name. ``why``: if nothing was done."""

    object: str
    done: bool
    bytes: int = 0
    why: str = ""


class MoveResult(Document):
    """All of them, in the order they were named."""

    action: Literal["fetch", "purge"]
    objects: list[Moved]


class QueueJob(Document):
    """A journaled piece of work for alt."""

    name: str
    generation: int
    kind: Literal["put", "delete"]
    size: int
    queued_at: float
    attempts: int
    next_try_at: float
    last_error: str | None


class QueueTotals(Document):
    """The journal in numbers; ``oldest_queued_at`` null: it is empty."""

    jobs: int
    bytes: int
    oldest_queued_at: float | None
    failing: int


class Queue(Document):
    """What alt does not have yet, oldest first."""

    totals: QueueTotals
    jobs: list[QueueJob]


class HurryWish(Question):
    """Which jobs are to run now; null: all."""

    objects: list[ObjectText] | None = Field(default=None, max_length=1000)


class Hurried(Document):
    """How many jobs are due now."""

    hurried: int
