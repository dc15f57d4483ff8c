"""Whether alt takes changes at the moment, as far as the last tries tell."""

from __future__ import annotations

import logging

from tierproxy.errors import AltError, AltUnavailable, AltUncertain
from tierproxy.logs import event
from tierproxy.ports import Alarms

log = logging.getLogger(__name__)
FAILURES = 2
ALARM = "alt does not take changes"


class AltHealth:
    """Down after ``FAILURES`` tries in a row that found alt unavailable, up again with the first that did not.

    While it is down a write that may be queued is queued at once instead of waiting for its own timeout, and a delete
    answers when its tombstone is durable. The upload queue goes on trying (there is always something in it: what
    failed),
    so its first success brings alt up again. Reads always ask.
    """

    def __init__(self, alarms: Alarms) -> None:
        self._alarms = alarms
        self._failures = 0

    def __repr__(self) -> str:
        return f"<AltHealth {'down' if self.down else 'up'}>"

    @property
    def down(self) -> bool:
        return self._failures >= FAILURES

    def answered(self) -> None:
        """loop. Alt took a change, or refused it in so many words."""
        if self.down:
            event(log, logging.INFO, "alt takes changes again")
            self._alarms.clear(ALARM, "alt")
        self._failures = 0

    def failed(self, error: AltError) -> None:
        """loop. A change ended in ``error``."""
        if not isinstance(error, (AltUnavailable, AltUncertain)):
            self.answered()
            return
        self._failures += 1
        if self._failures == FAILURES:
            self._alarms.set(ALARM, "alt", error=error)
