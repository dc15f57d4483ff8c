"""Which Dovecot is installed. 2.3 and 2.4 name their settings differently; others are not known to work.

Sources: Dovecot 2.3 and 2.4 manuals, "Mail location" and "Upgrading from 2.3 to 2.4".
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tierproxy.dovecot.commands import Answer, Run, run
from tierproxy.errors import TierproxyError

__all__ = ["SBIN", "Answer", "Dovecot", "NoDovecot", "Run", "Series", "Version", "find", "run", "version_of"]

SBIN = "/usr/sbin:/usr/local/sbin:/sbin"  #: where Debian keeps dovecot; not in every user's PATH


class NoDovecot(TierproxyError):
    """No Dovecot that tierproxy knows."""

    hint = "apt-get install dovecot-core dovecot-imapd dovecot-lmtpd, or say which one with --dovecot-version"


class Series(StrEnum):
    """What decides the names of settings."""

    V23 = "2.3"
    V24 = "2.4"


@dataclass(frozen=True, slots=True)
class Version:
    """``text`` as Dovecot says it, such as "2.3.19.1"."""

    series: Series
    text: str

    @property
    def numbers(self) -> tuple[int, ...]:
        """To compare: (2, 3, 19, 1)."""
        return tuple(int(word) for word in self.text.split(".") if word)

    def __str__(self) -> str:
        return self.text


def version_of(text: str) -> Version:
    """From the answer of ``dovecot --version``, as in "2.3.19.1 (9b53102964)" and "2.4.1-4 (7d8c0bc7f1)", or from a
    number a user gives. Raises NoDovecot."""
    found = re.match(r"\s*((\d+\.\d+)(?:[.\d]*))", text)
    if found is None:
        raise NoDovecot(f"this is no version of Dovecot: {text.strip()[:80]!r}")
    if found[2] not in set(Series):
        raise NoDovecot(f"Dovecot {found[1]} is neither 2.3 nor 2.4", hint="tierproxy is tested with 2.3.19 and 2.4.1")
    return Version(Series(found[2]), found[1])


@dataclass(frozen=True, slots=True)
class Dovecot:
    """The programs of an installed Dovecot. ``config``: its configuration file, "" for the one it was built with."""

    version: Version
    doveconf: str
    config: str = ""

    def configuration(self, call: Run = run) -> Answer:
        """Every setting and its value (``doveconf -a``), or why it cannot be read."""
        return call([self.doveconf, *(["-c", self.config] if self.config else []), "-a"])


def find(config: str = "", call: Run = run, which: Callable[[str], str | None] | None = None) -> Dovecot:
    """The installed one. ``which``: from a program's name to its path. Raises NoDovecot."""
    look = which or _which
    server, doveconf = look("dovecot"), look("doveconf")
    if server is None or doveconf is None:
        raise NoDovecot("Dovecot is not installed: no dovecot and doveconf in PATH or /usr/sbin")
    return Dovecot(version_of(call([server, "--version"]).out), doveconf, str(Path(config)) if config else "")


def _which(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path=SBIN)
