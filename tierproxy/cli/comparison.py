"""``tierproxy rules compare``: the shadow rules beside the live ones."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from tierproxy.catalogue import open_reader
from tierproxy.cli.outcome import warn
from tierproxy.cli.settings import AsJson, ConfigFile, configuration, data_directory, print_json
from tierproxy.cli.stats import removed_table
from tierproxy.cli.tables import console, filled, table
from tierproxy.cli.words import bytes_text, count_text, moment, share_text
from tierproxy.clock import SystemClock
from tierproxy.errors import ConfigError
from tierproxy.purges import ShadowRecord
from tierproxy.traffic import DAY


def compare(
    days: Annotated[int, typer.Option(min=1, max=3650, help="Compare what was counted in these days.")] = 7,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """The shadow rules beside the live ones over the last week: disk, misses, purges and regrets."""
    now = SystemClock().now()
    with open_reader(data_directory(configuration(config))) as catalogue:
        record = catalogue.shadow(int(now // DAY) - days)
    if record is None:
        raise ConfigError("there is no shadow", hint="set [purge] shadow to a rule file; the node begins one")
    if as_json:
        print_json(_compared(record) | {"days": days})
        return
    if now - record.since < days * DAY:
        warn(f"the shadow began {moment(record.since)}: less than {count_text(days, 'day')} are compared")
    _show_comparison(record, days)


def _compared(record: ShadowRecord) -> dict[str, Any]:
    document = asdict(record)
    for kind in ("live", "shadow"):
        document[kind] = list(document[kind].values())
    return document


def _show_comparison(record: ShadowRecord, days: int) -> None:
    screen = console()
    made = table([f"last {count_text(days, 'day')}"], ["live", "shadow"])
    live, shadow = record.live.values(), record.shadow.values()
    lines = [
        ["objects on disk", count_text(record.live_objects), count_text(record.shadow_objects)],
        ["bytes on disk", bytes_text(record.live_bytes), bytes_text(record.shadow_bytes)],
        ["reads that missed", *(_missed(misses, record) for misses in (record.live_misses, record.shadow_misses))],
        ["purged", *(count_text(sum(one.objects for one in kind)) for kind in (live, shadow))],
        ["purged bytes", *(bytes_text(sum(one.bytes for one in kind)) for kind in (live, shadow))],
        ["regrets", *(count_text(sum(one.regrets for one in kind)) for kind in (live, shadow))],
    ]
    screen.print(filled(made, lines))
    screen.print(f"{count_text(record.reads, 'read')} were compared")
    screen.print(removed_table(live, "Live rules:"))
    screen.print(removed_table(shadow, "Shadow rules:"))


def _missed(misses: int, record: ShadowRecord) -> str:
    return f"{count_text(misses)} ({share_text(misses, record.reads)})"
