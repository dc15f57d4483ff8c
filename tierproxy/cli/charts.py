"""What replays found as a chart: an SVG file, or an HTML page with the numbers below. Neither fetches anything."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from tierproxy.cli.outcome import err
from tierproxy.cli.replayed import dollars_text, ratio_text, seconds_text
from tierproxy.cli.words import bytes_text, count_text
from tierproxy.errors import TierproxyError
from tierproxy.traffic import DAY
from tierproxy.whatif.svg import Axes, Line, Mark, bars, lines
from tierproxy.wire.whatif import Curve, Outcome

FORMS = (".svg", ".html")
STYLE = (
    ":root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;"
    "padding:0 1rem}svg{max-width:100%;height:auto}table{border-collapse:collapse}"
    "th,td{padding:.3rem .8rem;border-bottom:1px solid #8886;text-align:right}th:first-child{text-align:left}"
)


def _path(text: str | None) -> Path | None:
    if text is not None and Path(text).suffix not in FORMS:
        raise typer.BadParameter(f"write a file that ends in {' or '.join(FORMS)}")
    return None if text is None else Path(text)


Chart = Annotated[
    str | None,
    typer.Option("--chart", metavar="FILE", callback=_path, help="Draw it: FILE.svg, or FILE.html with the numbers."),
]


def draw_outcomes(chart: object, outcomes: Sequence[Outcome], title: str) -> None:
    """Hit ratios as bars; in a page the disk over time as well. ``chart``: where, None: nowhere."""
    if not isinstance(chart, Path):
        return
    pictures = [hit_ratios(outcomes, title), disk_use(outcomes)]
    if chart.suffix == ".svg":
        _write(chart, pictures[0])
    else:
        _write(chart, page("What if", pictures, _rows(outcomes)))


def draw_curve(chart: object, found: Curve) -> None:
    """Hit ratio against disk size."""
    if not isinstance(chart, Path):
        return
    rows = [("hit ratio", "smallest disk"), *(
        (ratio_text(float(wanted)), "none" if size is None else bytes_text(size))
        for wanted, size in found.wanted.items()
    )]  # fmt: skip
    picture = curve_chart(found)
    _write(chart, picture if chart.suffix == ".svg" else page("Hit ratio by disk size", [picture], rows))


def hit_ratios(outcomes: Sequence[Outcome], title: str) -> str:
    """As SVG."""
    values = [(one.name, 100 * one.hit_ratio) for one in outcomes if one.hit_ratio is not None]
    about = "; ".join(f"{name} {value:.2f}%" for name, value in values)
    axes = Axes(
        title, about or "nobody read anything",
        lambda value: f"{value:.2f}%", str, y_to=100.0,
    )  # fmt: skip
    return bars(axes, values)


def disk_use(outcomes: Sequence[Outcome]) -> str:
    """Most bytes on disk, by day, as SVG."""
    series = [Line(one.name, one.disk) for one in outcomes if one.disk]
    about = "; ".join(f"{one.name} at most {bytes_text(max(y for _, y in one.points))}" for one in series)
    axes = Axes(
        "Disk use by day", about or "no days", lambda at: datetime.fromtimestamp(at, UTC).strftime("%d %b"),
        bytes_text, "day (UTC)", "most bytes on disk", x_unit=DAY,
    )  # fmt: skip
    return lines(axes, series)


def curve_chart(found: Curve) -> str:
    """As SVG."""
    percent = [Line(name, [(size, 100 * ratio) for size, ratio in points]) for name, points in (
        ("reads", found.hit_ratio), ("bytes", found.byte_hit_ratio)
    )]  # fmt: skip
    about = "; ".join(
        f"{float(wanted):.0%} of reads: {'no disk is large enough' if size is None else bytes_text(size)}"
        for wanted, size in found.wanted.items()
    )
    axes = Axes(
        "Hit ratio by disk size (LRU)", about, bytes_text, lambda value: f"{value:g}%", "disk", "hit ratio", y_to=100.0
    )
    largest = max((size for size, _ in found.hit_ratio), default=0.0)
    marks = [Mark("now", float(found.budget))] if 0 < found.budget <= largest else []
    return lines(axes, percent, marks)


def _rows(outcomes: Iterable[Outcome]) -> list[Sequence[str]]:
    head = ("", "hit ratio", "of bytes", "misses", "regrets", "mean delay", "p99", "disk mean", "peak", "$ a month")
    return [head, *(_row(one) for one in outcomes)]


def _row(one: Outcome) -> Sequence[str]:
    own = one.alt is not None
    return (
        one.name, ratio_text(one.hit_ratio), ratio_text(one.byte_hit_ratio), count_text(one.misses),
        count_text(one.regrets) if own else "-", seconds_text(one.delay_mean), seconds_text(one.delay_p99),
        bytes_text(one.disk_mean) if own else "-", bytes_text(one.disk_peak) if own else "-", dollars_text(one.dollars),
    )  # fmt: skip


def page(title: str, pictures: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """One page that needs nothing else."""
    head, *body = rows
    cells = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in head)
    lines_ = "".join(
        f'<tr><th scope="row">{html.escape(row[0])}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in body
    )
    figures = "".join(f"<figure>{_distinct(picture, place)}</figure>" for place, picture in enumerate(pictures))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>'
        f"<h1>{html.escape(title)}</h1>{figures}<table><thead><tr>{cells}</tr></thead><tbody>{lines_}</tbody></table>"
        "</body></html>\n"
    )


def _distinct(picture: str, place: int) -> str:
    """Ids of several pictures in one page must differ."""
    for name in ("title", "about"):
        picture = picture.replace(f'id="{name}"', f'id="{name}{place}"')
    return picture.replace('"title about"', f'"title{place} about{place}"')


def _write(chart: Path, text: str) -> None:
    write_whole(chart, text)
    err().print(f"chart: {chart}", markup=False)


def write_whole(file: Path, text: str) -> None:
    """Whole or not at all. Raises TierproxyError."""
    part = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(file)
    except OSError as error:
        raise TierproxyError(f"cannot write {file}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
