"""Numbers for people."""

from __future__ import annotations


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
