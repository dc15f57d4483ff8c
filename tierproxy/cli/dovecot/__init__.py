"""``tierproxy dovecot``: set up Dovecot for a mount, and check every trap."""

from __future__ import annotations

import typer

from tierproxy.cli.dovecot.checkup import check
from tierproxy.cli.dovecot.installing import setup
from tierproxy.cli.outcome import Group

commands = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Dovecot on a mount: configure it, check every trap.",
)
commands.command("setup")(setup)
commands.command("check")(check)
