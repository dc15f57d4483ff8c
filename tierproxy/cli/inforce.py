"""``tierproxy.desk.inforce`` for commands: at this moment, with warnings on stderr."""

from __future__ import annotations

from pathlib import Path

from tierproxy.catalogue import CatalogueReader
from tierproxy.cli.outcome import warn
from tierproxy.clock import SystemClock
from tierproxy.config.sections import Config
from tierproxy.desk import inforce as desk
from tierproxy.desk.inforce import (
    LIVE,
    SHADOW,
    Source,
    needed_file,
    node_runs,
    of_version,
    rule_file,
    stands,
)
from tierproxy.rules.lint import Finding

__all__ = [
    "LIVE", "SHADOW", "Source", "accepted", "in_force", "needed_file", "node_runs", "of_version", "rule_file",
    "stands",
]  # fmt: skip


def accepted(config: Config, file: Path) -> tuple[Source, list[Finding]]:
    """As the desk's, now."""
    return desk.accepted(config, file, SystemClock().now())


def in_force(config: Config, catalogue: CatalogueReader, kind: str = LIVE) -> Source:
    """As the desk's, now; its warnings are printed."""
    found = desk.in_force(config, catalogue, SystemClock().now(), kind)
    for text in found.warnings:
        warn(text)
    return found
