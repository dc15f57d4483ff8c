"""The door to objects on the local disk without asking the node: for the hit lane, hit workers and mounts.

How it can be right beside a node that changes things: docs/decisions/0028-hit-lane.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tierproxy.model import Entry, ObjectName


@dataclass(frozen=True, slots=True)
class Standing:
    """What the catalogue said of an object whose blob is on disk, and the numbers of the version table from before it
    was asked. True as long as the table has these numbers. ``entry`` has a blob, headers and an XXH3."""

    entry: Entry
    slot: int
    version: int
    epoch: int


class Versions(Protocol):
    """The node's side of the version table: shared memory that says what must not be believed any more."""

    def changed(self, name: ObjectName) -> None:
        """loop. Whatever was known of ``name`` is void. Called after the commit of every change to its content, its
        headers, its blob or its state, and before anybody is told of it. Never raises."""
        ...

    def all_changed(self) -> None:
        """loop. Whatever was known of anything is void."""
        ...


class Unanswered(Protocol):
    """Changes that were sent to alt and not answered, counted in memory that outlives a killed process, though not the
    system. Names share counters: what is said of one may be another's. All loop; none raises."""

    @property
    def left(self) -> int:
        """Of how many counters a process before this one was killed without an answer. 0 after ``forget_left``."""
        ...

    def is_left(self, name: ObjectName) -> bool:
        """A process before this one may have sent a change of ``name``, and was killed without an answer."""
        ...

    def sent(self, name: ObjectName) -> None: ...

    def answered(self, name: ObjectName) -> None:
        """Or nothing will come of it any more. Once for each ``sent``."""
        ...

    def forget_left(self) -> None:
        """What was sent by processes before this one is done, or never will be."""
        ...


class Near(Protocol):
    """Reads of objects as they stand, in the node or in another process of the same machine. Never raises: what
    cannot be said or read is None, and the node is asked."""

    def find(self, name: ObjectName) -> Standing | None:
        """None: the node has to be asked. No blob; a state that needs an opinion (SUSPECT, DELETING); headers or digest
        not known; a bucket with other writers. Costs one look at the catalogue."""
        ...

    def stands(self, standing: Standing) -> bool:
        """Nothing has changed since. Costs two reads of memory; implementations let callers inline it."""
        ...

    def read(self, standing: Standing) -> bytes | None:
        """The whole body, compared with its XXH3; for the loop: None unless it has at most 256 KiB and the kernel holds
        its pages (``RWF_NOWAIT``). Check ``stands`` after it, not before."""
        ...

    def load(self, standing: Standing) -> bytes | None:
        """thread. As ``read``, from the device if need be, up to 1 MiB."""
        ...

    def sweep(self) -> None:
        """loop. Give back what is held of objects that are gone: their disk space is free then. For about once a
        second."""
        ...
