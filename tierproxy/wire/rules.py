"""Purge rules: what they say, what they hold, what they removed and cost."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, computed_field

from tierproxy.wire.base import Amount, Document, Kind, Number, Question

RuleText = str
LARGEST = 1_000_000  #: characters of a rule file


class RuleCount(Document):
    """What one rule decides on disk now (``rule`` null: what none decides), and what it is worth: people's reads of
    these objects, and those that people read within the safety's days."""

    rule: str | None
    then: str
    objects: int
    bytes: int
    recent_objects: int = 0
    recent_bytes: int = 0
    reads_7d: int = 0
    reads_30d: int = 0


class RuleRecord(Document):
    """What one reason (``rule:NAME``, ``pressure``, ``operator``) removed and what that cost. ``soon``: people's
    regrets within an hour, a day, a week, 30 days, later; ``seconds``: their sum, from purge to read."""

    by: str
    objects: int
    bytes: int
    regrets: int
    machine_regrets: int
    seconds: float
    soon: tuple[int, int, int, int, int]


class RulesHeld(Document):
    """What rules decide of what is on disk, and what was removed in ``days``. ``text``: the rule file; ``words``: each
    rule and option as a sentence. ``warnings``: what is doubtful about these being the rules in force."""

    version: int
    about: str = ""
    kind: Kind = "live"
    text: str | None = None
    words: list[str] = []
    rules: list[RuleCount]
    dirty: Amount
    pinned: Amount
    young: Amount
    days: int
    removed: list[RuleRecord]
    file: str | None = None
    warnings: list[str] = []
    computed_at: float = 0.0


class Fault(Document):
    """What is wrong (``error``: the file cannot be used) or doubtful (``warning``). ``line`` from 1; 0: nobody
    knows."""

    level: Literal["error", "warning"]
    line: int
    text: str
    fix: str = ""
    rule: str = ""


class RulesCheck(Document):
    """What is wrong or doubtful about a rule file. ``errors`` and ``warnings`` as lines of text, ``faults`` with their
    places; ``rules``: how many it has; ``now``: what they decide of what is on disk, null where that was not asked for
    or the file cannot be used."""

    file: str
    rules: int = 0
    errors: list[str] = []
    warnings: list[str] = []
    faults: list[Fault] = []
    words: list[str] = []
    now: RulesHeld | None = None


class Effect(Document):
    """What happens to what is on disk, before and after."""

    what: str
    before: Amount
    after: Amount


class RulesDifference(Document):
    """``changes``: in words; ``unified``: lines of a unified diff of the texts; ``effects``: on what is on disk.
    ``base``: the version before, for ``ApplyWish``; 0: none that a node works by.
    ``old``, ``new``, ``differences``, ``diff``: the same as the first four, by their older names."""

    before: str
    after: str
    changes: list[str]
    unified: list[str]
    effects: list[Effect] = []
    warnings: list[str] = []
    base: int = 0

    @computed_field
    def old(self) -> str:
        return self.before

    @computed_field
    def new(self) -> str:
        return self.after

    @computed_field
    def differences(self) -> list[str]:
        return self.changes

    @computed_field
    def diff(self) -> list[str]:
        return self.unified


class Applied(Document):
    """``live``: a node works by it. ``node``: one runs."""

    version: int
    file: str
    node: bool
    live: bool


class Version(Document):
    """A rule file as it was put in force. ``live_at``: since when a node works by it, null: not yet. ``text`` only
    where one version is asked for."""

    number: int
    kind: Kind
    at: float
    author: str
    reason: str
    text: str = ""
    live_at: float | None = None
    purged_objects: int = 0
    purged_bytes: int = 0


class Comparison(Document):
    """The shadow rules beside the live ones within ``days``. Misses are those that a purge caused."""

    days: int
    since: float
    live_objects: int
    live_bytes: int
    shadow_objects: int
    shadow_bytes: int
    live: list[RuleRecord]
    shadow: list[RuleRecord]
    reads: int
    live_misses: int
    shadow_misses: int


class RulesQuestion(Question):
    """A text to look at. ``effects``: also say what it means for what is on disk (a plan over all of it)."""

    text: str = Field(max_length=LARGEST)
    kind: Kind = "live"
    effects: bool = False


class ApplyWish(Question):
    """Put this text in force. ``base``: the version it was made from; another one in force by now is a conflict
    (409). ``author``: who says so, of a command line on the node's machine; from others their account counts."""

    text: str = Field(max_length=LARGEST)
    kind: Kind = "live"
    reason: str = Field(default="", max_length=1000)
    base: Number | None = None
    author: str = Field(default="", max_length=200)


class RestoreWish(Question):
    """Put the text of an earlier version in force again. ``author`` as of ``ApplyWish``."""

    version: Number
    kind: Kind = "live"
    reason: str = Field(default="", max_length=1000)
    author: str = Field(default="", max_length=200)
