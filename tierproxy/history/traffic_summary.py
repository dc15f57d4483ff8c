"""What a stretch of traffic comes to: how much was written, how often it was read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from tierproxy.history.rows import object_id
from tierproxy.model import ObjectName
from tierproxy.stats import READ_CLASSES
from tierproxy.traffic import Event, EventKind, Reason


class TrafficSummary:
    """Counts events in order of time. Remembers one number for every live object that a person has read.

    A mail that is moved is another object afterwards, which nobody has read yet: as the proxy sees it.
    """

    def __init__(self) -> None:
        self.events = 0
        self.objects = 0  #: written
        self.bytes = 0  #: of these
        self.deletes = 0
        self.sent = 0  #: bytes read, by anyone
        self.reads: Counter[str] = Counter()  #: by reason
        self._live: dict[int, int] = {}
        self._gone: Counter[int] = Counter()

    def extend(self, events: Iterable[Event]) -> None:
        for event in events:
            self.events += 1
            if event.kind is EventKind.READ:
                self._read(event)
            elif event.kind is EventKind.WRITE:
                self.objects += 1
                self.bytes += event.size
            elif event.kind is EventKind.DELETE:
                self.deletes += 1
                self._gone[self._live.pop(_number(event.name), 0)] += 1

    def _read(self, event: Event) -> None:
        self.sent += event.sent
        if not event.first:
            return
        self.reads[event.reason] += 1
        if event.reason == Reason.PERSON:
            number = _number(event.name)
            self._live[number] = self._live.get(number, 0) + 1

    def by_reads(self) -> dict[str, int]:
        """Objects by how often people read them, deleted ones too; the classes are ``tierproxy.stats.READ_CLASSES``."""
        found = dict.fromkeys(READ_CLASSES, 0)
        for reads, objects in (self._gone + Counter(self._live.values())).items():
            found[_class(reads)] += objects
        found["0"] = self.objects - sum(objects for name, objects in found.items() if name != "0")
        return found

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return {
            "events": self.events, "objects": self.objects, "bytes": self.bytes, "deletes": self.deletes,
            "reads": dict(sorted(self.reads.items())), "sent": self.sent, "by_reads": self.by_reads(),
        }  # fmt: skip


def _number(name: ObjectName) -> int:
    return object_id(name.bucket, name.key)


def _class(reads: int) -> str:
    return "6+" if reads > 5 else "3-5" if reads > 2 else str(reads)
