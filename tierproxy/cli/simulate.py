"""``tierproxy simulate``: recorded traffic through rules and policies, beside one another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tierproxy.cli.charts import Chart, draw_outcomes
from tierproxy.cli.contest import BELADY, Contest
from tierproxy.cli.contestants import NOTHING, Contestant, Ground, faults_as_document, ground, of_files, of_wish
from tierproxy.cli.history import From, Since, Until
from tierproxy.cli.longwork import ProgressOption, Reporting, WishFile, checked, reported, wished
from tierproxy.cli.recorded import known, recorded
from tierproxy.cli.replayed import show
from tierproxy.cli.settings import AsJson, ConfigFile, print_json
from tierproxy.cli.values import date_of, duration_of, size_of
from tierproxy.cli.words import bytes_text
from tierproxy.rules.model import NO_RULES
from tierproxy.whatif.policies import POLICIES
from tierproxy.wire.whatif import SimulateWish

PricesFile = Annotated[
    Path | None,
    typer.Option(
        "--prices", dir_okay=False, help="Price sheet. Default: prices.toml beside the configuration, or the built-in."
    ),
]
Budget = Annotated[
    str | None, typer.Option(help="Disk for all of them, as in 750MB. Default: what each rule file says.")
]
WarmUp = Annotated[str, typer.Option(help="Play so much first without counting it, as in 7d.")]
Sample = Annotated[float, typer.Option(help="Follow only this share of the objects, as in 0.1: quicker, less exact.")]


def simulate(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="RULES_FILE", dir_okay=False, help="Rule files to try.")
    ] = None,
    policy: Annotated[
        list[str] | None, typer.Option(help=f"A plain policy beside them: {', '.join(POLICIES)}. May be repeated.")
    ] = None,
    ceiling: Annotated[
        bool, typer.Option("--belady", help="What no disk of that size can exceed, knowing the future.")
    ] = False,
    places: From = None,
    since: Since = None,
    until: Until = None,
    budget: Budget = None,
    sample: Sample = 1.0,
    warm_up: WarmUp = "0s",
    chart: Chart = None,
    prices: PricesFile = None,
    wish: WishFile = None,
    progress: ProgressOption = Reporting.AUTO,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Replay recorded traffic through rules and policies: what each would have cost and saved.

    The rules in force and the shadow's come first, then the given files. Nothing is changed.
    """
    said = {"RULES_FILE": files, "--policy": policy, "--belady": ceiling, "--since": since, "--until": until}
    policies = [*(policy or []), *([BELADY] if ceiling else [])]
    asked = (
        _asked(policies, since, until, budget, sample)
        if wish is None
        else wished(SimulateWish, wish, {**said, "--budget": budget, "--sample": sample != 1.0})
    )
    _known(asked.policies)
    found = known(config, places)
    with faults_as_document(as_json):
        base = ground(found, config, prices)
        contestants = _contestants(base, files or [], asked, by_wish=wish is not None)
    with reported(progress, quiet=as_json) as report:
        trace = recorded(found, places, asked.since, asked.until, report)
        result = Contest(base, contestants, trace, asked, duration_of(warm_up, "--warm-up")).run(report)
    draw_outcomes(chart, result.outcomes, f"Hit ratio of people's reads, disk {bytes_text(result.budget)}")
    if as_json:
        print_json(result)
    else:
        show(result)


def _asked(
    policies: list[str], since: str | None, until: str | None, budget: str | None, sample: float
) -> SimulateWish:
    return checked(
        SimulateWish, policies=policies, sample=sample, since=since and date_of(since, "--since"),
        until=until and date_of(until, "--until"), budget=budget and size_of(budget, "--budget"),
    )  # fmt: skip


def _known(policies: list[str]) -> None:
    known = [*POLICIES, BELADY]
    for name in policies:
        if name not in known:
            raise typer.BadParameter(f"there is no policy {name!r}; write one of {', '.join(known)}")


def _contestants(base: Ground, files: list[Path], asked: SimulateWish, *, by_wish: bool) -> list[Contestant]:
    """Those in force first: the others are compared with them. A wish that names any names all."""
    found = [one for one in (base.live, base.shadow) if one is not None]
    if by_wish and asked.candidates:
        given = of_wish(base, asked.candidates)
        if len({one.name for one in given}) < len(given):
            raise typer.BadParameter("each candidate needs a name of its own", param_hint="--wish")
        return given
    found += of_files(base.config, files, [one.name for one in found])
    return found or [Contestant(NOTHING, NO_RULES, "pressure alone, least recently used first")]
