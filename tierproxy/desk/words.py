"""Numbers for people."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Literal

LAST = 253_370_764_800.0  #: 9999-01-01


def bytes_text(size: float) -> str:
    """``15.2 KB``; decimal units, three significant digits."""
    for unit in ("B", "KB", "MB", "GB"):
        if abs(size) < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.4g} TB"


def ago(seconds: float) -> str:
    """``3 min``, ``2 h``: the largest unit that gives at least one."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def count_text(number: int, noun: str = "") -> str:
    """``1,204``; with a noun ``1 object``, ``1,204 objects``."""
    return f"{number:,}" + (f" {noun}{'' if number == 1 else 's'}" if noun else "")


def share_text(part: float, whole: float) -> str:
    """``12.5%``, or ``-`` of nothing."""
    return f"{100 * part / whole:.1f}%" if whole else "-"


def bar(part: float, whole: float, width: int = 20) -> str:
    """``######``: as much of ``width`` as ``part`` is of ``whole``; something is never nothing."""
    if part <= 0 or whole <= 0:
        return ""
    return "#" * max(1, round(width * min(part / whole, 1.0)))


def moment(at: float) -> str:
    """``2026-11-21 21:30`` (UTC); infinity is ``for ever``, and so is what has no date any more."""
    if at >= LAST:
        return "for ever"
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")


def for_json(at: float | None) -> float | Literal["forever"] | None:
    """A moment for JSON, which has no infinity: seconds since the epoch, ``"forever"`` or null."""
    return "forever" if at is not None and math.isinf(at) else at


def numbers(*pairs: tuple[int, str]) -> str:
    """``3 dirty, 1 pinned``: those that are not zero; ``nothing``."""
    return ", ".join(f"{count:,} {what}" for count, what in pairs if count) or "nothing"
