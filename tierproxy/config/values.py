"""Typed values: sizes ("64GiB"), durations ("30s"), shares ("5%")."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from tierproxy.errors import ConfigError

SIZES = {
    "": 1, "B": 1,
    "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40,
}  # fmt: skip
DURATIONS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_NUMBER = re.compile(r"\s*([0-9]{1,400}(?:\.[0-9]{1,400})?)\s*([A-Za-z%]*)\s*")

_SHOWN = 60  #: characters of a text that is repeated


class Size(int):
    """A number of bytes, written as ``64GiB``, ``750MB`` or a plain integer."""


class Duration(float):
    """A number of seconds, written as ``250ms``, ``30s``, ``5m``, ``12h``, ``7d``."""


@dataclass(frozen=True, slots=True)
class Share:
    """Bytes, or a percentage of something: ``20GiB`` or ``5%``. Exactly one of the two is set."""

    bytes: int | None = None
    percent: float | None = None

    def of(self, whole: int) -> int:
        """The bytes meant when the whole is ``whole`` bytes (or inodes)."""
        return self.bytes if self.bytes is not None else int(whole * (self.percent or 0.0) / 100)


def parse_size(text: str | int) -> Size:
    """``"64GiB"`` -> bytes. Raises ConfigError."""
    number, unit = _split(str(text), "size", "64GiB")
    if unit.upper() not in SIZES:
        raise ConfigError(f"{text!r} is not a size: write bytes or a unit as in 64GiB, 750MB")
    return Size(round(number * SIZES[unit.upper()]))


def parse_duration(text: str) -> Duration:
    """``"30s"`` -> seconds. Raises ConfigError."""
    number, unit = _split(str(text), "duration", "30s")
    if unit.lower() not in DURATIONS:
        raise ConfigError(f"{text!r} is not a duration: write a unit as in 250ms, 30s, 5m, 12h, 7d")
    return Duration(_float(number) * DURATIONS[unit.lower()])


def parse_share(text: str | int) -> Share:
    """``"5%"`` or a size. Raises ConfigError."""
    if isinstance(text, str) and text.strip().endswith("%"):
        number, _ = _split(text, "share", "5%")
        return Share(percent=_float(number))
    return Share(bytes=parse_size(text))


def _split(text: str, what: str, example: str) -> tuple[Fraction, str]:
    match = _NUMBER.fullmatch(text)
    if match is None:
        shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
        raise ConfigError(f"{shown!r} is not a {what}: write it as in {example}")
    return Fraction(match[1]), match[2]


def _float(number: Fraction) -> float:
    try:
        return float(number)
    except OverflowError as error:
        raise ConfigError("is more than any number can hold") from error


def show_size(size: int) -> str:
    """The shortest exact form: 67108864 -> ``64MiB``, 750000000 -> ``750MB``."""
    units = {unit: SIZES[unit.upper()] for unit in ("TiB", "GiB", "MiB", "KiB", "TB", "GB", "MB", "KB")}
    exact = (f"{size // factor}{unit}" for unit, factor in units.items() if size and size % factor == 0)
    return min(exact, key=len, default=str(int(size)))


def show_duration(seconds: float) -> str:
    """The shortest exact form: 3600.0 -> ``1h``."""
    if seconds == 0:
        return "0s"
    for unit in ("d", "h", "m", "s"):
        if seconds % DURATIONS[unit] == 0:
            return f"{int(seconds // DURATIONS[unit])}{unit}"
    return f"{round(seconds * 1000)}ms"


def show_share(share: Share) -> str:
    """``5%`` or a size."""
    return show_size(share.bytes) if share.bytes is not None else f"{share.percent:g}%"
