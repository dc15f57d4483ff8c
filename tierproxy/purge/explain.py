"""Why an object is where it is, and what purges do to it: pure, and the same words the planner means.

``fate`` is what a rule run decides for one object. The catalogue's SQL decides it for all of them; an explanation that
disagreed with the run after it would be worse than none, so the acceptance tests compare the two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from tierproxy.model import State
from tierproxy.purges import Standing, by_rule, facts_of
from tierproxy.rules.evaluate import Verdict, decide, deciding, next_change, pinned_until
from tierproxy.rules.model import Action, ActionKind, RuleSet

TURNS = 200  #: changes of the deciding rule that are followed until the fate changes


class Fate(StrEnum):
    """What the next run of the rules does to an object, and why."""

    ABSENT = "absent"  #: it is not on disk: nothing
    DIRTY = "dirty"  #: alt does not have it (or it is not known): it stays, whatever rules and pressure say
    PINNED = "pinned"  #: by a command or by a rule: the same
    YOUNG = "young"  #: on disk for less than ``min_on_disk``: the same
    GOES = "goes"  #: a rule purges it
    KEPT = "kept"  #: a rule keeps it; pressure takes it last, or never
    UNDECIDED = "undecided"  #: no rule decides: it stays until pressure takes it


@dataclass(frozen=True, slots=True)
class Explanation:
    """``by``: as ``Entry.purged_by`` if it goes, else "". ``pinned_until``: of the pin that counts, whoever made it.
    ``changes_at``: when the fate changes by itself, and ``then`` to what; None: it does not."""

    standing: Standing
    verdict: Verdict
    fate: Fate
    by: str = ""
    pinned_until: float | None = None
    changes_at: float | None = None
    then: Fate | None = None

    @property
    def goes(self) -> bool:
        """The next run of the rules removes it from disk."""
        return self.fate is Fate.GOES


def explain(standing: Standing, rules: RuleSet, now: float) -> Explanation:
    """Everything that can be said of the object by ``rules`` at ``now``."""
    verdict = decide(rules, facts_of(standing), now)
    found = fate(standing, rules, now)
    changes_at = next_turn(standing, rules, now)
    return Explanation(
        standing, verdict, found,
        by=by_rule(rules.rules[verdict.rule].name) if found is Fate.GOES and verdict.rule is not None else "",
        pinned_until=_pin(standing, rules, verdict, now),
        changes_at=changes_at,
        then=fate(standing, rules, changes_at) if changes_at is not None else None,
    )  # fmt: skip


def fate(standing: Standing, rules: RuleSet, now: float) -> Fate:
    """What a run of ``rules`` at ``now`` does to the object."""
    entry = standing.entry
    if entry.blob is None or entry.state is State.DELETING:
        return Fate.ABSENT
    if entry.state is not State.CLEAN:
        return Fate.DIRTY
    action = _action(standing, rules, now)
    if _pinned(standing, now) or (action is not None and action.kind is ActionKind.PIN):
        return Fate.PINNED
    if entry.stored_at is not None and abs(now - entry.stored_at) < rules.budget.min_on_disk:
        return Fate.YOUNG
    if action is None:
        return Fate.UNDECIDED
    return Fate.GOES if action.purges else Fate.KEPT


def next_turn(standing: Standing, rules: RuleSet, now: float) -> float | None:
    """The first moment after ``now`` at which ``fate`` says something else if nothing happens; None: there is none."""
    before, at = fate(standing, rules, now), now
    if before in {Fate.ABSENT, Fate.DIRTY}:
        return None
    if _pinned(standing, now):  # until then nothing else counts, however often the deciding rule changes
        at = standing.pinned_until or now
        if math.isinf(at) or fate(standing, rules, at) is not before:
            return None if math.isinf(at) else at
    for _ in range(TURNS):
        moments = [moment for moment in _moments(standing, rules, at) if at < moment < math.inf]
        if not moments:
            return None
        at = min(moments)
        if fate(standing, rules, at) is not before:
            return at
    return None


def _action(standing: Standing, rules: RuleSet, now: float) -> Action | None:
    index = deciding(rules, facts_of(standing), now)
    return rules.rules[index].then if index is not None else None


def _pinned(standing: Standing, now: float) -> bool:
    return standing.pinned_until is not None and standing.pinned_until > now


def _pin(standing: Standing, rules: RuleSet, verdict: Verdict, now: float) -> float | None:
    """Until when a pin holds it: the command's or the deciding rule's, the later one."""
    ends = [standing.pinned_until] if _pinned(standing, now) else []
    if verdict.rule is not None:
        ends.append(pinned_until(rules.rules[verdict.rule], facts_of(standing)))
    return max((end for end in ends if end is not None), default=None)


def _moments(standing: Standing, rules: RuleSet, at: float) -> Iterator[float]:
    """When something may change after ``at``: a pin ends, youth ends, another rule decides."""
    if standing.pinned_until is not None:
        yield standing.pinned_until
    if standing.entry.stored_at is not None:
        yield _young_again(standing.entry.stored_at, rules.budget.min_on_disk)
        yield _grown(standing.entry.stored_at, rules.budget.min_on_disk)
    changed = next_change(rules, facts_of(standing), at)
    if changed is not None:
        yield changed


def _young_again(stored_at: float, least: float) -> float:
    """Stored while the clock ran far ahead, and put back since: the first moment less than ``least`` before that."""
    moment = stored_at - least
    while stored_at - moment >= least:
        moment = math.nextafter(moment, math.inf)
    return moment


def _grown(stored_at: float, least: float) -> float:
    """The first moment at which ``moment - stored_at`` is ``least``: sums are rounded."""
    moment = stored_at + least
    while moment - stored_at < least:
        moment = math.nextafter(moment, math.inf)
    return moment
