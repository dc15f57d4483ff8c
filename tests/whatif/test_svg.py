"""Charts with ranges: complete, to scale, readable."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from tierproxy.whatif.svg import WIDTH, Axes, Bar, ranges

SVG = "{http://www.w3.org/2000/svg}"


def drawn(*bars: Bar) -> ET.Element:
    return ET.fromstring(ranges(Axes("Title", "About", x=lambda value: f"{value:.0f}", y=str), bars))


def test_bars_and_their_ranges_are_to_scale_and_inside() -> None:
    chart = drawn(Bar("ours & theirs", 50, 40, 100), Bar("half", 25, 25, 25))
    widths = [float(one.get("width", "")) for one in chart.iter(f"{SVG}rect") if one.get("class") != "paper"]
    assert widths[0] == 2 * widths[1]
    lines = [one for one in chart.iter(f"{SVG}line") if one.get("class") == "range"]
    ends = [float(line.get(end, "")) for line in lines for end in ("x1", "x2")]
    assert all(0 < end < WIDTH for end in ends)
    assert abs((ends[1] - ends[0]) - widths[0] * 60 / 50) < 0.2


def test_names_and_values_are_texts_of_a_size_to_read() -> None:
    chart = drawn(Bar("ours & theirs", 50, 40, 100))
    assert {"ours & theirs", "50"} <= {one.text for one in chart.iter(f"{SVG}text")}
    assert all(int(group.get("font-size", "0")) >= 14 for group in chart.iter(f"{SVG}g"))


def test_nothing_measured_is_an_empty_chart() -> None:
    assert drawn().find(f"{SVG}title") is not None
    assert drawn(Bar("nothing", 0, 0, 0)) is not None
