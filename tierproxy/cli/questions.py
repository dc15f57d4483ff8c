"""Questions to whoever sits at the terminal; a script says ``--yes``."""

from __future__ import annotations

import sys

import typer


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
