"""Things an operator must act on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from tierproxy.logs import event

log = logging.getLogger(__name__)


class AlarmBoard:
    """``tierproxy.ports.Alarms``: each alarm is logged when it is raised and when it is cleared, not in between."""

    def __init__(self, limit: int = 1000) -> None:
        self._active: dict[tuple[str, str], dict[str, Any]] = {}
        self._limit = limit

    def __repr__(self) -> str:
        return f"<AlarmBoard {', '.join(f'{alarm} {subject}' for alarm, subject in self._active) or 'quiet'}>"

    def set(self, alarm: str, subject: str, **facts: Any) -> None:
        key = (alarm, subject)
        if key not in self._active:
            event(log, logging.ERROR, alarm, subject=subject, **facts)
            if len(self._active) >= self._limit:  # a flood of one kind must not eat the memory
                self._active.pop(next(iter(self._active)))
        self._active[key] = facts

    def clear(self, alarm: str, subject: str) -> None:
        if self._active.pop((alarm, subject), None) is not None:
            event(log, logging.INFO, "alarm cleared", alarm=alarm, subject=subject)

    def active(self) -> list[tuple[str, str]]:
        return list(self._active)

    def facts(self, alarm: str, subject: str) -> Mapping[str, Any]:
        return self._active.get((alarm, subject), {})
