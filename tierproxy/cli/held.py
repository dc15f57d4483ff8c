"""What rules hold and removed, as tables: for `tierproxy stats --by rule` and `rules show`."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table

from tierproxy.cli.outcome import warn
from tierproxy.cli.settings import print_json
from tierproxy.cli.tables import console, filled, table
from tierproxy.cli.words import bytes_text, count_text, share_text
from tierproxy.purges import RULE
from tierproxy.wire.rules import RuleCount, RuleRecord, RulesHeld

SOON = ("< 1h", "< 1d", "< 7d", "< 30d", "later")


def show_held(held: RulesHeld, as_json: bool) -> None:
    """What each rule decides now, and what each reason removed and cost within its days."""
    for text in held.warnings:
        warn(text)
    if as_json:
        print_json(held)
        return
    screen = console()
    screen.print(f"rules: {held.about}", markup=False)
    screen.print(held_table(held))
    if held.removed:
        screen.print(removed_table(held.removed, f"Removed, and read again, in {held.days} days:"))
    else:
        screen.print(f"nothing was removed in {held.days} days")


def held_table(held: RulesHeld) -> Table:
    """A row per rule, then what no rule may touch."""
    made = table(
        ["rule", "does"], ["objects", "bytes", "reads 7d", "30d"], title="On disk now, by the rule that decides:"
    )
    lines = [_held_line(count) for count in held.rules]
    for name, why in (("dirty", "waits for alt"), ("pinned", "stays"), ("young", "stays")):
        amount = getattr(held, name)
        if amount.objects:
            lines.append([f"({name})", why, count_text(amount.objects), bytes_text(amount.bytes), "", ""])
    return filled(made, lines)


def _held_line(count: RuleCount) -> list[str]:
    name = count.rule if count.rule is not None else "(undecided)"
    figures = [count_text(count.objects), bytes_text(count.bytes), count_text(count.reads_7d)]
    return [name, count.then, *figures, count_text(count.reads_30d)]


def removed_table(records: Iterable[RuleRecord], title: str) -> Table:
    """What was removed, by reason, and how soon people wanted it back."""
    made = table(["by"], ["objects", "bytes", "regrets", *SOON], title=title)
    return filled(made, [_record_line(record) for record in records])


def reason_text(by: str) -> str:
    """A rule by its name; what is no rule in brackets."""
    return by.removeprefix(RULE) if by.startswith(RULE) else f"({by})"


def _record_line(record: RuleRecord) -> list[str]:
    share = f"{count_text(record.regrets)} {share_text(record.regrets, record.objects)}"
    sums = [count_text(record.objects), bytes_text(record.bytes), share]
    return [reason_text(record.by), *sums, *map(count_text, record.soon)]
