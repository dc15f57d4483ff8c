"""Putting a rule file in force: the version first, then the file, then the node takes it up."""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tierproxy.catalogue import open_outside, open_reader
from tierproxy.cli.inforce import node_runs
from tierproxy.disk.fsio import Files
from tierproxy.errors import ConfigError, DiskError
from tierproxy.ports import Clock
from tierproxy.purges import Version

PATIENCE = 10.0  #: seconds; [purge] watch is added
LOOK = 0.1  #: seconds between looks for the node's answer
READABLE = 0o644  #: of a new file: the node may be another user, and rules are no secret


@dataclass(frozen=True, slots=True)
class Applied:
    """``live``: the node works by it. ``node``: one runs (or something else owns the data directory)."""

    version: Version
    node: bool
    live: bool


async def apply(
    data: Path, target: Path, version: Version, clock: Clock, files: Files, *, watch: float = 0.0
) -> Applied:
    """Record ``version``, write its text to ``target``, wait for the node, which looks every ``watch`` seconds. Raises
    ConfigError, DiskError; until the file is replaced nothing has changed for a node."""
    recorded: list[Version] = []

    def record() -> None:
        with open_outside(data) as outside:
            recorded.append(outside.add_version(version))

    replace_file(target, version.text, files, before=record)
    return await _taken_up(data, recorded[0], clock, watch + PATIENCE)


async def _taken_up(data: Path, version: Version, clock: Clock, patience: float) -> Applied:
    if not node_runs(data):
        return Applied(version, node=False, live=False)
    until = clock.monotonic() + patience
    with open_reader(data) as catalogue:
        while clock.monotonic() < until:
            found = catalogue.version(version.number)
            if found is not None and found.live_at is not None:
                return Applied(found, node=True, live=True)
            await clock.sleep(LOOK)
    return Applied(version, node=True, live=False)


def replace_file(target: Path, text: str, files: Files, before: Callable[[], None]) -> None:
    """``target`` has ``text``, all of it and durably, or what it had. Permissions and owner are kept; a link goes on
    pointing to its file. ``before`` is called when nothing but the rename is left to do. Raises ConfigError."""
    target = target.resolve()
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        fd = files.create(partial)
        try:
            _like(target, fd)
            files.write_at(fd, text.encode(), 0)
            files.fsync(fd)
        finally:
            os.close(fd)
        before()
        files.rename(partial, target)
        files.fsync_dir(target.parent)
    except DiskError as error:
        raise ConfigError(f"cannot write {target}: {error}", hint="may this user write there?") from error
    finally:
        partial.unlink(missing_ok=True)


def _like(target: Path, fd: int) -> None:
    """Permissions and, where this user may do that, owner and group of the file there was."""
    try:
        old = target.stat()
    except FileNotFoundError:
        os.fchmod(fd, READABLE)
        return
    with contextlib.suppress(PermissionError):
        os.fchown(fd, old.st_uid, old.st_gid)
    os.fchmod(fd, old.st_mode & 0o7777)


def author() -> str:
    """Who types: the name of this process' user."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
