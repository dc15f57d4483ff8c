"""Commands of Dovecot and of the system, which say things no file says."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tierproxy.errors import TierproxyError

SECONDS = 20.0  #: a command may take this long


class Unrunnable(TierproxyError):
    """A command cannot be started, or does not end."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command wrote, and its exit status (0: done)."""

    out: str
    error: str = ""
    status: int = 0


Run = Callable[[Sequence[str]], Answer]


def run(command: Sequence[str]) -> Answer:
    """Blocking. Raises Unrunnable."""
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=SECONDS)  # noqa: S603  no shell
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unrunnable(f"{command[0]} does not run: {error}") from error
    return Answer(done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"), done.returncode)
