"""``tierproxy demo-dovecot`` (``make demo-dovecot``): a stock Dovecot keeps its mail in S3, and what that costs."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from tierproxy.cli.demo.dovecot_host import FAILED, check_machine, directory, running
from tierproxy.cli.demo.dovecot_story import Story, logs_of, steps_table
from tierproxy.cli.outcome import ExitCode, out


def demo_dovecot(
    mails: Annotated[int, typer.Option(min=5, max=500, help="How many mails to deliver.")] = 20,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the directory with logs and data.")] = False,
) -> None:
    """Start an embedded S3 server, the proxy, its mount and a private Dovecot, and show what mail costs in S3 requests.
    Needs root, Dovecot and FUSE; everything is stopped at the end."""
    check_machine()
    with _signals(), directory(keep) as home:
        held = _play(home, mails)
        if not held:
            (home / FAILED).touch()
    if not held:
        raise typer.Exit(ExitCode.FAILED)


def _play(home: Path, mails: int) -> bool:
    """Whether every step held."""
    console = out()
    console.print("starting an S3 server (SeaweedFS), the node, its mount and Dovecot", style="dim")
    with running(home) as host:
        story = Story(host, mails)
        try:
            story.play()
        finally:
            console.print(steps_table(story.steps))
            if not story.held:
                console.print(logs_of(home), markup=False)
            console.print("stopping", style="dim")
    return story.held


@contextmanager
def _signals() -> Iterator[None]:
    """The first SIGINT or SIGTERM ends the story; what follows is cleaning up, which no other one disturbs."""

    def ended(number: int, frame: FrameType | None) -> None:
        for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(one, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {one: signal.signal(one, ended) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
