"""Which faults meet in which round: drawn by seed, every kind in turn."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from torturing.faults import FAULTS, Fault, Group

T = TypeVar("T")
LIVES = (0, 3, 4, 6)  #: how often the node ends itself at a named point in a round, if it comes to it
LINGERS = (0.0, 0.0, 0.3)  #: seconds that an upload waits before it begins
ONLY_COPIES = 6  #: each so-manieth round damages what alt does not have


@dataclass(frozen=True, slots=True)
class Blow:
    """A fault within a round. ``begin`` and ``end``: parts of the round's time."""

    fault: Fault
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Plan:
    """``points``: so often the node is to end itself at a named point, which is chosen when it starts (``Aims``);
    ``killed``: SIGKILL at the end of the load, whatever else there was."""

    number: int
    workers: int
    linger: float
    blows: tuple[Blow, ...]
    points: int
    killed: bool
    only_copies: bool

    def __str__(self) -> str:
        words = [blow.fault.name for blow in self.blows]
        words += [f"node ends itself up to {self.points} times"] if self.points else []
        words += ["SIGKILL at the end"] if self.killed else []
        return f"round {self.number}, {self.workers} workers: {', '.join(words)}"

    @property
    def kills(self) -> bool:
        """The node ends without being stopped."""
        return self.killed or self.points > 0 or any(b.fault.kills for b in self.blows)


class Deck(Generic[T]):
    """Cards in random order; shuffled anew when all were drawn, so that none is missing for long."""

    def __init__(self, cards: Sequence[T], chance: random.Random) -> None:
        self._cards = list(cards)
        self._chance = chance
        self._left: list[T] = []

    def draw(self) -> T:
        if not self._left:
            self._left = list(self._cards)
            self._chance.shuffle(self._left)
        return self._left.pop()


def plans(
    seed: int, *, small: bool, breakable: bool, workers: int | None = None, always: Sequence[str] = ()
) -> Iterator[Plan]:  # fmt: skip
    """Without an end. ``small``, ``breakable``: as the volume; ``workers``: always so many, None: sometimes two;
    ``always``: faults that meet in every round, and no others."""
    chance = random.Random(f"plans/{seed}")
    groups = {group: Deck(found, chance) for group in Group if (found := _faults(group, small, breakable))}
    lead, number = Deck(list(groups), chance), 0
    chosen = [fault for fault in FAULTS if fault.name in always]
    while True:
        number += 1
        plan = _plan(number, chance, groups, lead, workers)
        yield replace(plan, blows=_blows(chosen, chance)) if always else plan


def _faults(group: Group, small: bool, breakable: bool) -> list[Fault]:
    possible = [fault for fault in FAULTS if (small or not fault.small) and (breakable or not fault.breaks)]
    return [fault for fault in possible if fault.group is group]


def _plan(
    number: int, chance: random.Random, groups: dict[Group, Deck[Fault]], lead: Deck[Group],
    fixed: int | None,
) -> Plan:  # fmt: skip
    workers = chance.choice((0, 0, 2)) if fixed is None else fixed
    chosen = [lead.draw()]
    others = [group for group in groups if group not in chosen]
    chosen += chance.sample(others, min(len(others), chance.randint(1, 3)))
    faults = [_fitting(groups[group], workers) for group in chosen]
    return Plan(
        number, workers, chance.choice(LINGERS), _blows([fault for fault in faults if fault], chance),
        chance.choice(LIVES), killed=chance.random() < 0.3, only_copies=number % ONLY_COPIES == 0,
    )  # fmt: skip


def _blows(faults: Sequence[Fault], chance: random.Random) -> tuple[Blow, ...]:
    return tuple(sorted((_blow(fault, chance) for fault in faults), key=lambda blow: blow.begin))


def _fitting(deck: Deck[Fault], workers: int) -> Fault | None:
    """The next of its kind that can meet a node with so many workers."""
    for _ in range(20):
        fault = deck.draw()
        if not ((fault.worker and not workers) or (fault.alone and workers)):
            return fault
    return None


def _blow(fault: Fault, chance: random.Random) -> Blow:
    begin = chance.uniform(0.1, 0.45)
    return Blow(fault, begin, min(1.0, begin + chance.uniform(0.3, 0.6)))
