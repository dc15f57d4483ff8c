"""The data directory is one user's: nobody else may put something where the node writes.

Files and directories that the node makes are 0600 and 0700 whatever the umask is. What was there before the node, or
what an older version made, is looked at here once, before the lock is taken. What can be set right is (others' right to
write goes); a file that somebody else has put there already ends the start, for it may be a link to anywhere.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from tierproxy.disk.fsio import Files, disk_errors
from tierproxy.errors import BlobMissing, ConfigError, DiskError
from tierproxy.logs import event

log = logging.getLogger(__name__)

WRITES = stat.S_IWGRP | stat.S_IWOTH
OTHERS = stat.S_IRWXG | stat.S_IRWXO
ROOT = 0
LOOKED_INTO = ("catalogue", "stubs", "history", "looks")
"""Directories of the data directory in which files have names that can be foreseen."""


def close_to_others(root: Path, files: Files) -> None:
    """Blocking. Raises ConfigError for a file of another user in the data directory ``root``, and when it cannot be
    looked at. A directory that is not there is fine."""
    try:
        found = root.stat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise ConfigError(f"cannot use {root}: {error.strerror}", hint="run this as the user of the node") from error
    ours = {ROOT, os.geteuid(), found.st_uid}
    _shut(root, found, files)
    try:
        for path, inside in _entries(root):
            _refuse_foreign(path, inside, ours)
            if path.parent.name == "catalogue" and stat.S_ISREG(inside.st_mode):
                _shut(path, inside, files, OTHERS)
    except DiskError as error:
        raise ConfigError(f"cannot use {root}: {error}", hint="run this as the user of the node") from error


def _entries(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """What is in ``root`` and in the directories with names that can be foreseen; links as links."""
    for directory in (root, *(root / name for name in LOOKED_INTO)):
        try:
            with disk_errors(f"list {directory}"), os.scandir(directory) as entries:
                found = [(Path(entry.path), entry.stat(follow_symlinks=False)) for entry in entries]
        except BlobMissing:
            continue
        yield from found


def _refuse_foreign(path: Path, found: os.stat_result, ours: set[int]) -> None:
    if found.st_uid not in ours:
        raise ConfigError(
            f"{path} belongs to another user ({found.st_uid})",
            hint="it may lead the node to write somewhere else: chown it to the node's user, or remove it",
        )


def _shut(path: Path, found: os.stat_result, files: Files, bits: int = WRITES) -> None:
    """Take ``bits`` away. Not from a directory like /tmp, which is for everybody, nor from one of somebody else."""
    if not found.st_mode & bits:
        return
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid != os.geteuid() or mode & stat.S_ISVTX:
        event(log, logging.WARNING, "others may write to the data directory", path=path, mode=f"{mode:04o}")
        return
    try:
        files.chmod(path, mode & ~bits)
    except DiskError as error:
        event(log, logging.WARNING, "others may write to the data directory", path=path, error=error)
        return
    event(log, logging.WARNING, "closed to others", path=path, mode=f"{mode & ~bits:04o}")
