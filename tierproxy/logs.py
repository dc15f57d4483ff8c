"""Structured logs: one event name a line, facts as fields, secrets masked in this one place."""

from __future__ import annotations

import json
import logging
import re
from contextvars import ContextVar
from typing import Any

SECRET = re.compile(r"(secret|password|token|signature|credential|authorization)", re.IGNORECASE)
SIGNED = re.compile(
    r"((?:X-Amz-Signature|X-Amz-Security-Token|X-Amz-Credential|Signature|Credential)=)[^&\s,;\"']+", re.IGNORECASE
)
MASK = "****"
ALARMS = "tierproxy.store.alarms"
TRACE_ID: ContextVar[str] = ContextVar("trace_id", default="")
"""The trace (W3C Trace Context: 32 hex digits) of the request that this task works for; "": it named none. What the
request starts in the background has it too."""


def event(logger: logging.Logger, level: int, name: str, /, **facts: Any) -> None:
    """Log ``name`` (a short constant phrase) with ``facts``; exceptions as ``error=exception``. Lines of a request that
    is part of a trace say of which (``trace_id``)."""
    if logger.isEnabledFor(level):
        if trace_id := TRACE_ID.get():
            facts["trace_id"] = trace_id
        logger.log(level, name, extra={"facts": facts})


def masked(facts: dict[str, Any]) -> dict[str, Any]:
    """``facts`` with the values of secret-looking names and of signatures in URLs replaced."""
    return {name: MASK if SECRET.search(name) else _plain(value) for name, value in facts.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, (int, float, bool)) or value is None:
        return value
    if isinstance(value, BaseException):
        value = f"{type(value).__name__}: {value}"
    return SIGNED.sub(rf"\g<1>{MASK}", str(value))


class Bounded(logging.Filter):
    """An outage makes one warning a thousand times a second. Of a phrase at or above WARNING ``BURST`` records pass in
    ``WINDOW`` seconds, and the first after that says how many did not (``suppressed``). Alarms all pass: they are not
    repeated anyway, and each of them counts."""

    BURST = 10
    WINDOW = 10.0

    def __init__(self) -> None:
        super().__init__("tierproxy")
        self._windows: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING or not super().filter(record) or record.name == ALARMS:
            return True
        key = (record.name, str(record.msg))  # event names are constant phrases: there are not many
        begun, seen = self._windows.get(key, (record.created, 0))
        if not begun <= record.created < begun + self.WINDOW:
            left_out = max(0, seen - self.BURST)
            if left_out:
                record.facts = getattr(record, "facts", {}) | {"suppressed": left_out}
            begun, seen = record.created, 0
        self._windows[key] = (begun, seen + 1)
        return seen < self.BURST


class TextFormatter(logging.Formatter):
    """``2026-01-31 12:00:00 INFO tierproxy.node: ready port=9300``"""

    def format(self, record: logging.LogRecord) -> str:
        facts = masked(getattr(record, "facts", {}))
        head = f"{self.formatTime(record, '%Y-%m-%d %H:%M:%S')} {record.levelname} {record.name}: "
        line = head + SIGNED.sub(rf"\g<1>{MASK}", record.getMessage())
        line += "".join(
            f" {name}={json.dumps(value) if isinstance(value, str) else value}" for name, value in facts.items()
        )
        return line + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, event and the facts."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": record.created,
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": SIGNED.sub(rf"\g<1>{MASK}", record.getMessage()),
            **masked(getattr(record, "facts", {})),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure(level: str, form: str) -> None:
    """Log to stderr as ``form`` ("text" or "json"); below "debug" without a flood of the same warning."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    if level != "debug":
        handler.addFilter(Bounded())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("botocore", "boto3", "urllib3", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
