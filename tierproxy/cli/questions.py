"""Questions to whoever sits at the terminal; a script says ``--yes``. And what was typed wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from tierproxy.desk.wishes import WrongWish


def interactive() -> bool:
    """Somebody can answer."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def agreed(yes: bool, question: str) -> None:
    """Go on, or end the command with nothing done: "no" is exit code 1; nobody to ask is wrong usage."""
    if yes:
        return
    if not interactive():
        raise typer.BadParameter("nobody can be asked here: say --yes")
    typer.confirm(question, abort=True, err=True)


@contextmanager
def usage() -> Iterator[None]:
    """What contradicts itself, or names what is not there, was typed wrong."""
    try:
        yield
    except WrongWish as error:
        raise typer.BadParameter(str(error), param_hint=error.where or None) from error
