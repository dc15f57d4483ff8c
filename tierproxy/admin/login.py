"""Logging in and out: by name and password, by token, or by a code that works once."""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from tierproxy.admin.accounts import COMMAND_LINE, Account, Accounts
from tierproxy.admin.attempts import CODE_LIFETIME, Attempts, LoginCodes
from tierproxy.admin.callers import Caller, NotLoggedIn, Role, require
from tierproxy.admin.doorkeeper import ORIGIN, SESSION, cookie_name, refuse_foreign
from tierproxy.admin.origin import Origin
from tierproxy.admin.problems import Refused
from tierproxy.admin.sessions import Session, Sessions
from tierproxy.logs import event
from tierproxy.ports import Clock, Offload
from tierproxy.wire.login import Login, LoginCode, Who

log = logging.getLogger(__name__)

MOST_CHECKS = 8  #: passwords that wait to be checked; more are refused, whoever asks
ME = ("Who asks", "The caller's account, role and, in a session, the CSRF token.")


class Gate:
    """Decides who gets a session. ``threads``: one thread for passwords, which take long on purpose; its caller's."""

    def __init__(
        self, *, accounts: Accounts, sessions: Sessions, codes: LoginCodes, clock: Clock, threads: Offload
    ) -> None:
        self.accounts = accounts
        self.sessions = sessions
        self.codes = codes
        self._attempts = Attempts(clock)
        self._clock = clock
        self._threads = threads
        self._checking: set[str] = set()

    def __repr__(self) -> str:
        return f"<Gate {self.sessions!r} {self._attempts!r}>"

    def expires_at(self, session: Session) -> float:
        """Seconds since the epoch, as the clock is now."""
        return self._clock.now() + self.sessions.left(session)

    async def admit(self, wish: Login, address: str) -> Account:
        """The account of what was shown. Raises NotLoggedIn, and Refused (429) for who has to wait."""
        account = await self._shown(wish, address)
        if account is None:
            event(log, logging.WARNING, "login refused", address=address)
            raise NotLoggedIn("that is not right", hint="check the name and the password, the token, or the link's age")
        event(log, logging.INFO, "login", account=account.name, address=address)
        return account

    async def _shown(self, wish: Login, address: str) -> Account | None:
        """Codes and tokens are too long to be guessed: who has one need not wait for what others try."""
        if wish.code:
            return self.accounts.named(COMMAND_LINE) if self.codes.take(wish.code) else None
        if wish.token:
            return self.accounts.with_token(wish.token)
        return await self._with_password(wish, address)

    async def _with_password(self, wish: Login, address: str) -> Account | None:
        """One at a time from one address, a few in all: a flood of tries takes one thread, and little of its queue."""
        wait = self._attempts.wait(wish.name, address)
        if wait > 0:
            raise Refused(429, "too many tries", hint=f"try again in {max(1, round(wait))} s", retry_after=wait)
        if address in self._checking or len(self._checking) >= MOST_CHECKS:
            raise Refused(429, "a password is being checked already", retry_after=1)
        self._attempts.begin(wish.name, address)
        self._checking.add(address)
        try:
            found = await self._threads.run(self.accounts.checked, wish.name, wish.password)
        finally:
            self._checking.discard(address)
        if found is None or not self.accounts.is_current(found):
            return None
        self._attempts.succeed(wish.name, address)
        return found


def login_router(gate: Gate) -> APIRouter:
    """``/login``, ``/logout``, ``/session``, ``/login-codes``, to be mounted below /api."""
    router = APIRouter(tags=["login"])

    @router.post("/login", summary="Log in", responses={401: {"description": "Not right"}})
    async def login(wish: Login, request: Request, response: Response) -> Who:
        """A session for a browser, as a cookie."""
        origin: Origin = request.scope[ORIGIN]
        refuse_foreign(request.headers, origin, known=False)
        account = await gate.admit(wish, origin.address)
        before = gate.sessions.use(request.cookies.get(cookie_name(request.scope), ""))
        if before is not None:  # the browser is about to forget it: nobody else may go on with it
            gate.sessions.end(before)
        id, session = gate.sessions.begin(account)
        response.set_cookie(
            cookie_name(request.scope), id, path="/", secure=origin.secure, httponly=True, samesite="strict"
        )
        return _who(account, session, gate)

    @router.post("/logout", summary="Log out", status_code=204)
    async def logout(request: Request, caller: Annotated[Caller, Depends(require(Role.READ))]) -> Response:
        """The session ends; a token stays what it is."""
        response = Response(status_code=204)
        session = request.scope.get(SESSION)
        if session is not None:
            gate.sessions.end(session)
            origin: Origin = request.scope[ORIGIN]
            response.delete_cookie(
                cookie_name(request.scope), path="/", secure=origin.secure, httponly=True, samesite="strict"
            )
        return response

    @router.get("/session", summary=ME[0], description=ME[1])
    async def session(caller: Annotated[Caller, Depends(require(Role.READ))]) -> Who:
        return Who(
            name=caller.name,
            role=caller.role.value,
            via=caller.via,
            csrf=caller.csrf or None,
            expires_at=caller.expires_at,
        )

    @router.post("/login-codes", summary="A link to log in with", status_code=201)
    async def login_code(caller: Annotated[Caller, Depends(require(Role.OPERATE))]) -> LoginCode:
        """For the command line of the node's own user: what a browser opens to be logged in."""
        if caller.name != COMMAND_LINE:
            raise Refused(403, "only the command line on the node's machine makes login links")
        return LoginCode(path=login_path(gate.codes.make()), lifetime=CODE_LIFETIME)

    return router


def login_path(code: str) -> str:
    """The code is in the fragment, which a browser keeps to itself: it is in no log and no Referer."""
    return f"/login#code={code}"


def _who(account: Account, session: Session, gate: Gate) -> Who:
    return Who(
        name=account.name, role=account.role.value, via="session", csrf=session.csrf,
        expires_at=gate.expires_at(session),
    )  # fmt: skip
