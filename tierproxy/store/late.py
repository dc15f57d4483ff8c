"""What alt does late: a change that was sent, and whose answer nobody heard, may be done after the next one.

docs/decisions/0002-states.md, "What is done late".
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

from tierproxy.errors import AltError, AltHeld, AltUncertain
from tierproxy.logs import event
from tierproxy.model import Headers, ObjectName
from tierproxy.ports import Clock, Unanswered

log = logging.getLogger(__name__)


class Made(NamedTuple):
    """What alt has of a name when a change is done: two changes that make the same may be done in any order. ``etag``:
    the client's; "": nothing is there."""

    etag: str
    headers: Headers

    @classmethod
    def of(cls, etag: str, headers: Headers | None) -> Made | None:
        """None: it cannot be known. Of the headers all but the checksums: those say of the bytes what the ETag says."""
        if not etag or headers is None:
            return None
        return cls(etag, replace(headers, checksums={}, checksum_type=None))


GONE = Made("", Headers())
"""What a delete makes."""


@dataclass(slots=True)
class Sent:
    """A change that alt is being asked for. ``asked``: for all of it; what comes before changes nothing. ``unheard``:
    it may be done, or done once more, after the call has ended."""

    asked: bool = True
    unheard: bool = False

    def lost(self) -> None:
        """An answer was not heard."""
        self.unheard = True


class Doubt(NamedTuple):
    made: Made | None
    until: float


class LateChanges:
    """Nothing is sent over what may still be on its way. ``late``: seconds in which alt may do what it was asked to by
    somebody who did not hear its answer. All loop."""

    def __init__(self, unanswered: Unanswered, clock: Clock, late: float) -> None:
        self._unanswered = unanswered
        self._clock = clock
        self._late = late
        self._over = clock.monotonic() + late  # what a process before this one has sent is done then
        self._doubts: dict[ObjectName, Doubt] = {}
        self._ends: deque[tuple[float, ObjectName]] = deque()  # of each change that was not answered, by time
        if unanswered.left:
            event(log, logging.INFO, "a node before this one left changes unanswered", names=unanswered.left)

    def __repr__(self) -> str:
        return f"<LateChanges, {self._unanswered.left} of before, {len(self._doubts)} uncertain>"

    def admit(self, name: ObjectName, made: Made | None) -> None:
        """Raises AltHeld if another change of ``name`` may still be done, by this process or one that was killed: sent
        now, this one might be overtaken."""
        now = self._clock.monotonic()
        self._expire(now)
        if self._unanswered.left and self._unanswered.is_left(name):
            self._hold(name, "a node before this one", self._over - now)
        doubt = self._doubts.get(name)
        if doubt is not None and (made is None or made != doubt.made):
            self._hold(name, "an earlier request, whose answer was lost,", doubt.until - now)

    async def close(self) -> None:
        """What can no longer be done is not left to the next node."""
        self._expire(self._clock.monotonic())

    def _hold(self, name: ObjectName, who: str, seconds: float) -> None:
        raise AltHeld(
            f"{name}: what {who} had sent may still be done; alt is asked again in {seconds:.0f} s", retry_after=seconds
        )

    @contextmanager
    def sending(self, name: ObjectName, made: Made | None) -> Iterator[Sent]:
        """Around a request to alt after which ``name`` is as ``made``. Raises as ``admit``."""
        self.admit(name, made)
        self._unanswered.sent(name)
        sent = Sent()
        try:
            yield sent
        except AltError as error:
            sent.unheard |= isinstance(error, AltUncertain)
            raise
        except BaseException:  # cancelled: what alt makes of it nobody knows
            sent.lost()
            raise
        finally:
            self._ended(name, made, sent)

    def _ended(self, name: ObjectName, made: Made | None, sent: Sent) -> None:
        if not (sent.asked and sent.unheard):
            self._unanswered.answered(name)
            return
        until = self._clock.monotonic() + self._late
        before = self._doubts.get(name)
        self._doubts[name] = Doubt(made if before is None or before.made == made else None, until)
        self._ends.append((until, name))

    def _expire(self, now: float) -> None:
        if self._unanswered.left and now >= self._over:
            self._unanswered.forget_left()
        while self._ends and self._ends[0][0] <= now:
            until, name = self._ends.popleft()
            self._unanswered.answered(name)
            doubt = self._doubts.get(name)
            if doubt is not None and doubt.until <= until:
                del self._doubts[name]
