"""``tierproxy rules test``: recorded traffic through a rule file, and what must come of it."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from tierproxy.cli.charts import Chart, draw_outcomes
from tierproxy.cli.contest import Contest
from tierproxy.cli.contestants import Contestant, Ground, faults_as_document, ground, of_files
from tierproxy.cli.longwork import ProgressOption, Reporting, reported
from tierproxy.cli.outcome import ExitCode, out
from tierproxy.cli.recorded import known, recorded
from tierproxy.cli.replayed import dollars_text, seconds_text
from tierproxy.cli.settings import AsJson, ConfigFile, print_json
from tierproxy.cli.simulate import Budget, PricesFile, WarmUp
from tierproxy.cli.values import duration_of, size_of
from tierproxy.cli.words import bytes_text, count_text
from tierproxy.config.values import parse_duration, parse_size
from tierproxy.errors import ConfigError
from tierproxy.rules.amounts import ratio
from tierproxy.wire.whatif import Outcome, SimulateWish

COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "=": operator.eq,
}  # fmt: skip
_ASSERTION = re.compile(r"\s*(\w+)\s*(>=|<=|==|=|<|>)\s*(\S.*?)\s*")


def _share(text: str) -> float:
    return ratio(text) if text.endswith("%") else ratio(_number(text))


def _number(text: str) -> float:
    try:
        return float(text.removeprefix("$"))
    except ValueError as error:
        raise ConfigError(f"{text!r} is no number") from error


@dataclass(frozen=True, slots=True)
class Measure:
    """What can be asserted. ``value``: of an outcome, None: not known; ``read``: of what is written; ``show``."""

    value: Callable[[Outcome], float | None]
    read: Callable[[str], float]
    show: Callable[[float], str]
    about: str


def _ratio_text(value: float) -> str:
    return f"{value:.4f}"


def _count(value: float) -> str:
    return count_text(int(value))


def _requests(found: Outcome) -> float | None:
    return None if found.alt is None else float(sum(found.alt.requests.values()))


MEASURES: dict[str, Measure] = {
    "hit": Measure(lambda one: one.hit_ratio, _share, _ratio_text, "share of people's reads from this machine"),
    "byte_hit": Measure(lambda one: one.byte_hit_ratio, _share, _ratio_text, "share of delivered bytes"),
    "reads": Measure(lambda one: one.reads, _number, _count, "people's reads"),
    "misses": Measure(lambda one: one.misses, _number, _count, "people's reads from alt"),
    "regrets": Measure(lambda one: one.regrets, _number, _count, "misses because of a purge"),
    "purged": Measure(lambda one: one.purged.objects, _number, _count, "objects"),
    "disk_mean": Measure(lambda one: one.disk_mean, parse_size, bytes_text, "bytes on disk"),
    "disk_peak": Measure(lambda one: one.disk_peak, parse_size, bytes_text, "most bytes on disk"),
    "alt_requests": Measure(_requests, _number, _count, "requests to alt"),
    "delay_mean": Measure(lambda one: one.delay_mean, parse_duration, seconds_text, "to the first byte"),
    "delay_p99": Measure(lambda one: one.delay_p99, parse_duration, seconds_text, "to the first byte"),
    "dollars": Measure(lambda one: one.dollars, _number, dollars_text, "a month, by the price sheet"),
}


@dataclass(frozen=True, slots=True)
class Assertion:
    """One ``--assert``."""

    text: str
    name: str
    compare: str
    wanted: float

    @staticmethod
    def of(text: str) -> Assertion:
        """Wrong usage is BadParameter."""
        match = _ASSERTION.fullmatch(text)
        if match is None:
            raise typer.BadParameter(f"{text!r} is no assertion; write it as in 'hit >= 0.95'", param_hint="--assert")
        name, compare, value = match[1], match[2].replace("==", "="), match[3]
        if name not in MEASURES:
            known_ = ", ".join(f"{one} ({measure.about})" for one, measure in MEASURES.items())
            raise typer.BadParameter(f"there is no measure {name!r}; known are {known_}", param_hint="--assert")
        try:
            return Assertion(text, name, compare, float(MEASURES[name].read(value)))
        except ConfigError as error:
            raise typer.BadParameter(f"{text!r}: {error}", param_hint="--assert") from error

    def holds(self, found: Outcome) -> bool:
        """What is not known never holds."""
        value = MEASURES[self.name].value(found)
        return value is not None and COMPARE[self.compare](value, self.wanted)

    def line(self, found: Outcome) -> str:
        """``ok      hit >= 0.95: 0.9612``"""
        measure = MEASURES[self.name]
        value = measure.value(found)
        shown = "not known" if value is None else measure.show(value)
        return f"{'ok' if self.holds(found) else 'FAILED':<8}{self.text}: {shown}"


def assess(
    places: Annotated[list[Path], typer.Argument(metavar="HISTORY", help="Directories of segments, Parquet files.")],
    rules: Annotated[Path, typer.Option("--rules", dir_okay=False, help="The rule file to try.")],
    assertions: Annotated[
        list[str] | None, typer.Option("--assert", help="What must hold, as in 'hit >= 0.95'. May be repeated.")
    ] = None,
    budget: Budget = None,
    warm_up: WarmUp = "0s",
    prices: PricesFile = None,
    progress: ProgressOption = Reporting.NONE,
    chart: Chart = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Replay a history through a rule file and hold the result to assertions: exit code 0, or 1 when one fails.

    Measures: hit, byte_hit, reads, misses, regrets, purged, disk_mean, disk_peak, alt_requests, delay_mean, delay_p99,
    dollars.
    """
    wanted = [Assertion.of(text) for text in assertions or []]
    if not wanted:
        raise typer.BadParameter("say what must hold, as in --assert 'hit >= 0.95'")
    found = known(config, places)
    with faults_as_document(as_json):
        tried = of_files(found, [rules], [])
        base = ground(found, config, prices)
    asked = SimulateWish(budget=budget and size_of(budget, "--budget"))  # type: ignore[arg-type]
    outcome = _replayed(base, tried, places, asked, duration_of(warm_up, "--warm-up"), progress)
    draw_outcomes(chart, [outcome], f"Hit ratio of people's reads by {rules.name}")
    failed = [one for one in wanted if not one.holds(outcome)]
    if as_json:
        print_json(_document(wanted, outcome))
    else:
        for one in wanted:
            out().print(one.line(outcome), markup=False)
    if failed:
        raise typer.Exit(ExitCode.FAILED)


def _replayed(
    base: Ground, tried: list[Contestant], places: list[Path], asked: SimulateWish, warm_up: float, progress: Reporting
) -> Outcome:  # fmt: skip
    with reported(progress) as report:
        trace = recorded(base.config, places, None, None, report)
        return Contest(base, tried, trace, asked, warm_up).run(report).outcomes[0]


def _document(wanted: list[Assertion], found: Outcome) -> dict[str, Any]:
    lines = [
        {"assert": one.text, "holds": one.holds(found), "measured": MEASURES[one.name].value(found)} for one in wanted
    ]
    return {"holds": all(one["holds"] for one in lines), "assertions": lines, "outcome": found.model_dump(mode="json")}
