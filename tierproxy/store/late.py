"""What alt does late: changes that were sent by a node which was killed may be done after those of the next node.

docs/decisions/0002-states.md, "What is done late".
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from tierproxy.errors import AltError, AltUnavailable, AltUncertain
from tierproxy.logs import event
from tierproxy.model import ObjectName
from tierproxy.ports import Clock, Unanswered

log = logging.getLogger(__name__)


class LateChanges:
    """Nothing is sent over what may still be on its way. ``late``: seconds in which alt may do what it was asked to by
    somebody who did not hear its answer. All loop."""

    def __init__(self, unanswered: Unanswered, clock: Clock, late: float) -> None:
        self._unanswered = unanswered
        self._clock = clock
        self._late = late
        self._over = clock.monotonic() + late  # what a process before this one has sent is done then
        self._uncertain: deque[tuple[float, ObjectName]] = deque()  # until when; of this process
        if unanswered.left:
            event(log, logging.INFO, "changes may still be done that were sent before", names=unanswered.left)

    def __repr__(self) -> str:
        return f"<LateChanges, {self._unanswered.left} of before, {len(self._uncertain)} uncertain>"

    @contextmanager
    def sending(self, name: ObjectName) -> Iterator[None]:
        """Around a request to alt that changes ``name``. Raises AltUnavailable if one of a process before this one may
        still be done: sent now, this one might be overtaken."""
        now = self._clock.monotonic()
        self._expire(now)
        if self._unanswered.left and self._unanswered.is_left(name):
            raise AltUnavailable(
                f"{name}: what the node that was killed had sent may still be done; alt is asked again in "
                f"{self._over - now:.0f} s"
            )
        self._unanswered.sent(name)
        try:
            yield
        except AltError as error:
            self._ended(name, certain=not isinstance(error, AltUncertain))
            raise
        except BaseException:  # cancelled, or the body could not be read: what alt makes of it nobody knows
            self._ended(name, certain=False)
            raise
        self._ended(name, certain=True)

    def _ended(self, name: ObjectName, *, certain: bool) -> None:
        if certain:
            self._unanswered.answered(name)
        else:
            self._uncertain.append((self._clock.monotonic() + self._late, name))

    def _expire(self, now: float) -> None:
        if self._unanswered.left and now >= self._over:
            self._unanswered.forget_left()
        while self._uncertain and self._uncertain[0][0] <= now:
            self._unanswered.answered(self._uncertain.popleft()[1])
