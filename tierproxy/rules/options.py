"""The sections of a rule file beside its rules: budget, pressure, schedule, safety, regret."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, TypeVar

from tierproxy.config.convert import nearest
from tierproxy.errors import ConfigError
from tierproxy.rules import amounts
from tierproxy.rules.model import (
    BucketBudget,
    Budget,
    Kept,
    Order,
    Pressure,
    RegretBudget,
    Safety,
    Schedule,
)
from tierproxy.rules.problems import Problems, Section

SECTIONS: Mapping[str, tuple[str, ...]] = {
    "budget": ("max_bytes", "high_water", "low_water", "hard_limit", "min_free", "min_on_disk"),
    "pressure": ("order", "kept"),
    "schedule": ("every", "windows", "timezone"),
    "safety": ("recent", "max_share"),
    "regret": ("within", "max_share", "least"),
}
"""Every section but ``[[rule]]`` and ``[budget.bucket.NAME]``, and its options."""

SHORTEST = 10.0
"""Seconds between two runs, at least."""

_E = TypeVar("_E", bound=StrEnum)


def section(raw: Mapping[str, Any], name: str, problems: Problems) -> Section:
    """The section ``name`` of the file; an empty one where it is missing or no table."""
    table = raw.get(name, {})
    if not isinstance(table, Mapping):
        header = f"[[{name}]]" if isinstance(table, list) else f"{name} = ..."
        problems.add((name,), f"{header} is not a section; write [{name}]")
        table = {}
    return Section(table, (name,), f"[{name}]", problems)


def budget(found: Section) -> Budget:
    take = found.take
    made = Budget(
        max_bytes=take("max_bytes", amounts.budget, None),
        high_water=take("high_water", _water, None),
        low_water=take("low_water", _water, None),
        hard_limit=take("hard_limit", amounts.ratio, None),
        min_free=take("min_free", amounts.least_free, None),
        min_on_disk=take("min_on_disk", amounts.duration, 0.0),
        buckets=_buckets(found),
    )
    found.close()
    return made


def pressure(found: Section) -> Pressure:
    default = Pressure()
    made = Pressure(found.take("order", one_of(Order), default.order), found.take("kept", one_of(Kept), default.kept))
    found.close()
    return made


def schedule(found: Section) -> Schedule:
    default = Schedule()
    made = Schedule(
        found.take("every", _every, default.every),
        found.take("windows", amounts.spans, default.spans),
        found.take("timezone", amounts.timezone, default.timezone),
    )
    found.close()
    return made


def safety(found: Section, keep_days: int) -> Safety:
    default = Safety()
    made = Safety(
        found.take("recent", amounts.whole_days(keep_days), default.recent_days),
        found.take("max_share", amounts.part, default.max_share),
    )
    found.close()
    return made


def regret(found: Section, keep_days: int) -> RegretBudget:
    default = RegretBudget()
    made = RegretBudget(
        found.take("within", amounts.whole_days(keep_days), default.days),
        found.take("max_share", amounts.part, default.max_share),
        found.take("least", _least, default.least),
    )
    found.close()
    return made


def one_of(kind: type[_E]) -> Callable[[Any], _E]:
    """Reads one of the words of ``kind``."""

    def read(raw: Any) -> _E:
        if not isinstance(raw, str) or raw not in tuple(kind):
            guess = nearest(str(raw), kind).replace("; there are", "; write one of")
            raise ConfigError(f"there is no {raw!r}{guess}")
        return kind(raw)

    return read


def _buckets(found: Section) -> tuple[BucketBudget, ...]:
    found.known.append("bucket")
    tables = found.raw.get("bucket", {})
    if not isinstance(tables, Mapping) or not all(isinstance(table, Mapping) for table in tables.values()):
        found.fault(
            'bucket is no table of buckets; write [budget.bucket.NAME] and max_bytes = "..." below it', "bucket"
        )
        return ()
    return tuple(one for name in tables if (one := _bucket(found, name, tables[name])) is not None)


def _bucket(found: Section, name: str, raw: Mapping[str, Any]) -> BucketBudget | None:
    table = Section(raw, (*found.path, "bucket", name), f"[budget.bucket.{name}]", found.problems)
    given = table.take("max_bytes", amounts.budget, None)
    table.close()
    if not raw:
        table.fault('max_bytes is missing; write max_bytes = "100MB"')
    return BucketBudget(name, given) if given is not None else None


def _water(raw: Any) -> float:
    given = amounts.ratio(raw)
    if not 0 < given <= 1:
        raise ConfigError(f'{raw!r} is not between 0 and 1; write a share of max_bytes, as in 0.95 or "95%"')
    return given


def _every(raw: Any) -> float:
    given = amounts.duration(raw)
    if given < SHORTEST:
        raise ConfigError(f"{raw!r} is too often; write at least {SHORTEST:g}s")
    return given


def _least(raw: Any) -> int:
    if isinstance(raw, bool) or not isinstance(raw, int) or raw < 1:
        raise ConfigError(f"{raw!r} is no number of objects; write a whole number of at least 1, as in 100")
    return raw
