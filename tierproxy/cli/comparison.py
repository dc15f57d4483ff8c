"""``tierproxy rules compare``: the shadow rules beside the live ones."""

from __future__ import annotations

from typing import Annotated

import typer

from tierproxy.cli.held import removed_table
from tierproxy.cli.node import far, near
from tierproxy.cli.outcome import warn
from tierproxy.cli.settings import AsJson, ConfigFile, configuration, print_json
from tierproxy.cli.tables import console, filled, table
from tierproxy.cli.words import bytes_text, count_text, moment, share_text
from tierproxy.clock import SystemClock
from tierproxy.config.sections import Config
from tierproxy.desk import rules as desk
from tierproxy.traffic import DAY
from tierproxy.wire.rules import Comparison


def compare(
    days: Annotated[int, typer.Option(min=1, max=3650, help="Compare what was counted in these days.")] = 7,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """The shadow rules beside the live ones over the last week: disk, misses, purges and regrets."""
    now = SystemClock().now()
    found = _compared(configuration(config), now, days)
    if as_json:
        print_json(found)
        return
    if now - found.since < days * DAY:
        warn(f"the shadow began {moment(found.since)}: less than {count_text(days, 'day')} are compared")
    _show(found)


def _compared(config: Config, now: float, days: int) -> Comparison:
    node = far(config)
    if node is not None:
        return node.get(Comparison, "/rules/compare", days=days)
    return near(config, lambda catalogue: desk.comparison(catalogue, now, days))


def _show(found: Comparison) -> None:
    screen = console()
    made = table([f"last {count_text(found.days, 'day')}"], ["live", "shadow"])
    kinds = found.live, found.shadow
    lines = [
        ["objects on disk", count_text(found.live_objects), count_text(found.shadow_objects)],
        ["bytes on disk", bytes_text(found.live_bytes), bytes_text(found.shadow_bytes)],
        ["reads that missed", *(_missed(misses, found) for misses in (found.live_misses, found.shadow_misses))],
        ["purged", *(count_text(sum(one.objects for one in kind)) for kind in kinds)],
        ["purged bytes", *(bytes_text(sum(one.bytes for one in kind)) for kind in kinds)],
        ["regrets", *(count_text(sum(one.regrets for one in kind)) for kind in kinds)],
    ]
    screen.print(filled(made, lines))
    screen.print(f"{count_text(found.reads, 'read')} were compared")
    screen.print(removed_table(found.live, "Live rules:"))
    screen.print(removed_table(found.shadow, "Shadow rules:"))


def _missed(misses: int, found: Comparison) -> str:
    return f"{count_text(misses)} ({share_text(misses, found.reads)})"
