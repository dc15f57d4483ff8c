"""``tierproxy curve``: hit ratio against disk size, from one pass over recorded traffic."""

from __future__ import annotations

from typing import Annotated

import typer

from tierproxy.cli.charts import Chart, draw_curve
from tierproxy.cli.contestants import ground
from tierproxy.cli.history import From, Since, Until
from tierproxy.cli.longwork import ProgressOption, Reporting, WishFile, checked, reported, wished
from tierproxy.cli.outcome import out
from tierproxy.cli.recorded import known, recorded
from tierproxy.cli.replayed import ratio_text
from tierproxy.cli.settings import AsJson, ConfigFile, print_json
from tierproxy.cli.tables import console, filled, table
from tierproxy.cli.values import date_of
from tierproxy.cli.words import bytes_text, count_text, moment
from tierproxy.trace import Trace
from tierproxy.whatif import curve as whatif
from tierproxy.whatif.primed import primed
from tierproxy.wire.whatif import Curve, CurveWish

WANTED = (0.5, 0.8, 0.9, 0.95, 0.99)


def curve(
    hit: Annotated[
        list[float] | None,
        typer.Option(min=0, max=1, help="The smallest disk for this hit ratio, as in 0.95. May be repeated."),
    ] = None,
    places: From = None,
    since: Since = None,
    until: Until = None,
    chart: Chart = None,
    wish: WishFile = None,
    progress: ProgressOption = Reporting.AUTO,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """The smallest disk for a hit ratio: what least recently used first would reach on a disk of any size.

    From one pass over people's reads; of a long history a sample of the objects is followed.
    """
    if wish is not None:
        asked = wished(CurveWish, wish, {"--hit": hit, "--since": since, "--until": until})
    else:
        times = {"since": since and date_of(since, "--since"), "until": until and date_of(until, "--until")}
        asked = checked(CurveWish, **times)
    found = known(config, places)
    budget = ground(found, config).budget
    with reported(progress, quiet=as_json) as report:
        trace = recorded(found, places, asked.since, asked.until, report)
        requests = primed(trace)
        made = whatif.curve(
            requests, progress=lambda done: report("measuring distances", done, len(requests), "events")
        )
    result = _document(made, trace, budget, sorted({*WANTED, *(hit or [])}))
    draw_curve(chart, result)
    if as_json:
        print_json(result)
    else:
        _show(result, hit or [])


def _document(made: whatif.Curve, trace: Trace, budget: int, wanted: list[float]) -> Curve:
    since, until = trace.span
    sizes = made.points()
    return Curve(
        since=since, until=until, events=len(trace), sampled=made.sampled, rate=made.rate,
        hit_ratio=[(0.0, 0.0), *((float(size), made.hit_ratio(size)) for size in sizes)],
        byte_hit_ratio=[(0.0, 0.0), *((float(size), made.byte_hit_ratio(size)) for size in sizes)],
        wanted={f"{ratio:g}": made.size_for(ratio) if made.requests else None for ratio in wanted}, budget=budget,
        budget_hit_ratio=made.hit_ratio(budget) if made.requests else None, working_set=made.working_set,
    )  # fmt: skip


def _show(found: Curve, hit: list[float]) -> None:
    sample = "" if found.sampled >= found.events or found.rate >= 1 else f", {found.rate:.1%} of them followed"
    span = f"{moment(found.since)} to {moment(found.until)} UTC"
    out().print(f"{count_text(found.events, 'event')}{sample}, {span}")
    rows = [(ratio_text(float(wanted)), _disk(size)) for wanted, size in found.wanted.items()]
    console().print(filled(table(["hit ratio of reads"], ["smallest disk"]), rows))
    best = found.hit_ratio[-1][1]
    out().print(f"a disk of {bytes_text(found.working_set)} is as good as any: {ratio_text(best)}")
    now = ratio_text(found.budget_hit_ratio)
    out().print(f"the budget in force, {bytes_text(found.budget)}: {now} with least recently used first")
    for ratio in hit:
        out().print(f"smallest disk for {ratio_text(ratio)}: {_disk(found.wanted[f'{ratio:g}'])}")


def _disk(size: int | None) -> str:
    return "none reaches it" if size is None else bytes_text(size)
