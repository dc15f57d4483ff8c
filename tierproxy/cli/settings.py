"""What the commands share: ``--config``, ``--json``, and a configuration loaded with its warnings shown."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import BaseModel

from tierproxy.cli.outcome import warn
from tierproxy.config.environment import CONFIG_FILE
from tierproxy.config.load import examine
from tierproxy.config.sections import Config
from tierproxy.offload import ThreadPool

T = TypeVar("T")
NICE = 15  #: of 19: a look at every row takes what the node leaves

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar=CONFIG_FILE,
        help="Configuration file; without one, defaults and the environment.",
        dir_okay=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def configuration(path: Path | None) -> Config:
    """The configuration in force. Warnings go to stderr. Raises ConfigError."""
    loaded = examine(path, os.environ)
    for text in loaded.warnings:
        warn(text)
    return loaded.config


def print_json(value: Any) -> None:
    """One JSON document (or a list of them), indented, on stdout as it is (no colours, no wrapping)."""
    sys.stdout.write(json.dumps(_plain(value), indent=2, default=str) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return [_plain(one) for one in value] if isinstance(value, list) else value


def data_directory(config: Config) -> Path:
    """Where the node of ``config`` keeps everything."""
    return Path(config.node.data_dir).expanduser()


def data_of(path: Path | None) -> Path:
    """The data directory of a configuration file. Raises ConfigError."""
    return data_directory(configuration(path))


def calmly(look: Callable[[], T], interrupt: Callable[[], None]) -> T:
    """``look`` while nobody else wants the processor: it may take seconds of one that the node beside it needs. Ctrl-C
    calls ``interrupt``, which makes it end."""

    async def looked() -> T:
        thread = ThreadPool("plans", 1, nice=NICE, last=True)
        try:
            return await thread.run(look)
        except asyncio.CancelledError:
            interrupt()
            raise
        finally:
            await thread.close()

    return asyncio.run(looked())
