"""What a look at one trap says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tierproxy.dovecot.checks.situation import Situation


class Verdict(StrEnum):
    """``fail``: mail does not work, or can be lost. ``warn``: it works; you should know."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """``trap``: its name. ``saw``: the fact. ``change``: what to do, "" if nothing."""

    trap: str
    verdict: Verdict
    saw: str
    change: str = ""


@dataclass(frozen=True, slots=True)
class Trap:
    """One thing that goes wrong. ``about``: why it matters. ``look`` says nothing where it does not apply."""

    name: str
    about: str
    look: Callable[[Situation], Iterator[tuple[Verdict, str, str]]]

    def findings(self, situation: Situation) -> list[Finding]:
        """What it has to say of ``situation``."""
        return [Finding(self.name, *said) for said in self.look(situation)]


Said = tuple[Verdict, str, str]


def ok(saw: str) -> Said:
    return Verdict.OK, saw, ""


def warn(saw: str, change: str) -> Said:
    return Verdict.WARN, saw, change


def fail(saw: str, change: str) -> Said:
    return Verdict.FAIL, saw, change
