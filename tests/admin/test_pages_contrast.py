"""The dashboard's colours, light and dark: contrast as WCAG 2.2 defines it, and a scale that needs no hue."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from tierproxy.admin.dashboard.assets import HERE

TOKENS = re.findall(
    r"--([a-z0-9-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);", (HERE / "static/tokens.css").read_text()
)
THEMES = {"light": {name: light for name, light, _ in TOKENS}, "dark": {name: dark for name, _, dark in TOKENS}}

SURFACES = ("paper", "panel", "sunk")
WASHES = ("accent-wash", "good-wash", "warn-wash", "bad-wash")
TEXT = [
    *((ink, surface) for ink in ("ink", "ink-2", "ink-3", "accent") for surface in SURFACES),
    *((ink, surface) for ink in ("good", "warn", "bad") for surface in ("paper", "panel")),
    *((ink, wash) for ink in ("ink", "ink-2") for wash in WASHES),
    *((name, f"{name}-wash") for name in ("accent", "good", "warn", "bad")), ("accent-ink", "accent"),
    ("ink-3", "heat-0"), *(("ink", f"heat-{step}") for step in range(1, 5)), ("heat-ink-5", "heat-5"),
    *(("heat-ink", f"heat-{step}") for step in range(6, 10)),
]  # fmt: skip
MARKS = [
    *((name, "panel") for name in THEMES["light"] if name.startswith("mark-")),
    ("edge", "panel"), ("edge", "paper"), ("focus", "panel"), ("focus", "paper"),
]  # fmt: skip


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def lightness(colour: str) -> float:
    """CIE L*."""
    light = luminance(colour)
    return float(116 * light ** (1 / 3) - 16 if light > 0.008856 else 903.3 * light)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("ink", "ground"), TEXT, ids=str)
def test_text_stands_off_what_is_behind_it(theme: str, ink: str, ground: str) -> None:
    """Success criterion 1.4.3."""
    assert contrast(THEMES[theme][ink], THEMES[theme][ground]) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(("mark", "ground"), MARKS, ids=str)
def test_marks_and_borders_of_controls_stand_off_what_is_behind_them(theme: str, mark: str, ground: str) -> None:
    """Success criterion 1.4.11."""
    assert contrast(THEMES[theme][mark], THEMES[theme][ground]) >= 3


@pytest.mark.parametrize("theme", THEMES)
def test_the_heat_map_can_be_read_by_lightness_alone(theme: str) -> None:
    steps = [lightness(THEMES[theme][f"heat-{step}"]) for step in range(10)]
    differences = [(after - before) * (-1 if theme == "light" else 1) for before, after in pairwise(steps)]
    assert min(differences) > 3


def test_no_other_style_sheet_has_a_colour_of_its_own() -> None:
    for path in (HERE / "static").glob("*.css"):
        if path.name != "tokens.css":
            assert not re.findall(r"#[0-9a-fA-F]{3,8}\b(?![^{]*\{)", path.read_text()), path.name
