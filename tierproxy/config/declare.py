"""How an option is declared: a dataclass field that carries its help."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def option(
    default: Any, meaning: str, *, reload: bool = False, secret: bool = False, least: float | None = None
) -> Any:
    """One option. ``reload``: applied without a restart. ``secret``: never shown. ``least``: the smallest value."""
    facts = {"help": meaning, "reload": reload, "secret": secret, "least": least}
    return field(default=default, metadata=facts, repr=not secret)


def required(meaning: str, *, reload: bool = False) -> Any:
    """An option without a default."""
    return field(metadata={"help": meaning, "reload": reload, "secret": False, "least": None})
