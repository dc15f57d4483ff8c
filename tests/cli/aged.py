"""A data directory with mails of different ages and reads, as a node made it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from tests.cli.live import live_node
from tierproxy.alt.memory import MemoryAlt
from tierproxy.catalogue import open_reader
from tierproxy.cli.client import Door, ObjectClient
from tierproxy.cli.demo.home import BUCKET
from tierproxy.cli.program import app
from tierproxy.clock import SystemClock
from tierproxy.config.sections import PurgeSection
from tierproxy.config.values import Duration
from tierproxy.model import ObjectName

DAY = 86_400
RULES = """\
[[rule]]
name = "new mail stays"
when = { age = "< 14d" }
then = "keep"

[[rule]]
name = "read often"
when = { reads = ">= 3 in 60d" }
then = "keep"

[[rule]]
name = "large and idle"
when = { size = ">= 100KiB", idle = "> 2d" }
then = "purge"

[[rule]]
name = "read once, long ago"
when = { reads = "<= 1", idle = "> 30d" }
then = "purge"
"""
SIZES = {"small": 2_000, "large": 150_000}
INBOX = "/mailboxes/INBOX/dbox-Mails/u."
MAILS = {
    # mail: days ago written, size, reads at once
    "alice:old-unread": (50, "small", 0),
    "alice:old-read-once": (50, "small", 1),
    "alice:old-read-often": (50, "small", 4),
    "alice:old-read-twice": (50, "small", 2),
    "bob:old-large": (50, "large", 2),
    "bob:new": (1, "small", 1),
    "bob:new-large": (1, "large", 0),
}
GO = {"alice:old-unread", "alice:old-read-once", "bob:old-large"}
"""What the rules purge of these."""


class Past(SystemClock):
    """The machine's clock some days ago."""

    def __init__(self, days: float) -> None:
        self._seconds = days * DAY

    def now(self) -> float:
        return super().now() - self._seconds


def purge_section(rules: Path, **others: Any) -> PurgeSection:
    return PurgeSection(rules=str(rules), watch=Duration(0.1), **others)


def run(*arguments: str | Path) -> Result:
    """A command in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def answer(*arguments: str | Path) -> Any:
    """The JSON of a command that does well."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def name(mail: str) -> ObjectName:
    return ObjectName(BUCKET, mail.replace(":", INBOX))


def on_disk(file: Path) -> set[str]:
    """Which of the mails have a blob."""
    with open_reader(file.parent / "data") as catalogue:
        entries = {mail: catalogue.find(name(mail)) for mail in MAILS}
    return {mail for mail, entry in entries.items() if entry is not None and entry.blob is not None}


def populated(directory: Path, alt: MemoryAlt, mails: Mapping[str, tuple[int, str, int]] | None = None) -> Path:
    """Run a node once for each age and write and read as it says; returns the configuration file. The rule file is
    ``rules.toml`` in the directory, and no node has worked by it yet."""
    directory.mkdir(exist_ok=True)
    rules = directory / "rules.toml"
    chosen = MAILS if mails is None else mails
    file = directory / "tierproxy.toml"
    for days in sorted({days for days, _, _ in chosen.values()}, reverse=True):
        rules.unlink(missing_ok=True)
        clock = Past(days)
        with live_node(directory, alt, clock=clock, sections={"purge": purge_section(rules)}) as running:
            with ObjectClient(Door.of(running.config), clock=clock) as client:
                for key, (age, size, reads) in chosen.items():
                    if age == days:
                        _write_and_read(client, key, SIZES[size], reads)
            file = running.file
    rules.write_text(RULES)
    return file


def _write_and_read(client: ObjectClient, key: str, size: int, reads: int) -> None:
    client.put(name(key), key.encode().ljust(size, b"."), size)
    for _ in range(reads):
        client.read(name(key))
