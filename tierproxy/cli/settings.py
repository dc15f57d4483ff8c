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
    """One JSON document, indented, on stdout as it is (no colours, no wrapping)."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def data_directory(config: Config) -> Path:
    """Where the node of ``config`` keeps everything."""
    return Path(config.node.data_dir).expanduser()


def calmly(look: Callable[[], T]) -> T:
    """``look`` at low priority: it may take seconds of a processor that the node beside it needs."""

    async def looked() -> T:
        thread = ThreadPool("plans", 1, nice=NICE)
        try:
            return await thread.run(look)
        finally:
            await thread.close()

    return asyncio.run(looked())
