"""Structured logs: one event name a line, facts as fields, secrets masked in this one place."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

SECRET = re.compile(r"(secret|password|token|signature|credential|authorization)", re.IGNORECASE)
SIGNED = re.compile(
    r"((?:X-Amz-Signature|X-Amz-Security-Token|X-Amz-Credential|Signature|Credential)=)[^&\s,;\"']+", re.IGNORECASE
)
MASK = "****"


def event(logger: logging.Logger, level: int, name: str, /, **facts: Any) -> None:
    """Log ``name`` (a short constant phrase) with ``facts``; exceptions as ``error=exception``."""
    if logger.isEnabledFor(level):
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
    """Send every log line to stderr as ``form`` ("text" or "json")."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("botocore", "boto3", "urllib3", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
