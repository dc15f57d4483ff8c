"""All commands under one name."""

from __future__ import annotations

import importlib.metadata
from typing import Annotated

import typer

from tierproxy.cli import (
    catalogue,
    check,
    config,
    demo,
    explain,
    history,
    objects,
    pins,
    purge,
    queue,
    rules,
    serve,
    stats,
    warm,
)
from tierproxy.cli.outcome import EPILOG, Group

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog=EPILOG,
    help="An S3 object proxy with a local disk tier in front of S3.",
)
app.command(rich_help_panel="The node")(serve.serve)
app.command(rich_help_panel="The node")(demo.demo)
app.command(rich_help_panel="Data directory")(check.check)
app.add_typer(queue.commands, name="queue", rich_help_panel="Data directory")
app.add_typer(catalogue.commands, name="catalogue", rich_help_panel="Data directory")
app.add_typer(config.commands, name="config", rich_help_panel="The node")
app.add_typer(rules.commands, name="rules", rich_help_panel="Reads and purges")
for command in (stats.stats, explain.explain, purge.purge, purge.runs, pins.pin, pins.unpin, warm.warm):
    app.command(rich_help_panel="Reads and purges")(command)
app.add_typer(history.commands, name="history", rich_help_panel="Reads and purges")
objects.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tierproxy {importlib.metadata.version('tierproxy')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Nothing of its own: --version is eager."""
