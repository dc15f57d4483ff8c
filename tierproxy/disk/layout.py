"""Where files are below the data directory.

    <data>/lock                          who owns it
    <data>/blobs/<2 hex>/<2 hex>/<name>  published blobs
    <data>/staging/<name>                files before they are blobs; emptied at start
    <data>/parts/<name>                  parts of multipart uploads
    <data>/quarantine/<name>             damaged blobs, for an operator to look at
    <data>/catalogue/                    made here, so that its name is durable; what is in it is SQLite's

A name is 32 hex digits: 48 bits of milliseconds since the epoch, 80 random bits. It is unique and never used again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from tierproxy.disk.fsio import Files, disk_errors
from tierproxy.errors import BlobMissing, DiskError

NAME = re.compile(r"[0-9a-f]{32}", re.ASCII)
RANDOM_BYTES = 10


def new_name(now: float, random_bytes: Callable[[int], bytes]) -> str:
    """A fresh blob name for a file begun at ``now`` (seconds since the epoch)."""
    milliseconds = int(now * 1000) & 0xFFFF_FFFF_FFFF
    return f"{milliseconds:012x}{random_bytes(RANDOM_BYTES).hex()}"


class DataDirectory:
    """The paths below ``root``. Makes nothing by itself but in ``make``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock = root / "lock"
        self.blobs = root / "blobs"
        self.staging = root / "staging"
        self.parts = root / "parts"
        self.quarantine = root / "quarantine"
        self.catalogue = root / "catalogue"
        self._blobs, self._staging = str(self.blobs), str(self.staging)

    def __repr__(self) -> str:
        return f"<DataDirectory {self.root}>"

    def blob(self, name: str) -> Path:
        """The file of a blob. BlobMissing if ``name`` cannot be one.

        The two directory levels are bits 16 to 31 of the milliseconds: blobs written within the same 65 seconds share
        a directory, so that one fsync makes all concurrent publishes durable; hashing would spread them over as many
        directories, each with an fsync of its own.
        """
        _checked(name)
        # One Path from one string: every "/" of pathlib makes another, and this is on the way of every read and write.
        return Path(f"{self._blobs}/{name[4:6]}/{name[6:8]}/{name}")

    def staged(self, name: str) -> Path:
        return Path(f"{self._staging}/{_checked(name)}")

    def part(self, name: str) -> Path:
        """The file of a part. BlobMissing if ``name`` cannot be one."""
        return self.parts / _checked(name)

    def quarantined(self, name: str) -> Path:
        return self.quarantine / _checked(name)

    def make(self, files: Files) -> None:
        """Make what is missing, durably. Blocking."""
        make_durable(self.root, files)
        for path in (self.blobs, self.staging, self.parts, self.quarantine, self.catalogue):
            files.mkdir(path)
        files.fsync_dir(self.root)


def _checked(name: str) -> str:
    if NAME.fullmatch(name) is None:
        raise BlobMissing(f"{name!r} is not the name of a blob")
    return name


def is_name(text: str) -> bool:
    """Whether a directory entry can be a blob or a part."""
    return NAME.fullmatch(text) is not None


def make_durable(path: Path, files: Files) -> None:
    """``path`` and its missing parents. Each new directory is fsynced into its parent, outermost first. Blocking."""
    missing = [path]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    for directory in reversed(missing):
        if files.mkdir(directory):
            files.fsync_dir(directory.parent)


class FanOut:
    """Makes the two directory levels below ``blobs/``. Threads may find one missing together: each makes it durable
    before it relies on it, whoever made it."""

    def __init__(self, blobs: Path, files: Files) -> None:
        self._blobs = blobs
        self._files = files
        self._durable: set[Path] = set()

    def ensure(self, directory: Path) -> None:
        """Make ``directory`` (two levels down) and its parent durable.

        A directory that is there but not known to this process is fsynced into its parent too: the process that made
        it may have died before it did so.
        """
        for path in (directory.parent, directory):
            if path not in self._durable:
                self._files.mkdir(path)
                self._files.fsync_dir(path.parent)
                self._durable.add(path)

    def forget(self, directory: Path) -> None:
        """Somebody removed it (an operator tidying empty directories)."""
        self._durable.difference_update({directory, directory.parent})


def blob_directories(blobs: Path) -> list[Path]:
    """Every leaf directory below ``blobs/``. Blocking; DiskUnavailable."""
    with disk_errors(f"list {blobs}"):
        return [leaf for top in _directories(blobs) for leaf in _directories(top)]


def _directories(path: Path) -> list[Path]:
    with os.scandir(path) as entries:
        return [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]


def names_in(path: Path) -> list[str]:
    """The blob names in one directory; none if it is gone. Blocking; DiskUnavailable."""
    try:
        with disk_errors(f"list {path}"), os.scandir(path) as entries:
            return [entry.name for entry in entries if NAME.fullmatch(entry.name)]
    except BlobMissing:
        return []


def clear(path: Path, files: Files) -> int:
    """Unlink every file in a directory. Returns how many. Blocking."""
    with disk_errors(f"list {path}"):
        found = [path / name for name in os.listdir(path)]
    return unlink_all(found, files)


def unlink_all(paths: list[Path], files: Files) -> int:
    """Unlink each; one that is not there is fine. Returns how many there were. Blocking.

    Goes on after an error and raises the first at the end.
    """
    failed: DiskError | None = None
    removed = 0
    for path in paths:
        try:
            files.unlink(path)
            removed += 1
        except BlobMissing:
            pass
        except DiskError as error:
            failed = failed or error
    if failed is not None:
        raise failed
    return removed
