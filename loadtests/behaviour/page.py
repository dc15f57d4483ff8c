"""The summary: one page of HTML with every verdict, and a table of times by phase."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import report

from behaviour.plays import Play
from behaviour.samples import Samples
from behaviour.verdicts import Verdict

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;margin:1rem 0;width:100%}td,th{border-bottom:1px solid #ddd;padding:.3rem .6rem;"
    "text-align:left}.yes{color:#176f2c}.no{color:#b3261e;font-weight:600}h2{margin-top:2.5rem}"
)
TIMES = ("phase", "what", "from", "requests", "failed", "median ms", "95 % ms", "99 % ms")
VERDICTS = ("what must hold", "measured", "wanted", "holds")


@dataclass(frozen=True, slots=True)
class Played:
    """One play with what came of it. ``timed``: ratios of times are judged."""

    play: Play
    samples: Samples
    verdicts: Sequence[Verdict]
    page: str
    timed: bool

    @property
    def wrong(self) -> list[Verdict]:
        return [one for one in self.verdicts if not one.holds and (self.timed or not one.timed)]

    def verdict_rows(self) -> list[list[str]]:
        return [one.row(judged=self.timed or not one.timed) for one in self.verdicts]

    def time_rows(self) -> list[list[str]]:
        kinds = sorted({(one.who, one.verb, one.source) for one in self.samples})
        return [
            _times(phase, f"{who}: {verb}", source, self.samples.of(phase, verb, source, who, good=False))
            for phase in self.samples.phases() for who, verb, source in kinds
            if len(self.samples.of(phase, verb, source, who, good=False))
        ]  # fmt: skip

    def errors(self) -> str:
        """What went wrong most often, a line each."""
        said = Counter(f"{one.verb} in {one.phase}: {one.error[:200]}" for one in self.samples.errors())
        return "\n".join(f"{count} x {text}" for text, count in said.most_common(5))

    def text(self) -> str:
        """For a terminal."""
        head = "\n\n".join(filter(None, [f"## {self.play.name}", self.play.users, self.play.sees, self.errors()]))
        return "\n\n".join(
            [head, report.table(TIMES, self.time_rows()), report.table(VERDICTS, self.verdict_rows())]
        )  # fmt: skip


def _times(phase: str, what: str, source: str, samples: Samples) -> list[str]:
    good = samples.of()
    return [
        phase, what, source or "proxy", str(len(samples)), str(len(samples.errors())),
        *(f"{good.quantile(share):.1f}" for share in (0.5, 0.95, 0.99)),
    ]  # fmt: skip


def write(played: Sequence[Played], facts: Sequence[tuple[str, str]], file: Path) -> None:
    """The page of a run."""
    body = "".join(_section(one) for one in played)
    about = "".join(f"<li>{escape(name)}: {escape(value)}</li>" for name, value in facts)
    wrong = sum(len(one.wrong) for one in played)
    verdict = f'<p class="no">{wrong} did not hold</p>' if wrong else '<p class="yes">All held</p>'
    file.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Load tests</title><style>{STYLE}</style>'
        f"<h1>Load tests</h1>{verdict}<ul>{about}</ul>{body}</html>\n"
    )


def _section(one: Played) -> str:
    play = one.play
    return (
        f'<h2 id="{escape(play.name)}">{escape(play.name)}</h2><p>{escape(play.users)}</p>'
        f"<p>To be seen: {escape(play.sees)}</p>{_table(VERDICTS, one.verdict_rows())}"
        f"<pre>{escape(one.errors())}</pre>"
        f'{_table(TIMES, one.time_rows())}<p><a href="{escape(one.page)}">locust\'s report</a></p>'
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{names}</tr>{lines}</table>"


def _cell(text: str) -> str:
    kind = f' class="{text}"' if text in {"yes", "no"} else ""
    return f"<td{kind}>{escape(text)}</td>"
