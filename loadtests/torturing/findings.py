"""What a run found: tables, the line it ends with, and a record that the documentation is made from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import report

from torturing.tally import ZEROS, Failing, Tally, Wrong

PAGE = report.PAGE.parent / "reliability.md"
SECTION = "torture"


@dataclass
class Findings:
    """Of one run: ``seconds`` it took in all, ``wrong`` by kind."""

    seed: int
    seconds: float = 0.0
    rounds: int = 0
    operations: int = 0
    acknowledged: int = 0
    unanswered: int = 0
    peak: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)  #: operations by kind
    points: Counter[str] = field(default_factory=Counter)  #: where the node ended itself
    missing: list[str] = field(default_factory=list)  #: points that it never came to
    seen: Counter[str] = field(default_factory=Counter)  #: other things
    wrong: Counter[str] = field(default_factory=Counter)
    date: str = ""
    options: str = ""  #: of the command line, that are not in every run

    def add(self, tally: Tally) -> None:
        self.rounds += 1
        self.operations += tally.operations.total()
        self.acknowledged += tally.acknowledged
        self.unanswered += tally.unanswered
        self.peak = max(self.peak, tally.peak)
        self.faults.update(tally.faults)
        self.points.update(tally.points)
        self.kinds.update(tally.operations)
        self.seen.update(tally.seen)
        self.wrong.update(str(one.wrong) for one in tally.failings)

    @property
    def sound(self) -> bool:
        return not self.wrong.total()

    def summary(self) -> str:
        """The last line of a run."""
        zeros = ", ".join(f"{self.wrong[kind]} {kind}" for kind in ZEROS)
        others = [f"{self.wrong[kind]} {kind}" for kind in (Wrong.BROKEN, Wrong.VAIN) if self.wrong[kind]]
        facts = (
            f"seed {self.seed}, {self.rounds} rounds, {self.faults.total()} faults of {len(self.faults)} kinds, "
            f"{self.operations} operations, {self.acknowledged} changes acknowledged"
        )
        return f"{'OK' if self.sound else 'FAILED'}: {', '.join([zeros, *others])} ({facts})"

    def tables(self) -> str:
        """For a terminal."""
        faults = report.table(("fault", "times"), [(name, str(count)) for name, count in sorted(self.faults.items())])
        points = point_table(self.points, self.missing)
        kinds = report.table(("operation", "times"), [(name, str(count)) for name, count in sorted(self.kinds.items())])
        seen = report.table(("seen", "times"), [(name, str(count)) for name, count in sorted(self.seen.items())])
        return f"{faults}\n\n{points}\n\n{kinds}\n\n{seen}\n\n{report.table(HEAD, [self.row()])}"

    def row(self) -> Sequence[str]:
        return (
            f"{self.seed} {self.options}".strip(), f"{self.seconds:.0f}", str(self.rounds),
            str(self.faults.total()), f"{self.operations:,}",
            f"{self.acknowledged:,}", f"{self.unanswered:,}", str(self.peak), str(self.points.total()),
            *(str(self.wrong[kind]) for kind in ZEROS),
        )  # fmt: skip


HEAD = (
    "seed", "seconds", "rounds", "faults", "operations", "acknowledged", "unanswered", "pending at most",
    "named points",
    *(str(kind) for kind in ZEROS),
)  # fmt: skip


def remember(findings: Findings, file: Path) -> None:
    """A line more in ``file``."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as lines:
        lines.write(json.dumps(vars(findings)) + "\n")


def write(file: Path, command: str) -> None:
    """The runs of ``file`` as a section of docs/reliability.md."""
    runs = [Findings(**json.loads(line)) for line in file.read_text().splitlines()]
    for run in runs:
        run.faults, run.kinds, run.wrong = Counter(run.faults), Counter(run.kinds), Counter(run.wrong)
        run.points, run.seen = Counter(run.points), Counter(run.seen)
    total = sum((run.faults for run in runs), Counter[str]())
    points = sum((run.points for run in runs), Counter[str]())
    never = sorted(set.intersection(*(set(run.missing) for run in runs))) if runs else []
    seen = sum((run.seen for run in runs), Counter[str]())
    facts = "\n".join(f"- {name}: {value}" for name, value in report.machine(file.parent) if name != "load before")
    text = (
        f"Each line a run of `{command}`:\n\n{facts}\n\n{report.table(HEAD, [run.row() for run in runs])}\n\n"
        f"What was done to it in these runs:\n\n"
        f"{report.table(('fault', 'times'), [(name, f'{count:,}') for name, count in sorted(total.items())])}\n\n"
        f"Named points it came to:\n\n{point_table(points, never)}\n\n"
        f"And what was seen besides:\n\n"
        f"{report.table(('what', 'times'), [(name, f'{count:,}') for name, count in sorted(seen.items())])}"
    )
    report.put(SECTION, text, PAGE)


def point_table(points: Counter[str], missing: Sequence[str] = ()) -> str:
    """How often the node ended itself before and after each kind of call. ``missing``: kinds that it never came to."""
    kinds = sorted({name.rpartition(", ")[0] for name in points} | set(missing))
    rows = [(kind, str(points[f"{kind}, before"] or ""), str(points[f"{kind}, after"] or "")) for kind in kinds]
    return report.table(("node killed at", "before", "after"), rows)


def story(failing: Failing, history: list[dict[str, str]]) -> str:
    """A failing with what its key has been through."""
    lines = [f"    {note}" for note in history[-12:]]
    return "\n".join([str(failing), *lines])
