"""``tierproxy advise``: better rules, searched on recorded traffic and judged on days the search has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tierproxy.cli.charts import Chart, draw_outcomes, write_whole
from tierproxy.cli.contest import BELADY
from tierproxy.cli.contestants import Ground, faults_as_document, ground
from tierproxy.cli.history import From, Since, Until
from tierproxy.cli.longwork import ProgressOption, Reporting, WishFile, checked, reported, wished
from tierproxy.cli.outcome import out, warn
from tierproxy.cli.outcomes import outcome_of, policy_outcome
from tierproxy.cli.recorded import known, recorded
from tierproxy.cli.replayed import difference, outcome_tables
from tierproxy.cli.settings import AsJson, ConfigFile, print_json
from tierproxy.cli.simulate import Budget, PricesFile
from tierproxy.cli.tables import console
from tierproxy.cli.values import date_of, size_of
from tierproxy.cli.words import moment
from tierproxy.clock import SystemClock
from tierproxy.errors import ConfigError, TierproxyError
from tierproxy.trace import Trace
from tierproxy.whatif.advise import NAMES, Found, Proposal, Question
from tierproxy.whatif.advise import advise as search
from tierproxy.whatif.live import Setup
from tierproxy.wire.whatif import Advice, Advised, AdviseWish, Outcome


def advise(
    places: From = None,
    since: Since = None,
    until: Until = None,
    budget: Budget = None,
    held_out: Annotated[float, typer.Option(help="Share of the days that proposals are judged on.")] = 0.3,
    write: Annotated[
        Path | None, typer.Option("--write", metavar="DIR", file_okay=False, help="Write the rule files there.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the draws by which chance is told from gain.")] = 0,
    chart: Chart = None,
    prices: PricesFile = None,
    wish: WishFile = None,
    progress: ProgressOption = Reporting.AUTO,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Search better rules on recorded traffic: at most three proposals, or the reason why nothing helps.

    Rules are searched on the first days and judged on the last ones. Nothing is put in force.
    """
    if wish is not None:
        options = {"--since": since, "--until": until, "--budget": budget, "--held-out": held_out != 0.3}
        asked = wished(AdviseWish, wish, options)
    else:
        asked = checked(
            AdviseWish, since=since and date_of(since, "--since"), until=until and date_of(until, "--until"),
            budget=budget and size_of(budget, "--budget"), held_out=held_out,
        )  # fmt: skip
    if write is not None:
        _free(write, NAMES)
    found = known(config, places)
    with faults_as_document(as_json):
        base = ground(found, config, prices)
    with reported(progress, quiet=as_json) as report:
        trace = recorded(found, places, asked.since, asked.until, report)
        advice = search(trace, _question(base, asked, seed), report)
    result = _document(trace, advice, base)
    if write is not None:
        _write(write, result)
    draw_outcomes(chart, _outcomes(result), "Hit ratio of people's reads on the days held out")
    if as_json:
        print_json(result)
        return
    for text in base.warnings:
        warn(text)
    _show(result)


def _question(base: Ground, asked: AdviseWish, seed: int) -> Question:
    config = base.config
    live = None if base.live is None or not base.live.rules.rules else base.live.rules
    return Question(
        Setup.of(config), asked.budget or base.budget, SystemClock().now(), live, asked.held_out,
        config.counting.keep_days, base.latencies, base.prices, seed,
    )  # fmt: skip


# ------------------------------------------------------------ the document


def _document(trace: Trace, found: Found, base: Ground) -> Advised:
    (since, until), priced, latencies = trace.span, base.prices is not None, base.latencies
    baseline = outcome_of(f"age rule, {found.age} days", found.baseline, priced=priced, share=found.share)
    live = None if found.live is None else outcome_of("live", found.live, priced=priced, share=found.share)
    return Advised(
        since=since, split=found.split, until=until, tried=found.tried, verdict=found.verdict, baseline=baseline,
        live=live, ceiling=policy_outcome(BELADY, found.ceiling, latencies, share=found.share, ceiling=True),
        proposals=[_advice(one, found, baseline, priced=priced) for one in found.proposals],
    )  # fmt: skip


def _advice(one: Proposal, found: Found, baseline: Outcome, *, priced: bool) -> Advice:
    held_out = outcome_of(one.name, one.held_out, priced=priced, share=found.share)
    dollars = None if held_out.dollars is None or baseline.dollars is None else baseline.dollars - held_out.dollars
    return Advice(
        name=one.name, about=one.about, rules=one.text, held_out=held_out,
        trained=outcome_of(one.name, one.trained, priced=priced, share=found.trained_share),
        saves_reads=baseline.misses - held_out.misses, saves_dollars=dollars,
        saves_bytes=baseline.disk_mean - held_out.disk_mean,
    )  # fmt: skip


# ------------------------------------------------------------ files and words


def _free(directory: Path, names: Sequence[str]) -> list[Path]:
    """The files of those names. Raises ConfigError when one is there: it may be somebody's."""
    files = [directory / f"{name}.toml" for name in names]
    there = [str(file) for file in files if file.exists()]
    if there:
        raise ConfigError(f"{', '.join(there)} is there already", hint="name another directory, or remove it first")
    return files


def _write(directory: Path, found: Advised) -> None:
    """Raises ConfigError, TierproxyError."""
    files = _free(directory, [one.name for one in found.proposals])
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TierproxyError(f"cannot make {directory}: {error.strerror}") from error
    for file, one in zip(files, found.proposals, strict=True):
        write_whole(file, one.rules)


def _outcomes(found: Advised) -> list[Outcome]:
    """All of the days held out."""
    others = [found.baseline, found.live, *(one.held_out for one in found.proposals), found.ceiling]
    return [one for one in others if one is not None]


def _show(found: Advised) -> None:
    out().print(
        f"searched on {moment(found.since)} to {moment(found.split)} UTC ({found.tried} replays), judged on the days "
        f"from then to {moment(found.until)}",
        markup=False,
    )
    for made in outcome_tables(_outcomes(found)):
        console().print(made)
    for one in found.proposals:
        out().print(
            f"{one.name} beside {found.baseline.name}: {difference(found.baseline, one.held_out)}", markup=False
        )
    out().print(found.verdict, markup=False)
    for one in found.proposals:
        out().print(f"\n# ---- {one.name}\n{one.rules}", markup=False)
