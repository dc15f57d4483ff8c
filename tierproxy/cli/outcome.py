"""How a command ends: its exit code, and what it says on stderr instead of a traceback."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from enum import IntEnum
from typing import Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from typer.core import TyperGroup

from tierproxy.errors import (
    AltError,
    Busy,
    ConfigError,
    DataDirectoryInUse,
    DiskUnavailable,
    NoSuchBucket,
    NoSuchKey,
    NoSuchUpload,
    ShuttingDown,
    TierproxyError,
)


class ExitCode(IntEnum):
    """What a script can tell from the exit status; ``docs/operations.md`` has the same table."""

    OK = 0
    FAILED = 1
    USAGE = 2
    CONFIG = 3
    UNAVAILABLE = 4
    IN_USE = 5
    NOT_FOUND = 6


MEANINGS = {
    ExitCode.OK: "done",
    ExitCode.FAILED: "failed, or differences were found",
    ExitCode.USAGE: "wrong usage",
    ExitCode.CONFIG: "the configuration cannot be used",
    ExitCode.UNAVAILABLE: "the proxy, the disk or the alt tier cannot be reached; try again",
    ExitCode.IN_USE: "another process owns the data directory",
    ExitCode.NOT_FOUND: "no such object or bucket",
}

_CODES: tuple[tuple[type[TierproxyError], ExitCode], ...] = (
    (DataDirectoryInUse, ExitCode.IN_USE),
    (ConfigError, ExitCode.CONFIG),
    (NoSuchKey, ExitCode.NOT_FOUND),
    (NoSuchBucket, ExitCode.NOT_FOUND),
    (NoSuchUpload, ExitCode.NOT_FOUND),
    (AltError, ExitCode.UNAVAILABLE),
    (DiskUnavailable, ExitCode.UNAVAILABLE),
    (Busy, ExitCode.UNAVAILABLE),
    (ShuttingDown, ExitCode.UNAVAILABLE),
)

EPILOG = "Exit codes: " + "; ".join(f"{code.value} {meaning}" for code, meaning in MEANINGS.items()) + "."


CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""What a terminal obeys instead of showing it, the end of a line and the tab excepted; and what turns text around."""


def code_of(error: TierproxyError) -> ExitCode:
    """The exit code of an error: the first class that fits, most special first."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.FAILED)


class Terminal(Console):
    """A console on which names are only shown. Keys, owners and errors of servers are written by strangers: with an
    escape sequence in one a terminal would change its title, its colours, or what is above. Into a pipe or a file they
    go as they are."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if self.is_terminal and not segment.control and CONTROLS.search(segment.text):
                yield Segment(CONTROLS.sub(_shown, segment.text), segment.style)
            else:
                yield segment


def shown(text: str) -> str:
    """``text`` as it may be written to stdout: the same for lines without a console, which are faster."""
    return CONTROLS.sub(_shown, text) if sys.stdout.isatty() else text


def _shown(found: re.Match[str]) -> str:
    return repr(found[0])[1:-1]


def out() -> Console:
    """For results."""
    return Terminal(soft_wrap=True, highlight=False)


def err() -> Console:
    """For everything that is not the result: progress, warnings, errors."""
    return Terminal(stderr=True, soft_wrap=True, highlight=False)


def warn(text: str) -> None:
    err().print(f"warning: {text}", style="yellow", markup=False)


def complain(error: TierproxyError) -> None:
    """``error: ...`` and, if there is one, ``hint: ...``."""
    console = err()
    console.print(f"error: {error}", style="red", markup=False)
    if error.hint:
        console.print(f"hint: {error.hint}", markup=False)


class Group(TyperGroup):
    """The commands, with errors of tierproxy turned into a message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except TierproxyError as error:
            complain(error)
            raise typer.Exit(code_of(error)) from error
        except BrokenPipeError:
            # The reader of our output is gone (`tierproxy ls | head`): not an error.
            _forget_output()
            raise typer.Exit(ExitCode.OK) from None


def system_failed(error: OSError) -> ExitCode:
    """What no adapter has met and given a name: most often the output cannot be written, because a disk is full."""
    _forget_output()
    where = f": {error.filename}" if error.filename else ""
    hint = "may this user use it?" if error.filename else "is there room where the output goes?"
    complain(TierproxyError(f"cannot go on: {error.strerror or error}{where}", hint=hint))
    return ExitCode.FAILED


def _forget_output() -> None:
    """What is buffered for stdout cannot be written; Python would complain at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
