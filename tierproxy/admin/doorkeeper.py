"""Everything that is decided before a request reaches a router, and what every answer carries.

The order matters: who is not let in costs nothing. Host and proxy first (a page of another site learns nothing), then
how many at once, then who it is, then whether a browser was made to ask by another site (CSRF), then the body's size.
A path that is not public needs a login whatever its router forgot.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response

from tierproxy.admin import problems
from tierproxy.admin.accounts import Account, Accounts
from tierproxy.admin.callers import CALLER, NOTES, Caller, NotAllowed, NotLoggedIn
from tierproxy.admin.origin import Origin, Origins
from tierproxy.admin.problems import Refused
from tierproxy.admin.sessions import Session, Sessions
from tierproxy.errors import Busy, TierproxyError
from tierproxy.logs import event
from tierproxy.ports import Clock

log = logging.getLogger(__name__)

ORIGIN = "tierproxy.origin"  #: where the Origin is in a request's scope
SESSION = "tierproxy.session"  #: and the Session, if the caller has one
STREAMING = "tierproxy.streaming"  #: called by an answer that goes on for long: it no longer counts as a request

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
QUESTIONS = frozenset({"/api/rules/check", "/api/rules/diff"})  #: POST, for a text fits into no URL; nothing changes
MAX_BODY = 2**20  #: bytes; a rule file is far smaller
AT_ONCE = 32  #: requests that are being answered, event streams excepted
STRANGERS = 16  #: of them without a login
PATIENCE = 30.0  #: real seconds for a client to send a whole body, or to take a piece of an answer

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""No host but this one, no script that is not a file of ours. Styles inline: plotly writes its own."""

HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Doorkeeper:
    """ASGI middleware. ``public``: whether a path needs no login."""

    def __init__(
        self, app: App, *, origins: Origins, accounts: Accounts, sessions: Sessions, public: Callable[[str], bool],
        clock: Clock,
    ) -> None:  # fmt: skip
        self._app = app
        self._origins = origins
        self._accounts = accounts
        self._sessions = sessions
        self._public = public
        self._clock = clock
        self._busy = 0
        self._strangers = 0

    def __repr__(self) -> str:
        return f"<Doorkeeper {self._busy} requests>"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        answer = _Answer(scope, send)
        try:
            with self._counted(scope):
                refusal = self._judge(scope)
                if refusal is not None:
                    await refusal(scope, receive, answer.send)
                else:
                    await self._pass(scope, receive, answer.send)
        except TierproxyError as error:
            await _fail(problems.answer_to(error), scope, receive, answer)
        except (TimeoutError, ConnectionError):
            answer.status = answer.status or 408  # the client stopped taking or sending; uvicorn cuts the connection
        except Exception as error:  # noqa: BLE001  a defect in one router must not end others' connections
            event(log, logging.ERROR, "admin request broke", path=scope["path"], error=error)
            await _fail(problems.internal_error(), scope, receive, answer)
        finally:
            _audit(scope, answer.status)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        strange = CALLER not in scope
        self._strangers += strange
        try:
            await self._app(scope, _Body(receive), send)
        finally:
            self._strangers -= strange

    @contextlib.contextmanager
    def _counted(self, scope: Scope) -> Iterator[None]:
        if self._busy >= AT_ONCE:
            raise Busy("the admin port answers too many requests already", hint="try again in a moment")
        self._busy += 1
        counted = True

        def leave() -> None:
            nonlocal counted
            self._busy -= counted
            counted = False

        scope[STREAMING] = leave
        try:
            yield
        finally:
            leave()

    # ---------------------------------------------------------------- who

    def _judge(self, scope: Scope) -> Response | None:
        """None: the request may go on. Raises what it is refused with."""
        scope[ORIGIN] = origin = self._origins.of(scope)
        headers = Headers(raw=scope["headers"])
        _refuse_large(headers)
        if self._public(scope["path"]):
            if self._strangers >= STRANGERS:
                raise Busy("too many log in at once", hint="try again in a moment")
            return None
        caller = self._caller(scope, headers, origin)
        if caller is None:
            return _to_login(scope, headers)
        scope[CALLER] = caller
        return None

    def _caller(self, scope: Scope, headers: Headers, origin: Origin) -> Caller | None:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            account = self._accounts.with_token(token.strip())
            if account is None:
                raise NotLoggedIn("the token is not valid")
            return Caller(account.name, account.role, "token", valid=lambda: self._accounts.is_current(account))
        cookie = HTTPConnection(scope).cookies.get(cookie_name(scope))
        session = self._sessions.use(cookie) if cookie else None
        if session is None or not self._accounts.is_current(session.account):
            return None
        if scope["method"] not in SAFE:
            refuse_foreign(headers, origin)
            _refuse_without_token(headers, session)
        scope[SESSION] = session
        return self._of_session(session)

    def _of_session(self, session: Session) -> Caller:
        account: Account = session.account
        return Caller(
            account.name, account.role, "session", session.csrf, self._clock.now() + self._sessions.left(session),
            lambda: self._sessions.is_open(session) and self._accounts.is_current(account),
        )  # fmt: skip


def cookie_name(scope: Scope) -> str:
    """With ``__Host-`` under TLS: no other host, and no page without TLS, can set it (RFC 6265bis). Cookies do not know
    ports, so that of the plain port is in the name: two nodes on one machine would log each other out."""
    origin: Origin = scope[ORIGIN]
    return "__Host-tierproxy" if origin.secure else f"tierproxy-{(scope.get('server') or ('', 0))[1]}"


def refuse_foreign(headers: Headers, origin: Origin, *, known: bool = True) -> None:
    """A request that a page of another site has made. ``known``: the browser must say where it comes from. Raises
    NotAllowed."""
    site, source = headers.get("sec-fetch-site"), headers.get("origin")
    if site not in {None, "same-origin", "none"} or (source is not None and source.lower() != origin.text):
        hint = "open this port's own pages; a reverse proxy has to pass on the browser's name and port for it"
        raise NotAllowed("the request was made by another site's page", hint=hint)
    if known and site is None and source is None:
        raise NotAllowed("the request has neither Origin nor Sec-Fetch-Site", hint="programs send a token instead")


def _refuse_without_token(headers: Headers, session: Session) -> None:
    if not hmac.compare_digest(headers.get("x-csrf-token", "").encode(), session.csrf.encode()):
        raise NotAllowed("x-csrf-token is missing or wrong", hint="GET /api/session has the right one")


def _refuse_large(headers: Headers) -> None:
    length = headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit() or int(length) > MAX_BODY:
        raise Refused(413, f"a body has at most {MAX_BODY} bytes")


def _to_login(scope: Scope, headers: Headers) -> Response:
    """A browser that wants a page goes to the login; anything else hears 401."""
    page = (
        scope["method"] == "GET" and "text/html" in headers.get("accept", "") and not scope["path"].startswith("/api")
    )
    if not page:
        raise NotLoggedIn
    return RedirectResponse(f"/login?next={quote(scope['path'])}", 303)


class _Body:
    """The request's body, bounded in bytes and in time."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._deadline = asyncio.get_running_loop().time() + PATIENCE
        self._size = 0
        self._complete = False

    async def __call__(self) -> Message:
        if self._complete:  # what comes now is the client's leaving: that may take as long as it likes
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError as error:
            raise HTTPException(408) from error
        self._size += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        if self._size > MAX_BODY:
            raise HTTPException(413)  # FastAPI makes a 400 of anything else that happens while it reads a body
        return message


class _Answer:
    """The response: its headers, its status for the audit, and patience with who takes it."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self.status = 0  #: 0: not begun

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._add_headers(MutableHeaders(raw=message["headers"]))
        async with asyncio.timeout(PATIENCE):
            await self._send(message)

    def _add_headers(self, headers: MutableHeaders) -> None:
        for name, value in HEADERS.items():
            headers.setdefault(name, value)
        headers.setdefault("cache-control", "no-store")
        origin = self._scope.get(ORIGIN)
        if origin is not None and origin.secure:
            headers.setdefault("strict-transport-security", "max-age=31536000")


async def _fail(response: Response, scope: Scope, receive: Receive, answer: _Answer) -> None:
    """An answer that has begun cannot be another: uvicorn cuts it."""
    if answer.status == 0:
        with contextlib.suppress(TimeoutError, ConnectionError):
            await response(scope, receive, answer.send)


def _audit(scope: Scope, status: int) -> None:
    """One line for each change that was asked for through the API by somebody who is known."""
    caller = scope.get(CALLER)
    if caller is None or scope["method"] in SAFE or not scope["path"].startswith("/api/") or scope["path"] in QUESTIONS:
        return
    origin: Origin = scope[ORIGIN]
    event(
        log, logging.INFO, "admin change", account=caller.name, method=scope["method"], path=scope["path"],
        status=status, address=origin.address, via=caller.via, **scope.get(NOTES, {}),
    )  # fmt: skip
