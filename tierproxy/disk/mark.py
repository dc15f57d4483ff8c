"""How far the catalogue had come, noted beside it: what tells a crash from a catalogue restored from a backup.

After a crash there are files of generations the catalogue has no commit of, because their writes were cut off. When the
catalogue is an old copy there are such files, too, but of writes that were acknowledged. So the node notes the largest
committed generation every second and at the end. The catalogue's own commits are durable before they are noted: a
catalogue that has not come as far as the note is not the one the node worked with last.
"""

from __future__ import annotations

import os
from pathlib import Path

from tierproxy.disk.fsio import Files

WIDTH = 20


class CommitMark:
    """``<data>/committed``. Not fsynced: a note that is lost or torn counts as none."""

    def __init__(self, root: Path, files: Files) -> None:
        self._path = root / "committed"
        self._files = files
        self.noted = 0  #: the last one

    def read(self) -> int:
        """The largest generation noted, 0 if there is none."""
        try:
            text = self._path.read_bytes()
        except OSError:
            return 0
        return int(text) if len(text) == WIDTH and text.isdigit() else 0

    def write(self, generation: int) -> None:
        """Note ``generation``, unless it was the last one noted. Raises DiskError."""
        if generation == self.noted:
            return
        fd = self._files.open_or_create(self._path)
        try:
            self._files.write_at(fd, b"%0*d" % (WIDTH, generation), 0)
        finally:
            os.close(fd)
        self.noted = generation
