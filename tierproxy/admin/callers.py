"""Who asks, and what they may do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from starlette.requests import Request

from tierproxy.errors import TierproxyError

CALLER = "tierproxy.caller"  #: where the doorkeeper puts the Caller in a request's scope
NOTES = "tierproxy.notes"  #: where a router puts what the audit line shall say beside the path


class Role(StrEnum):
    """``operate`` includes ``read``."""

    READ = "read"
    OPERATE = "operate"

    def covers(self, wanted: Role) -> bool:
        return self is wanted or self is Role.OPERATE


class NotLoggedIn(TierproxyError):
    """Log in first."""

    hint = "log in at /login, or send a token: Authorization: Bearer ..."


class NotAllowed(TierproxyError):
    """This account may not do that."""


@dataclass(frozen=True, slots=True)
class Caller:
    """``via``: what the request showed. ``csrf``: what a page of this session sends as ``x-csrf-token``; empty for a
    token. ``expires_at``: when the session ends at the latest, seconds since the epoch. ``valid``: whether the session
    or the account is still there; long answers ask now and then."""

    name: str
    role: Role
    via: Literal["session", "token"]
    csrf: str = ""
    expires_at: float | None = None
    valid: Callable[[], bool] = lambda: True


def caller_of(request: Request) -> Caller:
    """Raises NotLoggedIn."""
    found = request.scope.get(CALLER)
    if not isinstance(found, Caller):
        raise NotLoggedIn
    return found


class Require:
    """A dependency: the caller, if the role is enough. Raises NotLoggedIn, NotAllowed."""

    def __init__(self, role: Role) -> None:
        self.role = role

    def __repr__(self) -> str:
        return f"<Require {self.role}>"

    async def __call__(self, request: Request) -> Caller:
        caller = caller_of(request)
        if not caller.role.covers(self.role):
            raise NotAllowed(
                f"the account {caller.name} may {caller.role}, this needs {self.role}",
                hint="log in with an account of the role operate",
            )
        return caller


_REQUIRE = {role: Require(role) for role in Role}


def require(role: Role | Literal["read", "operate"]) -> Require:
    """For ``Depends(require("operate"))``: every route of the API has one, and ``admin_app`` refuses those that have
    not."""
    return _REQUIRE[Role(role)]


def note(request: Request, **facts: object) -> None:
    """What the audit line of this request shall say beside who, method and path. No secrets."""
    request.scope.setdefault(NOTES, {}).update(facts)
