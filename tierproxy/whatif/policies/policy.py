"""What a policy is to a replay.

A policy holds objects, by number, of different size on a budget of bytes. Alike for all: a read of what is there is a
hit; what is not there comes in, whole, if it fits into the budget at all. A write brings the object in without a read
(the tier is written through), and what was there of it goes first: it is another content. A delete takes it away.
Objects go for want of space only, and no more than needed.

Each policy is one loop over columns: a call per event would cost more than the whole policy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar, NamedTuple


class Lost(NamedTuple):
    """What a part of a replay cost: reads that missed, their bytes, and objects that went for want of space."""

    misses: int
    bytes: int
    evictions: int


class Policy(ABC):
    """``budget`` in bytes; ``objects``: numbers are below it. State stays from one ``replay`` to the next."""

    name: ClassVar[str]  #: as in ``[pressure] order`` where there is such an order

    def __init__(self, budget: int, objects: int) -> None:
        self.budget = budget
        self.used = 0  #: bytes held

    def __repr__(self) -> str:
        return f"<{self.name}: {self.used} of {self.budget} bytes>"

    @abstractmethod
    def replay(self, kinds: bytes, numbers: Iterable[int], sizes: Iterable[int]) -> Lost:
        """Go on with these events: columns of ``tierproxy.whatif.requests.Requests``."""
