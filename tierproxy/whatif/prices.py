"""The price sheet ``config/prices.toml``: what alt and the disk cost, dated, with its sources."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from typing import Any

from tierproxy.config.convert import nearest
from tierproxy.config.lines import line_numbers
from tierproxy.errors import ConfigError

HINT = "config/prices.toml of the sources is a complete sheet; docs/whatif.md explains it"
MOST = 1_000_000.0  #: dollars: more is a slip of the keyboard


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars: ``get``, ``put``, ``list``, ``delete``, ``head`` for 1,000 requests; ``alt_gb_month`` and
    ``disk_gb_month`` for 10^9 bytes kept a month (the sources say GB); ``egress_gb`` for 10^9 bytes out of alt.
    ``as_of`` and ``sources`` say what they are good for."""

    as_of: date
    sources: tuple[str, ...]
    get: float
    put: float
    list: float
    delete: float
    head: float
    alt_gb_month: float
    disk_gb_month: float
    egress_gb: float


SECTIONS = {"sheet": ("as_of", "sources"), "requests": ("get", "put", "list", "delete", "head"),
            "alt": ("gb_month", "egress_gb"), "disk": ("gb_month",)}  # fmt: skip
"""Every option, by section."""

_FIELDS = {("alt", "gb_month"): "alt_gb_month", ("disk", "gb_month"): "disk_gb_month"}


def parse(text: str, *, file: str = "prices.toml") -> Prices:
    """The sheet in ``text``. Raises ConfigError with one line for each problem: ``FILE line N: what is wrong; what to
    write``."""
    raw = _toml(text, file)
    sheet = _Sheet(raw, file, line_numbers(text))
    values = {
        _FIELDS.get((section, name), name): sheet.take(section, name)
        for section, names in SECTIONS.items()
        for name in names
    }
    sheet.refuse_strangers()
    if sheet.found:
        raise ConfigError("\n".join(text for _, text in sorted(sheet.found)), hint=HINT)
    assert set(values) == {one.name for one in fields(Prices)}
    return Prices(**values)


def _toml(text: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        where = re.search(r"line (\d+)", str(error))
        line = f" line {where[1]}" if where else ""
        what = re.sub(r" \(at .*\)", "", str(error))
        raise ConfigError(f"{file}{line}: this is not TOML: {what}; write option = value", hint=HINT) from error


class _Sheet:
    """Reads options; ``found``: (line, what is wrong)."""

    def __init__(self, raw: Mapping[str, Any], file: str, lines: Mapping[tuple[str | int, ...], int]) -> None:
        self._raw = raw
        self._file = file
        self._lines = lines
        self.found: list[tuple[int, str]] = []

    def take(self, section: str, name: str) -> Any:
        table = self._raw.get(section, {})
        if not isinstance(table, Mapping) or name not in table:
            return self._fault((section,), f"{name} is missing; write it below [{section}]")
        value = table[name]
        problem = _PROBLEMS.get(name, _price)(value)
        if problem:
            return self._fault((section, name), f"{name}: {problem}")
        return tuple(value) if name == "sources" else value if name == "as_of" else float(value)

    def refuse_strangers(self) -> None:
        for section, table in self._raw.items():
            if section not in SECTIONS:
                self._fault((section,), f"there is no section {section}{nearest(section, SECTIONS)}")
                continue
            for name in table if isinstance(table, Mapping) else ():
                if name not in SECTIONS[section]:
                    self._fault((section, name), f"there is no option {name}{nearest(name, SECTIONS[section])}")

    def _fault(self, path: tuple[str | int, ...], text: str) -> None:
        line = self._lines.get(path, 0)
        self.found.append((line, f"{self._file} line {line}: {text}" if line else f"{self._file}: {text}"))


def _price(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return f"{value!r} is no price; write dollars as a number, as in 0.005"
    if not 0 <= value <= MOST:  # NaN too
        return f"{value!r} is no price; write dollars from 0 to {MOST:,.0f}"
    return ""


def _day(value: Any) -> str:
    if type(value) is date:
        return ""
    return f"{value!r} is no date; write the day the prices were looked up, without quotes, as in 2025-06-01"


def _texts(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return ""
    return 'say where the prices are from, as in ["https://aws.amazon.com/s3/pricing/"]'


_PROBLEMS = {"as_of": _day, "sources": _texts}
