"""Charts as SVG text: lines and bars, small, and complete in themselves.

Titles and descriptions are there for screen readers, texts are text. Colours are those of Okabe and Ito ("Color
Universal Design", 2008), told apart by people with any common colour vision and dark enough on white and on black; each
line has a dash pattern of its own as well, and its name at its end. ``prefers-color-scheme`` turns ink and paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 760, 380
LEFT, RIGHT, TOP, BOTTOM = 70, 150, 52, 46
TICKS = 5
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#8a6fc9", "#999999")
DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 4", "12 4", "1 4", "6 2 2 2")
LINE = 15  #: height of a line of text
GAP = 0.35  #: of a bar's place
NAMES, VALUES, ROW = 310, 90, 28  #: of bars with ranges: room for names and values, height of one

Point = tuple[float, float]
Show = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Line:
    """A series by its name."""

    name: str
    points: Sequence[Point]


@dataclass(frozen=True, slots=True)
class Mark:
    """An upright line at ``at`` with a name."""

    name: str
    at: float


@dataclass(frozen=True, slots=True)
class Bar:
    """A value, and between what it lay when it was measured several times."""

    name: str
    value: float
    least: float
    most: float
    colour: str = COLOURS[0]


@dataclass(frozen=True, slots=True)
class Axes:
    """What is shown how. ``x``, ``y``: values to texts; ``y_from``: where the axis begins, None: below the least.
    ``x_unit``: of what ticks are whole."""

    title: str
    about: str
    x: Show
    y: Show
    x_name: str = ""
    y_name: str = ""
    y_from: float | None = 0.0
    y_to: float | None = None
    x_unit: float = 1.0


def lines(axes: Axes, series: Sequence[Line], marks: Sequence[Mark] = ()) -> str:
    """A chart of lines; those without points are left out."""
    drawn = [one for one in series if one.points]
    xs = [x for one in drawn for x, _ in one.points] + [mark.at for mark in marks]
    plot = _Plot(axes, _range(xs), _heights(axes, [y for one in drawn for _, y in one.points]))
    body = [plot.grid(), *(plot.mark(mark) for mark in marks)]
    labels = _spread([plot.y(one.points[-1][1]) for one in drawn])
    for one, colour, dash, label in zip(drawn, cycle(COLOURS), cycle(DASHES), labels):
        body.append(plot.line(one, colour, dash, label))
    return _document(axes, body)


def bars(axes: Axes, values: Sequence[tuple[str, float]]) -> str:
    """Lying bars, one a name, each with its value as text. ``axes.x`` shows the values."""
    height = TOP + len(values) * 30 + 16
    least, most = _heights(axes, [value for _, value in values])
    body = []
    for place, ((name, value), colour) in enumerate(zip(values, cycle(COLOURS))):
        top = TOP + place * 30
        length = (value - least) / (most - least) * (WIDTH - 2 * RIGHT - 20)
        body.append(_text(RIGHT + 12, top + 15, name, "end"))
        body.append(
            f'<rect x="{RIGHT + 20}" y="{top}" width="{max(length, 1):.1f}" height="{30 * (1 - GAP):.0f}" '
            f'fill="{colour}"><title>{escape(name)}: {escape(axes.x(value))}</title></rect>'
        )
        body.append(_text(RIGHT + 26 + max(length, 1), top + 15, axes.x(value)))
    return _document(axes, body, height)


def ranges(axes: Axes, values: Sequence[Bar]) -> str:
    """Lying bars with room for long names and larger texts, each with a line from its least to its most."""
    longest = max((bar.most for bar in values), default=0.0) or 1.0
    scale = (WIDTH - NAMES - VALUES) / longest
    height = TOP + len(values) * ROW + 12
    return _document(axes, [_ranged(axes, bar, TOP + place * ROW, scale) for place, bar in enumerate(values)], height)


def _ranged(axes: Axes, bar: Bar, top: float, scale: float) -> str:
    middle, shown, width = top + ROW / 2 - 3, axes.x(bar.value), max(bar.value * scale, 1)
    least, most = NAMES + bar.least * scale, NAMES + bar.most * scale
    told = f"{bar.name}: {shown}, {axes.x(bar.least)} to {axes.x(bar.most)}"
    return (
        f'<g font-size="14">{_text(NAMES - 8, middle + 5, bar.name, "end")}'
        f'<rect x="{NAMES}" y="{top:.1f}" width="{width:.1f}" height="{ROW - 6}" fill="{bar.colour}">'
        f"<title>{escape(told)}</title></rect>"
        f'<line class="range" x1="{least:.1f}" x2="{most:.1f}" y1="{middle:.1f}" y2="{middle:.1f}"/>'
        f"{_text(max(NAMES + width, most) + 6, middle + 5, shown)}</g>"
    )


class _Plot:
    """Values to places."""

    def __init__(self, axes: Axes, across: Point, upward: Point) -> None:
        self._axes = axes
        self._across = across
        self._upward = upward

    def x(self, value: float) -> float:
        low, high = self._across
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        low, high = self._upward
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def grid(self) -> str:
        """Axes, ticks and their texts."""
        axes, parts = self._axes, []
        for value in _ticks(*self._upward):
            y = self.y(value)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(_text(LEFT - 8, y + 4, axes.y(value), "end"))
        for value in _ticks(*self._across, axes.x_unit):
            x = self.x(value)
            parts.append(
                f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM + 5}"/>'
            )
            parts.append(_text(x, HEIGHT - BOTTOM + 18, axes.x(value), "middle"))
        parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, axes.x_name, "middle"))
        parts.append(_text(8, TOP - 10, axes.y_name))
        return "".join(parts)

    def line(self, one: Line, colour: str, dash: str, label: float) -> str:
        path = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in one.points)
        pattern = f' stroke-dasharray="{dash}"' if dash else ""
        drawn = f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{pattern}>'
        end = self.x(one.points[-1][0])
        key = f'<line x1="{WIDTH - RIGHT + 6}" x2="{WIDTH - RIGHT + 26}" y1="{label:.1f}" y2="{label:.1f}" '
        key += f'stroke="{colour}" stroke-width="3"{pattern}/>'
        dot = f'<circle cx="{end:.1f}" cy="{self.y(one.points[-1][1]):.1f}" r="3" fill="{colour}"/>'
        return f"{drawn}<title>{escape(one.name)}</title></polyline>{dot}{key}" + _text(
            WIDTH - RIGHT + 31, label + 4, _short(one.name)
        )

    def mark(self, mark: Mark) -> str:
        x = self.x(mark.at)
        line = f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        return line + _text(x, TOP - 4, mark.name, "middle")


def _document(axes: Axes, body: Iterable[str], height: int = HEIGHT) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'role="img" aria-labelledby="title about" font-family="system-ui, sans-serif" font-size="12">'
        f'<title id="title">{escape(axes.title)}</title><desc id="about">{escape(axes.about)}</desc>'
        f"<style>{STYLE}</style>"
        f'<rect class="paper" width="{WIDTH}" height="{height}"/>'
        f'<text x="8" y="20" font-size="15" font-weight="600">{escape(axes.title)}</text>' + "".join(body) + "</svg>\n"
    )


STYLE = (
    ".paper{fill:#fff}text{fill:#1b1b1b}.grid{stroke:#d0d0d0}.mark{stroke:#1b1b1b;stroke-dasharray:3 3}"
    ".range{stroke:#1b1b1b;stroke-width:2}"
    "@media(prefers-color-scheme:dark){.paper{fill:#15181c}text{fill:#e8e8e8}.grid{stroke:#3a3f45}"
    ".mark,.range{stroke:#e8e8e8}}"
)


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>' if text else ""


def _short(name: str) -> str:
    return name if len(name) <= 18 else name[:17] + "…"


def _range(values: Sequence[float]) -> Point:
    low, high = min(values, default=0.0), max(values, default=1.0)
    return (low, high) if high > low else (low, low + 1.0)


def _heights(axes: Axes, values: Sequence[float]) -> Point:
    low, high = _range(values)
    low = low if axes.y_from is None else min(axes.y_from, low)
    high = high if axes.y_to is None else max(axes.y_to, max(values, default=0.0))
    return (low, high) if high > low else (low, low + 1.0)


def _ticks(low: float, high: float, whole: float = 1.0) -> list[float]:
    """Round values, about ``TICKS`` of them, as multiples of ``whole``."""
    rough = (high - low) / TICKS / whole
    unit = 10 ** math.floor(math.log10(rough))
    step = whole * next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * 0.999)
    if whole > 1:
        step = max(whole, math.ceil(step / whole) * whole)
    first = math.ceil(low / step - 1e-9)
    return [count * step for count in range(first, math.floor(high / step + 1e-9) + 1)]


def _spread(places: Sequence[float]) -> list[float]:
    """Heights for labels that would like to stand at ``places``, a line apart and inside the chart."""
    order = sorted(range(len(places)), key=places.__getitem__)
    found, last = [0.0] * len(places), -math.inf
    for index in order:
        last = found[index] = max(places[index], last + LINE)
    over = max(0.0, last - (HEIGHT - BOTTOM))
    return [place - over for place in found]
