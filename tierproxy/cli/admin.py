"""``tierproxy admin``: log in at the admin port, and make what a configuration needs for accounts."""

from __future__ import annotations

import secrets
import sys
from typing import Annotated

import typer

from tierproxy.cli.node import Unreachable, far
from tierproxy.cli.outcome import Group, err, out
from tierproxy.cli.settings import ConfigFile, configuration, data_directory
from tierproxy.config.credentials import PasswordHash, token_hash
from tierproxy.errors import ConfigError
from tierproxy.wire.login import LoginCode

commands = typer.Typer(cls=Group, no_args_is_help=True, help="The admin port: log in, passwords and tokens.")

SHORTEST = 10  #: characters of a password


@commands.command()
def login(config: ConfigFile = None) -> None:
    """Print a link to the dashboard of the running node that logs you in, once and within five minutes."""
    found = configuration(config)
    node = far(found)
    if node is None:
        raise Unreachable(
            f"no node with an admin port runs on {data_directory(found)}",
            hint="start it: `tierproxy serve`, with `[admin] enabled`",
        )
    out().print(node.url + node.post(LoginCode, "/login-codes").path, markup=False)


@commands.command()
def password(
    stdin: Annotated[bool, typer.Option("--stdin", help="Read the password from standard input, one line.")] = False,
) -> None:
    """Ask for a password and print its hash, for `password` of an account or for its `password_file`."""
    if stdin:
        found = sys.stdin.readline().rstrip("\r\n")
    else:
        found = str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    if len(found) < SHORTEST:
        raise ConfigError(f"the password is short: at least {SHORTEST} characters")
    sys.stdout.write(f"{PasswordHash.of(found, secrets.token_bytes(16))}\n")


@commands.command()
def token() -> None:
    """Make a token for a program. Prints it, and its hash for `token` of an account: the token itself is kept
    nowhere else."""
    made = secrets.token_urlsafe(32)
    sys.stdout.write(f"{made}\n")
    err().print(f'in the configuration: token = "{token_hash(made)}"', markup=False)
