"""What a run found: tables, goals, charts, and who could not take part."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import report
from bench_store import Goal
from measuring import Contender

from compare.client import Taken
from compare.peers import versions
from tierproxy.whatif.svg import Axes, Bar, ranges

CHARTS = report.PAGE.parent / "charts"
OURS, THEIRS, PLAIN = "#0072b2", "#b8860b", "#999999"
KINDS = {"tierproxy": OURS, "obstore": PLAIN, "boto3": PLAIN, "plain": PLAIN}


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture of a table: its file's name, what it shows, and of whom."""

    name: str
    title: str
    about: str
    bars: Sequence[Bar]

    def svg(self) -> str:
        return ranges(Axes(self.title, self.about, x=lambda value: f"{value:,.0f}", y=str), self.bars)


@dataclass
class Findings:
    tables: list[tuple[str, str]] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  #: who did not take part, and why; what else was seen

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)
            print(f"note: {text}", flush=True)

    def add(
        self, title: str, contenders: Sequence[Contender], references: Sequence[Contender | None], *,
        scale: float = 1.0, unit: str = "op/s", chart: str = "",
    ) -> None:  # fmt: skip
        """A table of all, with a column of ratios to each of ``references``; ``scale``: units of one operation. With
        the name of a ``chart``, that too."""
        towards = [one for one in references if one is not None]
        head = [
            "contender", unit, "least-most", *(f"ratio to {one.name}" for one in towards), "median ms", "99% ms",
            "client CPU", "server us CPU/op",
        ]  # fmt: skip
        table = report.table(head, [_row(one, towards, scale) for one in contenders])
        self.tables.append((title, table))
        print(f"\n{title}\n\n{table}", flush=True)
        if chart:
            bars = [_bar(one, scale) for one in contenders]
            about = "; ".join(f"{bar.name}: {bar.value:,.0f} {unit}" for bar in bars)
            self.charts.append(Chart(chart, f"{title.partition(';')[0]}: {unit}", about, bars))

    def at_least(self, what: str, measured: float, wanted: float) -> None:
        self.goals.append(Goal(what, measured, wanted))

    def at_most(self, what: str, measured: float, wanted: float) -> None:
        self.goals.append(Goal(what, measured, wanted, least=False))

    def text(self, directory: Path) -> str:
        """The section of docs/benchmarks.md."""
        facts = [*report.machine(directory), ("peers", ", ".join(f"{name} {number}" for name, number in versions()))]
        lines = "\n".join(f"- {name}: {value}" for name, value in facts)
        notes = "\n".join(f"- {note}" for note in self.notes)
        pictures = "\n".join(f"![{chart.title}](charts/{chart.name}.svg)\n" for chart in self.charts)
        parts = [f"### {title}\n\n{table}" for title, table in self.tables]
        goals = report.table(("goal", "measured", "wanted", "met"), [goal.row() for goal in self.goals])
        noted = [f"Not everybody took part in everything:\n\n{notes}"] if notes else []
        return "\n\n".join([lines, *noted, pictures.strip(), *parts, f"### Goals\n\n{goals}"])

    def draw(self, directory: Path = CHARTS) -> None:
        """Write the charts."""
        directory.mkdir(parents=True, exist_ok=True)
        for chart in self.charts:
            (directory / f"{chart.name}.svg").write_text(chart.svg())


def _row(one: Contender, towards: Sequence[Contender], scale: float) -> list[str]:
    rates = [sample.rate * scale for sample in one.samples]
    taken = [sample for sample in one.samples if isinstance(sample, Taken)]
    server = statistics.median(sample.server for sample in taken) if taken else 0.0
    return [
        one.name, f"{one.rate * scale:,.0f}", f"{min(rates):,.0f}-{max(rates):,.0f}",
        *(f"{one.rate / other.rate:.2f}" for other in towards),
        f"{one.milliseconds:.2f}", _number(statistics.median(sample.late for sample in one.samples), "{:.2f}"),
        f"{statistics.median(sample.client for sample in taken):.2f}" if taken else "-", _number(server, "{:,.0f}"),
    ]  # fmt: skip


def _number(value: float, pattern: str) -> str:
    return pattern.format(value) if value else "-"


def _bar(one: Contender, scale: float) -> Bar:
    rates = [sample.rate * scale for sample in one.samples]
    colour = next((colour for word, colour in KINDS.items() if word in one.name), THEIRS)
    return Bar(one.name, one.rate * scale, min(rates), max(rates), colour)
