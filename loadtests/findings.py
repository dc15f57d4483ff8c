"""What sixty days of mail showed, by week, and whether all of it was right (``sixty_days.py``)."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass, field

import report

from tierproxy.cli.words import bytes_text
from tierproxy.purges import PRESSURE, RunKind
from tierproxy.rules.model import RuleSet
from tierproxy.traffic import Outcome


@dataclass
class Week:
    """What one week saw."""

    deliveries: int = 0
    gets: Counter[str] = field(default_factory=Counter)  #: by outcome
    people: int = 0  #: reads by people
    purged: Counter[str] = field(default_factory=Counter)  #: by reason
    regrets: int = 0
    used: int = 0  #: at its end
    peak: int = 0  #: at the end of an hour


@dataclass
class Findings:
    """What was seen, and what was wrong."""

    weeks: list[Week] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    samples: int = 0
    went: int = 0  #: samples that were to go, and did
    confirmed: int = 0
    runs: Counter[str] = field(default_factory=Counter)
    highest: int = 0  #: bytes, at any time

    def check(self, holds: bool, text: str) -> None:
        if not holds and len(self.wrong) < 50:
            self.wrong.append(text)


def table(findings: Findings) -> str:
    reasons = sorted({reason for week in findings.weeks for reason in week.purged})
    head = ["week", "writes", "memory", "disk", "missed", "hit ratio", "people", "regrets", *reasons, "peak", "used"]
    rows = [_row(str(number + 1), week, reasons) for number, week in enumerate(findings.weeks) if week.deliveries]
    return report.table(head, rows)


def _row(label: str, week: Week, reasons: list[str]) -> list[str]:
    memory, disk, gets = week.gets[Outcome.MEMORY], week.gets[Outcome.DISK], week.gets.total() - week.gets[Outcome.STUB]
    return [
        label, str(week.deliveries), str(memory), str(disk), str(gets - memory - disk),
        f"{(memory + disk) / gets:.3f}" if gets else "-", str(week.people), str(week.regrets),
        *(str(week.purged[reason]) for reason in reasons), bytes_text(week.peak), bytes_text(week.used),
    ]  # fmt: skip


def judge(findings: Findings, options: argparse.Namespace, rules: RuleSet) -> bool:
    """Print what there is to say; whether all holds."""
    by_rules = sum(count for week in findings.weeks for by, count in week.purged.items() if by != PRESSURE)
    findings.check(findings.samples >= options.samples, f"only {findings.samples} objects were sampled")
    findings.check(findings.went > 0, "none of the samples was to go: the test proves nothing")
    findings.check(by_rules > 0, "rules purged nothing: the test proves nothing")
    findings.check(findings.runs[RunKind.PRESSURE] > 0, "there was no pressure: the test proves nothing")
    runs = ", ".join(f"{count} {kind}" for kind, count in sorted(findings.runs.items()))
    print(table(findings))
    budget, highest = bytes_text(rules.budget.max_bytes or 0), bytes_text(findings.highest)
    print(f"budget {budget}, never more than {highest} used and reserved; runs: {runs}, {findings.confirmed} confirmed")
    print(f"explain: {findings.samples} objects, {findings.went} to go, compared after the run")
    for text in findings.wrong[:20]:
        print(text)
    wrong = len(findings.wrong)
    print(f"FAILED: {wrong} wrong" if wrong else f"OK: {options.days} days within the budget, every purge explained")
    return not wrong
