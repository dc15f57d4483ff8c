"""Bodies from the node's own files, where the mount is on its machine: an open costs no request then.

Decided in docs/decisions/0027-bodies-from-the-nodes-files.md; why it is right beside a node that changes things:
docs/decisions/0028-hit-lane.md.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from tierproxy.model import ObjectName
from tierproxy.mount.ports import Body, File, Who
from tierproxy.mount.reports import ReadReports
from tierproxy.ports import Near, Offload, Standing

LARGEST = 1024 * 1024  #: bytes; longer objects come from the node
REMEMBERED = 10_000  #: objects that need no look at the catalogue as long as they stand


class Nearby(Protocol):
    """Where bodies may be had without the node."""

    async def body(self, key: str, file: File, who: Who) -> Body | None:
        """All of ``key``, if it still is ``file``; counted as a read of ``who``. None: the node is to be asked."""
        ...


class Nowhere:
    """The node is on another machine, or nobody has said where its files are."""

    async def body(self, key: str, file: File, who: Who) -> Body | None:
        return None


@dataclass(frozen=True, slots=True)
class Beside:
    """The node's files, and what the keys of the mount are there: in ``bucket``, behind ``prefix``."""

    near: Near
    bucket: str
    prefix: str


class NodesFiles:
    """Bodies of up to 1 MiB."""

    def __init__(self, beside: Beside, threads: Offload, reports: ReadReports) -> None:
        self._near = beside.near
        self._bucket, self._prefix = beside.bucket, beside.prefix
        self._threads = threads
        self._reports = reports
        self._known: OrderedDict[str, Standing] = OrderedDict()

    async def body(self, key: str, file: File, who: Who) -> Body | None:
        """See ``Nearby``. What stands after the bytes were read stood when the open began: so no byte is served of what
        was replaced or deleted before."""
        if file.size > LARGEST:
            return None
        for standing in self._standings(key):
            entry = standing.entry
            content = None
            if (entry.etag, entry.size) == (file.etag, file.size):
                content = self._near.read(standing) or await self._threads.run(self._near.load, standing)
            if content is not None and self._near.stands(standing):
                self._remember(key, standing)
                self._reports.note(key, entry, who)
                return Body(file, content)
            self._known.pop(key, None)
        return None

    def _standings(self, key: str) -> Iterator[Standing]:
        """What is remembered, then what the catalogue says."""
        known = self._known.get(key)
        if known is not None:
            yield known
        found = self._near.find(ObjectName(self._bucket, self._prefix + key))
        if found is not None:
            yield found

    def _remember(self, key: str, standing: Standing) -> None:
        self._known[key] = standing
        self._known.move_to_end(key)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
