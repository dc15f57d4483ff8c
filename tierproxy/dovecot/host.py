"""What a machine shows of itself to whoever looks: mounts, owners of directories, users, kernel, services.

Everything is read below ``root`` or asked of a command, so that another root and other answers show another machine.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tierproxy.dovecot.commands import Answer, Run, Unrunnable, run
from tierproxy.errors import TierproxyError

PATIENCE = "5"  #: seconds in which a mount that works tells whose it is
OURS = re.compile(r"fuse\.tierproxy$")
"""The type of our mounts in /proc/self/mountinfo."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """A line of /proc/self/mountinfo (proc(5)). ``options``: of the mount and of its file system."""

    point: str
    kind: str
    source: str
    options: frozenset[str]

    @property
    def ours(self) -> bool:
        return bool(OURS.match(self.kind))


@dataclass(frozen=True, slots=True)
class Owned:
    """Who owns a file, and who may use it. ``mode``: permission bits. ``empty``: a directory without anything in it."""

    uid: int
    gid: int
    mode: int
    directory: bool = True
    empty: bool = True

    def writable_by(self, uid: int, gid: int) -> bool:
        """By a process of that user and group (0: always)."""
        if uid == 0:
            return True
        bit = stat.S_IWUSR if uid == self.uid else stat.S_IWGRP if gid == self.gid else stat.S_IWOTH
        return bool(self.mode & bit)

    def __str__(self) -> str:
        return f"{self.uid}:{self.gid} {self.mode:04o}"


class Silent(TierproxyError):
    """A file system that should answer does not."""


@dataclass(frozen=True, slots=True)
class Host:
    """This machine, or what is below ``root`` of another."""

    root: Path = Path("/")
    call: Run = run

    def mounts(self) -> list[Mounted]:
        """In the order in which they were made: of two with one mount point the later one is seen."""
        text = self.text("/proc/self/mountinfo")
        return [found for line in text.splitlines() if (found := _mounted(line)) is not None]

    def mount_of(self, path: str) -> Mounted | None:
        """The file system ``path`` is, or would be, on. None: the machine does not tell of its mounts."""
        best: Mounted | None = None
        for one in self.mounts():
            holds = path == one.point or path.startswith(one.point.rstrip("/") + "/")
            if holds and (best is None or len(one.point) >= len(best.point)):
                best = one
        return best

    def owned(self, path: str) -> Owned | None:
        """Of what is there, not following a link; None: there is nothing. Not for mounts, which may not answer. Raises
        OSError."""
        place = self.root / path.lstrip("/")
        try:
            found = place.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        directory = stat.S_ISDIR(found.st_mode)
        empty = not directory or _empty(place)
        return Owned(found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode), directory, empty)

    def answer_of(self, path: str) -> Owned:
        """Who owns the root of a mount, asked by a process of its own: what hangs, hangs that. Raises Silent."""
        answer = self._asked(["timeout", "-s", "KILL", PATIENCE, "stat", "-c", "%u %g %a", path])
        found = re.match(r"(\d+) (\d+) ([0-7]+)\n", answer.out)
        if answer.status or found is None:
            raise Silent(answer.error.strip() or f"{path} does not answer within {PATIENCE} seconds")
        return Owned(int(found[1]), int(found[2]), int(found[3], 8))

    def beneath(self, path: str) -> Owned | None:
        """What is under a mount: seen from a mount namespace of its own, where it is taken away; nobody else notices.
        None: that cannot be seen (it takes root)."""
        look = 'umount --lazy -- "$1" && stat -c "%u %g %a" -- "$1" && ls -A -- "$1"'
        answer = self._asked(["unshare", "--mount", "--", "sh", "-c", look, "sh", path])
        found = re.match(r"(\d+) (\d+) ([0-7]+)\n", answer.out)
        if answer.status or found is None:
            return None
        return Owned(int(found[1]), int(found[2]), int(found[3], 8), empty=not answer.out[found.end() :].strip())

    def user(self, name: str) -> tuple[int, int] | None:
        """Number and group of a user, by name or number; None: there is no such user."""
        line = self._entry("passwd", name)
        return (int(line[2]), int(line[3])) if len(line) > 3 else None

    def group(self, name: str) -> int | None:
        """Number of a group."""
        line = self._entry("group", name)
        return int(line[2]) if len(line) > 2 else None

    def unit(self, name: str, properties: Sequence[str]) -> dict[str, str]:
        """Properties of a systemd unit; {}: no systemd, or no such unit."""
        answer = self._asked(["systemctl", "show", name, "--property", ",".join(("LoadState", *properties))])
        pairs = (line.partition("=") for line in answer.out.splitlines())
        found = {key: value for key, _, value in pairs}
        return found if found.get("LoadState") == "loaded" else {}

    def kernel(self) -> tuple[int, int] | None:
        """Its version, as in (6, 12)."""
        found = re.match(r"(\d+)\.(\d+)", self.text("/proc/sys/kernel/osrelease"))
        return (int(found[1]), int(found[2])) if found else None

    def there(self, path: str) -> bool:
        return (self.root / path.lstrip("/")).exists()

    def text(self, path: str) -> str:
        """Of a file; "" if it cannot be read."""
        try:
            return (self.root / path.lstrip("/")).read_text(errors="surrogateescape")
        except OSError:
            return ""

    def _entry(self, database: str, name: str) -> list[str]:
        for line in self.text(f"/etc/{database}").splitlines():
            words = line.split(":")
            if name in (words[0], *words[2:3]):
                return words
        return self._asked(["getent", database, name]).out.strip().split(":")

    def _asked(self, command: Sequence[str]) -> Answer:
        try:
            return self.call(command)
        except Unrunnable as error:
            return Answer("", str(error), 1)


def _empty(place: Path) -> bool:
    with os.scandir(place) as entries:
        return next(entries, None) is None


def _mounted(line: str) -> Mounted | None:
    words = line.split(" ")
    if "-" not in words or len(words) < 10:
        return None
    at = words.index("-", 6)
    options = frozenset(words[5].split(",")) | frozenset(words[-1].split(","))
    return Mounted(_unescaped(words[4]), words[at + 1], _unescaped(words[at + 2]), options)


def _unescaped(text: str) -> str:
    """Space, tab, newline and backslash are written in octal."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
