"""What the metrics of a mount are read off (``tierproxy.metrics.mount.Sources``)."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from tierproxy.fuse.session import Session
from tierproxy.metrics.mount import Held
from tierproxy.mount.filesystem import Filesystem
from tierproxy.mount.ports import NodeClient


class Gauges:
    """Looks at the parts of a running mount when it is asked. ``scratch``: its scratch directory."""

    def __init__(self, session: Session, filesystem: Filesystem, client: NodeClient, scratch: Path) -> None:
        self.asked = session.asked
        self.counts = filesystem.counters
        self._session = session
        self._filesystem = filesystem
        self._client = client
        self._scratch = scratch

    def held(self) -> Held:
        return Held(
            self._filesystem.open_files, self._session.waiting, _bytes_below(self._scratch), self._client.fresh
        )  # fmt: skip


def _bytes_below(directory: Path) -> int:
    """Of files with a name, in the directory and those in it. What goes meanwhile does not count."""
    found = 0
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            with suppress(OSError):
                found += _bytes_below(Path(entry.path)) if entry.is_dir() else entry.stat().st_size
    return found
