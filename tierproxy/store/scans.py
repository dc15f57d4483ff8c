"""Recognises a scan: one client that reads many objects of one owner, one after the other, in key order.

That is how a mail client resynchronises a folder, how an index is rebuilt and how a backup walks a bucket; people open
mails in no order, or a few of them. Key order is that of the bytes (listings, backups) or that of numbers at the end of
the key (``u.9``, ``u.10``: a mail server goes by UID), shorter keys first; a run must keep to one of the two.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Generic, TypeVar

from tierproxy.config.sections import CountingSection
from tierproxy.model import ObjectName

R = TypeVar("R")
RUNS = 10_000
"""Runs that are followed at once; the one that stood still longest is forgotten."""


class Run(Generic[R]):
    """Reads of one client and owner, each in order after the one before. ``taken``: those that still count as a
    person's; none any more once it is a scan."""

    __slots__ = ("at", "bytewise", "key", "length", "natural", "scanning", "taken")

    def __init__(self, key: str, at: float) -> None:
        self.taken: list[R] = []
        self.begin(key, at)

    def begin(self, key: str, at: float) -> None:
        """Anew with ``key``."""
        self.key = key
        self.at = at
        self.bytewise = self.natural = True
        self.length = 1
        self.scanning = False
        self.taken.clear()

    def order(self, key: str) -> tuple[bool, bool]:
        """Whether ``key`` is the next by bytes, and by numbers."""
        after, more = key > self.key, len(key) - len(self.key)
        return self.bytewise and after, self.natural and (more > 0 or (more == 0 and after))

    def goes_on(self, key: str, at: float) -> bool:
        """``key`` is the next in order; if it is, the run ends there now."""
        bytewise, natural = self.order(key)
        if not bytewise and not natural:
            return False
        self.key, self.at = key, at
        self.bytewise, self.natural = bytewise, natural
        self.length += 1
        return True


class Scans(Generic[R]):
    """Confined to the event loop; at most ``RUNS`` runs with ``scan_objects`` reads each are remembered. Times are
    monotonic seconds. ``R`` is whatever the caller needs to correct a read."""

    def __init__(self, settings: CountingSection) -> None:
        self._runs: OrderedDict[tuple[str, str, str], Run[R]] = OrderedDict()
        self.reload(settings)

    def __repr__(self) -> str:
        return f"<Scans, {len(self._runs)} runs>"

    def reload(self, settings: CountingSection) -> None:
        self._objects = settings.scan_objects
        self._gap = float(settings.scan_gap)

    def follow(self, client: str, owner: str, name: ObjectName, at: float, read: R) -> Sequence[R] | None:
        """loop. ``client`` reads ``name``, and nobody said why. None: it counts as a person's read. Else it belongs to
        a scan, and these earlier reads of the run, counted as a person's until now, do too."""
        if not self._objects:
            return None
        run = self._run(client, owner, name, at)
        if run.scanning:
            return ()
        if run.length < self._objects:
            if len(run.taken) < run.length:  # the same object again is another read, and no part of the run
                run.taken.append(read)
            return None
        earlier, run.taken, run.scanning = run.taken, [], True
        return earlier

    def scanning(self, client: str, owner: str, name: ObjectName, at: float) -> bool:
        """loop. ``name`` is the next of a scan by ``client``, as far as can be said before it is delivered. What is out
        of order ends the scan, and is a person's."""
        run = self._runs.get((client, name.bucket, owner))
        if run is None or not run.scanning or at - run.at > self._gap:
            return False
        return name.key == run.key or any(run.order(name.key))

    def _run(self, client: str, owner: str, name: ObjectName, at: float) -> Run[R]:
        place = client, name.bucket, owner
        run = self._runs.get(place)
        if run is None:
            run = self._runs[place] = Run(name.key, at)
            if len(self._runs) > RUNS:
                self._runs.popitem(last=False)
            return run
        self._runs.move_to_end(place)
        if at - run.at > self._gap:
            run.begin(name.key, at)
        elif run.key == name.key:
            run.at = at
        elif not run.goes_on(name.key, at):
            run.begin(name.key, at)
        return run
