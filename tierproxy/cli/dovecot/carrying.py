"""Carries out the plan of an installation: everything is decided before anything is changed."""

from __future__ import annotations

import os
import secrets
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tierproxy.disk.fsio import Files
from tierproxy.dovecot.commands import Run
from tierproxy.dovecot.host import Host
from tierproxy.dovecot.installation import Command, Directory, File, Secret, Step
from tierproxy.dovecot.installation.texts import unchanged
from tierproxy.errors import ConfigError

SECRET_BYTES = 32
Act = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Deed:
    """What is done for a step, in words. ``act`` None: nothing."""

    said: str
    act: Act | None = None


class Carrier:
    """Does steps below ``host.root``; commands only where that is the machine itself. ``force``: replace what is not of
    the setup's making, too."""

    def __init__(self, host: Host, files: Files, run: Run, *, force: bool = False) -> None:
        self._host = host
        self._files = files
        self._run = run
        self._force = force
        self._refusals: list[str] = []

    def decided(self, steps: Iterable[Step]) -> list[Deed]:
        """What will be done. Raises ConfigError with everything that is in the way; nothing was changed then."""
        deeds = [self._decide(step) for step in steps]
        if self._refusals:
            text = "\n  ".join(["these are not of this command's making:", *self._refusals])
            raise ConfigError(text, hint="look at them, then say --force; what is replaced is kept beside it")
        return deeds

    def _decide(self, step: Step) -> Deed:
        if isinstance(step, Command):
            return self._command(step)
        if isinstance(step, Directory):
            return self._directory(step)
        return self._secret(step) if isinstance(step, Secret) else self._file(step)

    # ------------------------------------------------------------------------------------------- commands

    def _command(self, step: Command) -> Deed:
        line = shlex.join(step.words)
        if step.unless_user and self._host.user(step.unless_user) is not None:
            return Deed(f"there       user {step.unless_user}")
        if self._host.root != Path("/"):
            return Deed(f"left out    {line} (--root)")
        if step.words[0] == "systemctl" and not self._host.there("/run/systemd/system"):
            return Deed(f"left out    {line} (no systemd runs)")
        return Deed(f"run         {line}", lambda: self._call(step))

    def _call(self, step: Command) -> None:
        answer = self._run(step.words)
        if answer.status:
            raise ConfigError(f"{shlex.join(step.words)}: {answer.error.strip() or answer.status}")

    # ---------------------------------------------------------------------------------------- directories

    def _directory(self, step: Directory) -> Deed:
        mounted = self._host.mount_of(step.path) if step.point else None
        if mounted is not None and mounted.point == step.path:
            return Deed(f"mounted     {step.path}")
        found = self._host.owned(step.path)
        if found is None:
            return Deed(f"make        {step.path} ({step.owner}, {step.mode:04o})", lambda: self._make(step))
        uid, gid = self._ids(step.owner)
        if step.kept or (found.directory and (found.uid, found.gid, found.mode) == (uid, gid, step.mode)):
            return Deed(f"unchanged   {step.path}")
        if found.directory and (found.empty or self._force):
            return Deed(f"give        {step.path} to {step.owner}, {step.mode:04o}", lambda: self._own(step))
        self._refusals.append(f"{step.path} is {found} and {'not empty' if found.directory else 'no directory'}")
        return Deed("")

    def _make(self, step: Directory) -> None:
        place = self._place(step.path)
        for missing in reversed([one for one in (place, *place.parents) if not one.exists()]):
            missing.mkdir(mode=0o755)
        self._own(step)

    def _own(self, step: Directory) -> None:
        place = self._place(step.path)
        os.chown(place, *self._ids(step.owner))
        place.chmod(step.mode)

    # ---------------------------------------------------------------------------------------------- files

    def _secret(self, step: Secret) -> Deed:
        if self._place(step.path).exists():
            return Deed(f"kept        {step.path}")
        text = secrets.token_urlsafe(SECRET_BYTES) + "\n"
        return Deed(
            f"write       {step.path} (a new secret)",
            lambda: self._write(self._place(step.path), text, 0o640, (0, self._ids(step.group)[1])),
        )

    def _file(self, step: File) -> Deed:
        place = self._place(step.path)
        old = self._host.text(step.path) if place.exists() else None
        if old is not None and (step.kept or old == step.text):
            return Deed(f"{'kept       ' if step.kept else 'unchanged  '} {step.path}")
        if old is not None and not (unchanged(old) or self._force):
            self._refusals.append(f"{step.path} was written, or changed, by somebody else")
        if old is None:
            return Deed(f"write       {step.path}", lambda: self._write(place, step.text, step.mode, (0, 0)))
        backup = next(_backups(place))
        return Deed(f"replace     {step.path}; the old one is {backup}", lambda: self._replace(step, place, backup))

    def _replace(self, step: File, place: Path, backup: Path) -> None:
        self._write(backup, self._host.text(step.path), step.mode, (0, 0))
        self._write(place, step.text, step.mode, (0, 0))

    def _write(self, place: Path, text: str, mode: int, owner: tuple[int, int]) -> None:
        """Whole or not at all: under another name first, then renamed."""
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
        fd = self._files.create(draft)
        try:
            self._files.write_at(fd, text.encode(errors="surrogateescape"), 0)
            os.fchown(fd, *owner)
            os.fchmod(fd, mode)
            self._files.fsync(fd)
        except BaseException:
            self._files.unlink(draft)
            raise
        finally:
            os.close(fd)
        self._files.rename(draft, place)
        self._files.fsync_dir(place.parent)

    # ---------------------------------------------------------------------------------------------------

    def _place(self, path: str) -> Path:
        return self._host.root / path.lstrip("/")

    def _ids(self, owner: str) -> tuple[int, int]:
        """Numbers of a user that is there by now; below another root one that is not there is root."""
        if owner == "root":
            return 0, 0
        found = self._host.user(owner)
        if found is None and self._host.root == Path("/"):
            raise ConfigError(f"there is no user {owner}")
        return found or (0, 0)


def _backups(place: Path) -> Iterator[Path]:
    """Names for what is replaced; those that are taken are left alone."""
    names = (place.with_name(f"{place.name}.bak{number or ''}") for number in range(10_000))
    return (name for name in names if not name.exists())
