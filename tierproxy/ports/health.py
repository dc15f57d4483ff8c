"""How well the two tiers do, as far as the calls to them tell: what makes the house go round a tier, and what an
operator is shown. Decisions 32 (disk) and 33 (alt)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class State(StrEnum):
    """Of the disk, or of alt for one bucket. Numbers of metrics follow the order: normal 0, probing 3."""

    NORMAL = "normal"
    UNSTABLE = "unstable"  #: some calls fail or are slow: it is used, but nothing that can be avoided is asked of it
    DOWN = "down"  #: nobody waits for it; only probes go there
    PROBING = "probing"  #: it answers probes again: the disk is looked through, alt gets one request at a time


@dataclass(frozen=True, slots=True)
class Condition:
    """``tier``: "disk" or "alt"; ``subject``: the data directory, or the bucket. ``since``: Unix seconds of the last
    change of state. ``reason``: for people, what brought it there ("12 of 40 calls failed: Input/output error"); empty
    when normal. ``changes``: how often the state has changed since the start."""

    tier: str
    subject: str
    state: State
    since: float
    reason: str = ""
    changes: int = 0


class Health(Protocol):
    """Somebody who knows about a tier."""

    def conditions(self) -> Sequence[Condition]:
        """loop. Of everything it watches, in a stable order."""
        ...
