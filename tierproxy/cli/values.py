"""Typed values of options: sizes, durations, dates. What cannot be read is wrong usage."""

from __future__ import annotations

from datetime import UTC, datetime

import typer

from tierproxy.config.values import parse_duration, parse_size
from tierproxy.errors import ConfigError


def size_of(text: str, option: str) -> int:
    """``1GB`` -> bytes."""
    try:
        return parse_size(text)
    except ConfigError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def duration_of(text: str, option: str) -> float:
    """``30d`` -> seconds."""
    try:
        return parse_duration(text)
    except ConfigError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def date_of(text: str, option: str) -> float:
    """``2027-01-31`` (its beginning) or ``2027-01-31T12:00``, in UTC unless it says otherwise -> seconds since the
    epoch."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        reason = f"{text!r} is not a date: write it as in 2027-01-31 or 2027-01-31T12:00"
        raise typer.BadParameter(reason, param_hint=option) from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
