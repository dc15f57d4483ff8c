"""What replays found, for people: tables, and the differences in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table

from tierproxy.cli.held import reason_text
from tierproxy.cli.outcome import out, warn
from tierproxy.cli.tables import console, filled, table
from tierproxy.cli.words import bytes_text, count_text, moment
from tierproxy.wire.whatif import Outcome, Simulation

UNKNOWN = "-"


def show(found: Simulation) -> None:
    """All outcomes beside one another; the first is what the others are compared with."""
    for text in found.warnings:
        warn(text)
    span = f"{moment(found.since)} to {moment(found.until)} UTC"
    objects = count_text(found.objects, "object")
    out().print(f"{count_text(found.events, 'event')} of {objects}, {span}; disk {bytes_text(found.budget)}")
    screen = console()
    for made in outcome_tables(found.outcomes):
        screen.print(made)
    for line in differences(found.outcomes):
        out().print(line, markup=False)


def outcome_tables(outcomes: Sequence[Outcome]) -> Iterator[Table]:
    """What readers feel; then what it takes; then what each reason removed."""
    made = table(["reads by people"], ["hit ratio", "of bytes", "misses", "regrets", "mean delay", "p99"])
    yield filled(made, (_reads(one) for one in outcomes))
    with_rules = [one for one in outcomes if one.alt is not None]
    if with_rules:
        made = table(["disk and alt"], ["disk mean", "peak", "purged", "to alt", "$ a month"])
        yield filled(made, (_means(one) for one in with_rules))
    reasons = [[one.name, *_reason(part)] for one in with_rules for part in one.by_reason]
    if reasons:
        yield filled(table(["purged by", "reason"], ["objects", "bytes", "regrets"]), reasons)


def _reads(one: Outcome) -> list[str]:
    name = f"{one.name} (ceiling)" if one.ceiling else one.name
    regrets = UNKNOWN if one.alt is None else count_text(one.regrets)
    delays = seconds_text(one.delay_mean), seconds_text(one.delay_p99)
    return [name, ratio_text(one.hit_ratio), ratio_text(one.byte_hit_ratio), count_text(one.misses), regrets, *delays]


def _means(one: Outcome) -> list[str]:
    requests = sum(one.alt.requests.values()) if one.alt is not None else 0
    sizes = bytes_text(one.disk_mean), bytes_text(one.disk_peak), bytes_text(one.purged.bytes)
    return [one.name, *sizes, count_text(requests), dollars_text(one.dollars)]


def _reason(part: object) -> list[str]:
    by, objects = getattr(part, "by", ""), getattr(part, "objects", 0)
    return [reason_text(by), count_text(objects), bytes_text(getattr(part, "bytes", 0)),
            count_text(getattr(part, "regrets", 0))]  # fmt: skip


def differences(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Each but the first beside the first, in words."""
    first, *others = outcomes
    for one in others:
        yield f"{one.name} beside {first.name}: {difference(first, one)}"


def difference(first: Outcome, other: Outcome) -> str:
    """``120 misses fewer (-3.2%), $0.12 a month less, 20 MB less on disk on average``."""
    found = [_change(other.misses - first.misses, "misses", first.misses)]
    if first.alt is not None and other.alt is not None:
        if first.dollars is not None and other.dollars is not None and abs(other.dollars - first.dollars) >= 0.005:
            word = "less" if other.dollars < first.dollars else "more"
            found.append(f"{dollars_text(abs(other.dollars - first.dollars))} a month {word}")
        saved = first.disk_mean - other.disk_mean
        if abs(saved) >= 1:
            found.append(f"{bytes_text(abs(saved))} {'less' if saved > 0 else 'more'} on disk on average")
    return ", ".join(found)


def _change(change: int, what: str, before: int) -> str:
    if not change:
        return f"as many {what}"
    share = f" ({change / before:+.1%})" if before else ""
    return f"{abs(change):,} {what} {'fewer' if change < 0 else 'more'}{share}"


def ratio_text(ratio: float | None) -> str:
    """``95.12%``: what is far apart to readers is close together here."""
    return UNKNOWN if ratio is None else f"{ratio:.2%}"


def seconds_text(seconds: float | None) -> str:
    """``1.2 ms``"""
    if seconds is None:
        return UNKNOWN
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"


def dollars_text(dollars: float | None) -> str:
    return UNKNOWN if dollars is None else f"${dollars:,.2f}"
