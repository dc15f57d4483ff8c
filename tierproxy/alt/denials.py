"""A 404 in answer to a delete, which may mean that it is done and may mean nothing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from tierproxy.errors import AltMissing, AltUncertain
from tierproxy.model import ObjectName
from tierproxy.ports import Clock

DOUBT = 60.0  #: seconds
NAMES = 10_000


class Denials:
    """S3 confirms deleting what is not there; some servers answer 404 instead. But so does a server that is behind the
    times, or has lost its index for a moment, and then the object comes back. So it counts only when it is said again
    ``DOUBT`` seconds after it was said first, of the same delete."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._first: OrderedDict[ObjectName, float] = OrderedDict()

    @contextmanager
    def doubted(self, name: ObjectName) -> Iterator[None]:
        """loop. Around a delete. AltMissing becomes AltUncertain as long as it does not count."""
        try:
            yield
        except AltMissing as error:
            now = self._clock.monotonic()
            if now - self._first.setdefault(name, now) < DOUBT:
                if len(self._first) > NAMES:
                    self._first.popitem(last=False)
                raise AltUncertain(f"{name}: alt has nothing to delete; it is asked again later") from error
            raise
        else:
            self.forget(name)

    def forget(self, name: ObjectName) -> None:
        """loop. What was said is of a delete that is done, or of an object that is written anew."""
        self._first.pop(name, None)
