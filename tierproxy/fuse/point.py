"""The directory a file system is mounted on.

Without the mount it must take nothing in: whoever finds it empty and may write there believes that all files are gone.
"""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from pathlib import Path

from tierproxy.errors import ConfigError
from tierproxy.fuse.mounting import mounted, unmount

MODE = 0o755
ANSWER = 5.0  #: seconds in which a mount that lives answers stat(2)
STAT = "stat"  #: coreutils; a process of its own can be left behind where the answer never comes


class BadPoint(ConfigError):
    """The mount point cannot be used as it is."""


class AlreadyMounted(ConfigError):
    """Something is mounted there, and it is not a dead mount of ours."""


def clear(point: Path, kind: str) -> int:
    """Take away dead mounts of type ``kind`` (their process is gone). Returns how many. Blocking.

    Raises AlreadyMounted: something lives there, or is somebody else's."""
    gone = 0
    while stack := mounted(point):
        top = stack[-1]
        if top.kind != kind:
            raise AlreadyMounted(
                f"{top.source} ({top.kind}) is mounted at {point}",
                hint=f"umount {point}, or choose another mount point",
            )
        if not dead(point):
            raise AlreadyMounted(
                f"{top.source} is mounted at {point} already",
                hint=f"stop the process that serves it, or: umount {point}; if it hangs: umount -f -l {point}",
            )
        unmount(point, lazily=True, force=os.geteuid() == 0)
        gone += 1
    return gone


def dead(point: Path) -> bool:
    """Whether the process of what is mounted there is gone: the kernel answers ENOTCONN by itself. A mount that does
    not answer at all is not dead: its process may go on. Blocking, up to ``ANSWER``."""
    try:
        done = subprocess.run(  # noqa: S603 -- a fixed program, arguments without a shell
            [STAT, "--file-system", "--", str(point)], env={"PATH": os.defpath, "LC_ALL": "C"}, capture_output=True,
            text=True, timeout=ANSWER, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False
    return os.strerror(errno.ENOTCONN) in done.stderr


def examine(point: Path, uid: int, gid: int) -> None:
    """Raises BadPoint unless ``point`` (with nothing mounted) is an empty directory of root, mode 0755, which ``uid``
    can neither write to nor replace."""
    try:
        found = point.lstat()
    except OSError as error:
        raise BadPoint(f"the mount point {point}: {error.strerror}", hint=_making(point)) from error
    if not stat.S_ISDIR(found.st_mode):
        raise BadPoint(f"the mount point {point} is not a directory", hint=f"rm {point}; {_making(point)}")
    if found.st_uid != 0 or stat.S_IMODE(found.st_mode) != MODE:
        raise BadPoint(
            f"the mount point {point} belongs to {found.st_uid} with mode {stat.S_IMODE(found.st_mode):04o}",
            hint=f"without the mount nobody may write there: chown root:root {point}; chmod 0755 {point}",
        )
    if any(point.iterdir()):
        raise BadPoint(
            f"the mount point {point} is not empty",
            hint="move what is there away; it was written while nothing was mounted, and would be hidden by the mount",
        )
    for parent in point.parents if uid else ():
        _unwritable(parent, uid, gid)


def _making(point: Path) -> str:
    return f"install -d -o root -g root -m 0755 {point}"


def _unwritable(parent: Path, uid: int, gid: int) -> None:
    """A sticky directory is fine: what is root's stays there."""
    found = parent.stat()
    mode = found.st_mode
    group = found.st_gid == gid and mode & stat.S_IWGRP
    if found.st_uid == uid or ((group or mode & stat.S_IWOTH) and not mode & stat.S_ISVTX):
        raise BadPoint(
            f"user {uid} may write to {parent}, and so replace the mount point",
            hint=f"chown root:root {parent}; chmod 0755 {parent}; or mount elsewhere",
        )
