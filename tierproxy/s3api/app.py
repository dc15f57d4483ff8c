"""The object port: S3 over ASGI, without a framework.

Order of a request: count it, parse it, authenticate it, find its operation, check its grants, refuse what is asked for
and not supported; only then its handler runs and only a handler reads a body. Everything a handler raises becomes an
answer here; once an answer has begun, an error can only cut it.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, MutableMapping
from itertools import count
from typing import Any

from tierproxy.config.sections import ListenSection
from tierproxy.errors import Busy, NotModified
from tierproxy.logs import event
from tierproxy.ports import Clock
from tierproxy.s3api.auth import Authenticator
from tierproxy.s3api.call import XML_TYPE, Answer, Call, Port
from tierproxy.s3api.documents import error_document
from tierproxy.s3api.exchange import Cut, Disconnected, Exchange, HeaderList, Receive, Send
from tierproxy.s3api.failures import log_failure
from tierproxy.s3api.faults import Fault, S3Error, fault_of
from tierproxy.s3api.ports import Store
from tierproxy.s3api.request import Request
from tierproxy.s3api.route import find_operation, refuse_what_is_not_done

logger = logging.getLogger("tierproxy.s3api")

HEALTH = b"/-/health"
"""Answered without authentication for container health checks; "-" cannot be a bucket's name."""

CLOSE = (b"connection", b"close")


class ObjectApp:
    """The ASGI app of the object port. ``access_log``: log one line per request. ``folder_class``: what becomes of
    x-tierproxy-folder."""

    def __init__(
        self,
        store: Store,
        authenticator: Authenticator,
        listen: ListenSection,
        clock: Clock,
        *,
        access_log: bool = False,
        folder_class: Callable[[str], str] = str,
    ) -> None:
        self._port = Port(store, listen, clock, folder_class)
        self._authenticator = authenticator
        self._clock = clock
        self._domain = listen.domain
        self._timeout = float(listen.body_timeout)
        self._limit = listen.max_concurrent_requests
        self._access_log = access_log
        self._prefix = secrets.token_hex(4).upper()
        self._numbers = count(1)
        self.running = 0  #: requests being answered now

    def __repr__(self) -> str:
        return f"<ObjectApp, {self.running} running>"

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the object port does not speak {scope['type']}")
        exchange = Exchange(scope, receive, send, self._timeout)
        if scope["raw_path"] == HEALTH and self._is_health(scope):
            await exchange.answer(200, [(b"content-type", b"text/plain"), (b"content-length", b"2")], b"ok")
            return
        began = self._clock.monotonic() if self._access_log else 0.0
        request_id = f"{self._prefix}{next(self._numbers):08X}"
        self.running += 1
        try:
            await self._serve(scope, exchange, request_id)
        finally:
            self.running -= 1
            if self._access_log:
                self._log(scope, exchange, request_id, self._clock.monotonic() - began)

    def _is_health(self, scope: MutableMapping[str, Any]) -> bool:
        """Virtual-host-style, the same path is an object of the bucket in the host's name."""
        if scope["method"] not in {"GET", "HEAD"}:
            return False
        try:
            return not Request.from_scope(scope, self._domain).virtual_host
        except S3Error:
            return True

    async def _serve(self, scope: MutableMapping[str, Any], exchange: Exchange, request_id: str) -> None:
        try:
            if self.running > self._limit:
                raise Busy("Please reduce your request rate.")
            request = Request.from_scope(scope, self._domain)
            admission = self._authenticator.admit(request)
            operation = find_operation(request)
            operation.check(request, admission.identity.grants)
            refuse_what_is_not_done(operation, request)
            answer = await operation.handler(self._port, Call(request, exchange, admission, request_id))
            if answer is not None:
                await _send(scope, exchange, answer, request_id)
        except Disconnected:
            event(logger, logging.DEBUG, "client left", id=request_id)
            exchange.cut()
        except Cut as error:
            self._cut(exchange, request_id, error)
            raise
        except Exception as error:  # noqa: BLE001  the last resort: every error becomes an answer or a cut
            await self._fail(scope, exchange, request_id, error)

    async def _fail(
        self, scope: MutableMapping[str, Any], exchange: Exchange, request_id: str, error: Exception
    ) -> None:
        fault = fault_of(error)
        if exchange.started:
            if fault.code == "InternalError":
                log_failure(error, fault, id=request_id)
            self._cut(exchange, request_id, error)
            raise Cut from error
        log_failure(error, fault, id=request_id, method=scope["method"], path=scope["raw_path"].decode("latin-1"))
        await _send(scope, exchange, _answer_of(scope, fault, request_id, error, self._port.listen.region), request_id)

    def _cut(self, exchange: Exchange, request_id: str, error: Exception) -> None:
        event(logger, logging.WARNING, "answer cut", id=request_id, sent=exchange.sent, error=error.__cause__ or error)
        exchange.cut()

    def _log(self, scope: MutableMapping[str, Any], exchange: Exchange, request_id: str, seconds: float) -> None:
        client = scope.get("client")
        event(
            logger,
            logging.INFO,
            "request",
            id=request_id,
            client=client[0] if client else "unix",
            method=scope["method"],
            path=scope["raw_path"].decode("latin-1"),
            status=exchange.status,
            sent=exchange.sent,
            ms=round(seconds * 1000, 2),
        )


async def _send(scope: MutableMapping[str, Any], exchange: Exchange, answer: Answer, request_id: str) -> None:
    """Send an answer whose body is at hand, with the headers every answer has."""
    headers = [(b"x-amz-request-id", request_id.encode()), *answer.headers]
    if answer.status not in {204, 304} and not any(name == b"content-length" for name, _ in answer.headers):
        headers.append((b"content-length", b"%d" % len(answer.body)))
    if not exchange.pulled and _awaits_continue(scope):
        # The client has not sent its body and may never send it: what comes next cannot be told apart from it.
        headers.append(CLOSE)
    await exchange.answer(answer.status, headers, b"" if scope["method"] == "HEAD" else answer.body)


def _awaits_continue(scope: MutableMapping[str, Any]) -> bool:
    return any(name == b"expect" for name, _ in scope["headers"])


def _answer_of(scope: MutableMapping[str, Any], fault: Fault, request_id: str, error: Exception, region: str) -> Answer:
    headers: HeaderList = list(fault.headers)
    if fault.code == "RequestTimeout":
        headers.append(CLOSE)
    if isinstance(error, NotModified):
        return Answer(304, headers)
    if scope["method"] == "HEAD":
        return Answer(fault.status, [*headers, XML_TYPE, (b"content-length", b"0")])
    resource = scope["raw_path"].decode("latin-1")
    return Answer(fault.status, [*headers, XML_TYPE], error_document(fault, resource, request_id, region))
