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
    """Per bucket (each may have another bucket in alt, with other rights): down after ``FAILURES`` tries in a row that
    found alt unavailable, or one that got no answer within ``[write] alt_patience``; up again with the first that did
    not.

    While it is down a write that may be queued is queued at once instead of waiting for its own timeout, and a delete
    answers when its tombstone is durable. The upload queue goes on trying (there is always something in it: what
    failed), so its first success brings alt up again. Reads always ask.
    """

    def __init__(self, alarms: Alarms) -> None:
        self._alarms = alarms
        self._failures: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<AltHealth {', '.join(f'{bucket}: {count}' for bucket, count in self._failures.items()) or 'up'}>"

    def down(self, bucket: str) -> bool:
        return self._failures.get(bucket, 0) >= FAILURES

    def answered(self, bucket: str) -> None:
        """loop. Alt took a change, or refused it in so many words."""
        if self._failures.pop(bucket, 0) >= FAILURES:
            event(log, logging.INFO, "alt takes changes again", bucket=bucket)
            self._alarms.clear(ALARM, bucket)

    def silent(self, bucket: str, error: AltError) -> None:
        """loop. A change has waited in vain for as long as any may: one is enough."""
        if not self.down(bucket):
            self._alarms.set(ALARM, bucket, error=error)
        self._failures[bucket] = max(FAILURES, self._failures.get(bucket, 0))

    def failed(self, bucket: str, error: AltError) -> None:
        """loop. A change ended in ``error``."""
        if not isinstance(error, (AltUnavailable, AltUncertain)):
            self.answered(bucket)
            return
        self._failures[bucket] = self._failures.get(bucket, 0) + 1
        if self._failures[bucket] == FAILURES:
            self._alarms.set(ALARM, bucket, error=error)
