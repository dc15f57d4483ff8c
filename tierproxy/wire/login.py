"""Logging in at the admin port."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tierproxy.wire.base import Document, Question

RoleName = Literal["read", "operate"]


class Login(Question):
    """One of: ``name`` and ``password``; ``token``; ``code`` (of a login link)."""

    name: Annotated[str, Field(max_length=256)] = ""
    password: Annotated[str, Field(max_length=1024)] = ""
    token: Annotated[str, Field(max_length=1024)] = ""
    code: Annotated[str, Field(max_length=256)] = ""


class Who(Document):
    """``csrf``: what a page sends as ``x-csrf-token`` with every change; null for a token. ``expires_at``: when the
    session ends at the latest."""

    name: str
    role: RoleName
    via: Literal["session", "token"]
    csrf: str | None
    expires_at: float | None


class LoginCode(Document):
    """``path``: behind the port's URL; good for one login. ``lifetime``: seconds."""

    path: str
    lifetime: float
