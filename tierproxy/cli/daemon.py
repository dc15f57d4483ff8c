"""A command that returns when its work is ready, and works on."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import typer

READY = b"+"


def detached(work: Callable[[Callable[[], None]], None], output: Path | None) -> None:
    """Run ``work`` in a process of its own, and return when it has called what it was given. From then on it has no
    terminal, and writes to ``output`` (None: nowhere). Before any thread is started. Raises typer.Exit with the exit
    code of a process that ended before; what went wrong it has said itself."""
    came, say = os.pipe()
    if child := os.fork():
        os.close(say)
        _await(child, came)
        return
    os.close(came)
    os.setsid()

    def ready() -> None:
        _let_go_of_terminal(output)
        os.write(say, READY)
        os.close(say)

    work(ready)


def _await(child: int, came: int) -> None:
    said = os.read(came, 1)
    os.close(came)
    if said != READY:
        _, status = os.waitpid(child, 0)
        raise typer.Exit(os.waitstatus_to_exitcode(status) or 1)


def _let_go_of_terminal(output: Path | None) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_RDWR)
    target = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640) if output else nowhere
    for fd, source in ((0, nowhere), (1, target), (2, target)):
        os.dup2(source, fd)
    for fd in {nowhere, target}:
        os.close(fd)
