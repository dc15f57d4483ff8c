"""A process that root has started goes on as another user, and cannot come back.

Sources: credentials(7), capabilities(7), prctl(2), setuid(2).
"""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tierproxy.errors import ConfigError

ROOT = 0
PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38
SETS = {b"CapPrm", b"CapEff", b"CapAmb"}
"""Capabilities that count. Inheritable ones are of no use without a file that has them, too, and no_new_privs leaves
those without effect."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the process is to be. ``groups``: besides ``gid``."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]

    @classmethod
    def of(cls, user: str, group: str = "") -> Identity:
        """``user`` and ``group`` by name or number; without ``group`` the user's own, with all that the user is in.
        Raises ConfigError."""
        hint = "see [node] user and group"
        try:
            found = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
        except (KeyError, OverflowError):
            raise ConfigError(f"there is no user {user!r}", hint=hint) from None
        try:
            gid = found.pw_gid if not group else int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
        except KeyError:
            raise ConfigError(f"there is no group {group!r}", hint=hint) from None
        if found.pw_uid == ROOT:
            raise ConfigError("root is no user to go on as", hint="name one that owns nothing but the data directory")
        return cls(found.pw_name, found.pw_uid, gid, tuple(os.getgrouplist(found.pw_name, gid)))

    @property
    def is_ours(self) -> bool:
        """The process has it already."""
        return os.getuid() == os.geteuid() == self.uid

    def become(self) -> None:
        """Once, before any thread is started. Raises ConfigError when the process may not, or could come back."""
        if self.is_ours:
            return
        if os.geteuid() != ROOT:
            raise ConfigError(
                f"only root can go on as {self.name}", hint=f"start as root or as {self.name}, or take [node] user away"
            )
        os.setgroups(self.groups)
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)
        _no_way_back()
        for code in (os.__file__, __file__):
            if not os.access(code, os.R_OK):
                raise ConfigError(
                    f"{self.name} cannot read the program's own files ({code})",
                    hint="install it where everybody may read it, as below /opt: not in a home directory",
                )
        if not _confined(self):
            raise ConfigError(f"the process could become root again after it went on as {self.name}")


def take_over(data: Path, identity: Identity) -> None:
    """As root: the data directory ``data`` is there, and is ``identity``'s. Raises ConfigError when it is another
    user's: what is in it would be, too."""
    try:
        if not data.exists():
            data.parent.mkdir(parents=True, exist_ok=True)
            data.mkdir(mode=0o700)
            os.chown(data, identity.uid, identity.gid, follow_symlinks=False)
        owner = data.stat().st_uid
    except OSError as error:
        raise ConfigError(f"cannot use {data}: {error.strerror}", hint="see [node] data_dir") from error
    if owner != identity.uid:
        raise ConfigError(
            f"the data directory {data} belongs to user {owner} and not to {identity.name}",
            hint=f"if it is the node's: chown -R {identity.name}: {data}",
        )


def _no_way_back() -> None:
    """No program that this process starts gets more rights than it has (setuid bits, file capabilities). The kernel has
    made /proc/self root's with the change of user; what reads it (metrics of the process) needs it as it was."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise ConfigError(f"prctl: {os.strerror(ctypes.get_errno())}")
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)


def _confined(identity: Identity) -> bool:
    """Every way to be root again is closed: tried, not believed."""
    attempts: tuple[Callable[[], None], ...] = (
        lambda: os.seteuid(ROOT), lambda: os.setresuid(-1, ROOT, -1), lambda: os.setgroups([ROOT]),
    )  # fmt: skip
    for attempt in attempts:
        with suppress(PermissionError):
            attempt()
            return False
    status = Path("/proc/self/status").read_bytes().splitlines()
    held = [int(value, 16) for name, _, value in (line.partition(b":\t") for line in status) if name in SETS]
    ours = os.getresuid() == (identity.uid,) * 3 and os.getresgid() == (identity.gid,) * 3
    return ours and len(held) == len(SETS) and not any(held)
