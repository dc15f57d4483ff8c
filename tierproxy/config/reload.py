"""What a reload may change while the node runs."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tierproxy.config.schema import tables
from tierproxy.config.sections import Config


@dataclass(frozen=True, slots=True)
class Reloaded:
    """``config``: the running configuration with every reloadable option from the new one. ``waiting``: options that
    differ but need a restart, as ``section.option``. Arrays count as a whole: ``bucket`` and ``key`` wait, ``account``,
    whose options are all reloadable, is taken."""

    config: Config
    changed: tuple[str, ...]
    waiting: tuple[str, ...]


def reloaded(running: Config, fresh: Config) -> Reloaded:
    """What of ``fresh`` can be in force now."""
    config = running
    changed: list[str] = []
    waiting: list[str] = []
    for table in tables():
        old, new = getattr(running, table.name), getattr(fresh, table.name)
        if table.array:
            if old != new and all(option.reload for option in table.options):
                config = replace(config, **{table.name: new})
                changed.append(table.name)
            elif old != new:
                waiting.append(table.name)
            continue
        differing = [option for option in table.options if getattr(old, option.name) != getattr(new, option.name)]
        taken = {option.name: getattr(new, option.name) for option in differing if option.reload}
        changed += [f"{table.name}.{name}" for name in taken]
        waiting += [f"{table.name}.{option.name}" for option in differing if not option.reload]
        config = replace(config, **{table.name: replace(old, **taken)})
    return Reloaded(config, tuple(changed), tuple(waiting))
