#!/usr/bin/env python3
"""Does the simulator say what the live node does? Mail in virtual time through a whole store, then the history that the
store wrote through the simulator, by the same rules.

For each order of [pressure] a new node, with a real disk tier and catalogue and S3 in memory, plays the same generated
traffic by the example rules. Bodies, the budget and the sizes in the rules are made smaller by --scale. The table shows
the live number, and the simulated one where it is another; the last column how far the worst of them is off. Exit 0
only if hits agree within 1 % and the bytes that each reason purged within 2 %.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from served import workplace
from sixty_days import RULES, scaled

from tierproxy.config.values import parse_size
from tierproxy.history.generate import Traffic
from tierproxy.history.trace import load
from tierproxy.history.traffic_model import model_for
from tierproxy.model import ObjectName
from tierproxy.rules.language import parse
from tierproxy.rules.model import Order
from tierproxy.testing.playback import Played, played
from tierproxy.traffic import Event
from tierproxy.whatif.live import simulate
from tierproxy.whatif.result import Result

HITS, BYTES = 0.01, 0.02  #: how far the two may be apart


@dataclass(frozen=True, slots=True)
class Line:
    """One number of both. ``most``: how far they may be apart, as a share of the live one."""

    name: str
    live: int
    simulated: int
    most: float

    @property
    def off(self) -> float:
        return abs(self.simulated - self.live) / max(self.live, 1)

    def __str__(self) -> str:
        found = "the same" if self.live == self.simulated else f"{self.simulated:,} ({self.off:.2%} off)"
        return f"  {self.name:<44} {self.live:>14,}   {found}"


def lines(live: Played, simulated: Result) -> Iterator[Line]:
    yield Line("people's hits", live.person_hits, simulated.people.hits, HITS)
    yield Line("people's misses", live.person_misses, simulated.people.misses, BYTES)
    yield Line("hits of all", live.gets_hits, simulated.gets.hits, HITS)
    yield Line("fills", live.fills, simulated.fills, BYTES)
    reasons = {record.by: record for record in simulated.reasons}
    for by in sorted({*reasons, *live.reasons}):
        here, there = live.reasons.get(by), reasons.get(by)
        for what in ("objects", "bytes", "regrets"):
            yield Line(f"{by}: {what}", getattr(here, what, 0), getattr(there, what, 0), BYTES)


def compared(order: Order, events: Sequence[Event], start: float, text: str, directory: Path) -> bool:
    """Prints the table of one order; whether all is near enough."""
    directory.mkdir()
    rules = directory / "rules.toml"
    rules.write_text(text.replace('order = "lru"', f'order = "{order}"'))
    live = asyncio.run(played(events, directory / "data", rules, start))
    simulated = simulate(load([directory / "data"]), parse(rules.read_text()))
    table = list(lines(live, simulated))
    worst = max(table, key=lambda line: line.off)
    print(f"{order}: {len(events):,} events, worst {worst.off:.2%} off")
    print(*table, sep="\n")
    wrong = [line for line in table if line.off > line.most and abs(line.live - line.simulated) > 1]
    for line in wrong:
        print(f"FAILED {order}: {line.name} is {line.off:.2%} off, {line.most:.0%} is allowed")
    return not wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=30, help="days of traffic (default: %(default)s)")
    parser.add_argument("--owners", type=int, default=8, help="mailboxes (default: %(default)s)")
    parser.add_argument("--mails-per-day", type=float, default=20.0, help="for each on weekdays (default: %(default)s)")
    parser.add_argument("--budget", default="150MB", help="of the disk, before scaling (default: %(default)s)")
    parser.add_argument("--scale", type=float, default=0.2, help="of bodies and budget (default: %(default)s)")
    parser.add_argument("--orders", nargs="*", default=list(Order), type=Order, help="of [pressure] (default: all)")
    parser.add_argument("--seed", type=int, default=1, help="of the traffic (default: %(default)s)")
    parser.add_argument("--rules", type=Path, default=RULES, help="rule file (default: config/rules.toml)")
    parser.add_argument("--dir", help="where to work (default: the system's temporary directory)")
    options = parser.parse_args()
    logging.disable(logging.ERROR)  # runs that wait for a confirmation get it
    model = model_for("office", owners=options.owners, mails_per_day=options.mails_per_day)
    traffic = Traffic(model, days=options.days, seed=options.seed)
    events = [_scaled(event, options.scale) for event in traffic.events()]
    text = scaled(options.rules.read_text(), options.scale, parse_size(options.budget)).replace('"0"', '"1KiB"')
    text = text.replace('"59m"', '"15m"')
    with workplace(options.dir, 2**28) as place:
        good = [compared(order, events, traffic.start, text, place / order) for order in options.orders]
    for order, met in zip(options.orders, good, strict=True):
        print(f"goal {order}: hits within {HITS:.0%}, purged bytes within {BYTES:.0%}: {'yes' if met else 'no'}")
    if not all(good):
        return 1
    print(f"OK: hits within {HITS:.0%}, purged bytes within {BYTES:.0%}, of {len(good)} orders")
    return 0


def _scaled(event: Event, scale: float) -> Event:
    name = ObjectName(event.name.bucket, f"mail/{event.name.key}")
    return event._replace(name=name, size=max(1, int(event.size * scale)))


if __name__ == "__main__":
    sys.exit(main())
