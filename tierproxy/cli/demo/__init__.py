"""``tierproxy demo`` (``make run``): see it work, with an S3 server of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import uvloop

from tierproxy import logs
from tierproxy.cli.demo.show import Demo
from tierproxy.cli.outcome import ExitCode


def demo(
    once: Annotated[bool, typer.Option("--once", help="Stop after the table instead of serving on.")] = False,
    mails: Annotated[int, typer.Option(min=1, max=100_000, help="How many mails to deliver.")] = 300,
    data: Annotated[Path, typer.Option(help="Where everything is kept; the next run finds it again.")] = Path("var"),
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="Object port, 0 for a free one. Without it 9300, or a free one when that is taken."
        ),
    ] = None,
) -> None:
    """Start an embedded S3 server and the proxy in front of it, play mails through, show what happened, serve on."""
    logs.configure("warning", "text")
    if not uvloop.run(Demo(data, mails, port, once).run()):
        raise typer.Exit(ExitCode.FAILED)
