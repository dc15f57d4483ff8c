"""Changes that clients have given up and taken back."""

from __future__ import annotations

from collections import OrderedDict

MOST = 100_000  #: remembered; the oldest go first


class Withdrawn:
    """Names clients gave to their changes. In memory: what was on its way to a node that is gone can arrive no more."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._changes: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, change: str) -> bool:
        return change in self._changes

    def add(self, change: str) -> bool:
        """loop. False: it was taken back before."""
        if change in self._changes:
            return False
        self._changes[change] = None
        if len(self._changes) > self._most:
            self._changes.popitem(last=False)
        return True

    def discard(self, change: str) -> None:
        """loop. It could not be taken back after all."""
        self._changes.pop(change, None)
