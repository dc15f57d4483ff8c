"""``tierproxy config``: what is the configuration, and is it right?"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from tierproxy.cli.outcome import Group, out
from tierproxy.cli.settings import AsJson, ConfigFile, configuration, print_json
from tierproxy.config.describe import EXAMPLE, annotated, document, values
from tierproxy.config.schema import PREFIX
from tierproxy.mail.probes import refuse_slow

commands = typer.Typer(cls=Group, no_args_is_help=True, help="Check and explain the configuration.")


@commands.command()
def check(config: ConfigFile = None) -> None:
    """Say everything that is wrong with a configuration file, with line numbers."""
    found = configuration(config)
    refuse_slow(found.naming)
    buckets = ", ".join(bucket.name for bucket in found.bucket) or "dynamic ones"
    keys = f"{len(found.key)} key{'' if len(found.key) == 1 else 's'}"
    out().print(f"the configuration is good: buckets {buckets}; {keys}; data in {found.node.data_dir}", markup=False)


@commands.command()
def describe(
    config: ConfigFile = None,
    example: Annotated[bool, typer.Option("--example", help="A complete file to start from.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="The documentation of all options.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the configuration in force, every option explained; secrets are masked.

    Without --config, and with nothing set in the environment, prints the file to start from.
    """
    if markdown:
        sys.stdout.write(document())
        return
    nothing = config is None and not any(name.startswith(PREFIX) for name in os.environ)
    found = EXAMPLE if example or nothing else configuration(config)
    if as_json:
        print_json(values(found))
    else:
        sys.stdout.write(annotated(found))
