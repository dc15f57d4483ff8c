"""The rule file replaced: all of it and durably, or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from tierproxy.errors import ConfigError, DiskError
from tierproxy.ports import FileCalls

READABLE = 0o644  #: of a new file: the node may be another user, and rules are no secret
HINT = "may this user write there?"


class Replacement:
    """A new text for ``target``: ``prepare``, then ``commit`` or ``discard``. Blocking. Until ``commit`` nothing has
    changed for anybody. Permissions and owner are kept; a link goes on pointing to its file. Raises ConfigError."""

    def __init__(self, target: Path, text: str, files: FileCalls) -> None:
        self._target = target.resolve()
        self._partial = self._target.with_name(f".{self._target.name}.{secrets.token_hex(4)}.partial")
        self._text = text
        self._files = files

    def prepare(self) -> None:
        """Everything but the rename."""
        try:
            fd = self._files.create(self._partial)
            try:
                _like(self._target, fd)
                self._files.write_at(fd, self._text.encode(), 0)
                self._files.fsync(fd)
            finally:
                os.close(fd)
        except DiskError as error:
            self.discard()
            raise self._refusal(error) from error

    def commit(self) -> None:
        try:
            self._files.rename(self._partial, self._target)
            self._files.fsync_dir(self._target.parent)
        except DiskError as error:
            self.discard()
            raise self._refusal(error) from error

    def discard(self) -> None:
        """Never raises; nothing to do after ``commit``."""
        with contextlib.suppress(DiskError):
            self._files.unlink(self._partial)

    def _refusal(self, error: DiskError) -> ConfigError:
        return ConfigError(f"cannot write {self._target}: {error}", hint=HINT)


def replace_file(target: Path, text: str, files: FileCalls, before: Callable[[], None]) -> None:
    """``Replacement`` in one go. ``before`` is called when nothing but the rename is left to do."""
    replacement = Replacement(target, text, files)
    replacement.prepare()
    try:
        before()
    except BaseException:
        replacement.discard()
        raise
    replacement.commit()


def remove_file(target: Path, files: FileCalls) -> None:
    """Durably; one that is not there is fine. Raises ConfigError."""
    try:
        if target.is_symlink() or target.exists():
            files.unlink(target)
            files.fsync_dir(target.parent)
    except (DiskError, OSError) as error:
        raise ConfigError(f"cannot remove {target}: {error}", hint=HINT) from error


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
