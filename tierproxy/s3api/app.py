"""The object port: S3 over ASGI, without a framework.

Order of a request: count it, parse it, authenticate it, find its operation, check its grants, refuse what is asked for
and not supported; then, if it is its client's turn, its handler runs, and only a handler reads a body. Nothing is
waited for before the handler, so what is refused holds nothing. Everything a handler raises becomes an answer here;
once an answer has begun, an error can only cut it.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, MutableMapping
from typing import Any

from tierproxy.config.sections import ListenSection
from tierproxy.errors import NotModified
from tierproxy.logs import TRACE_ID, event
from tierproxy.ports import Clock, Spans
from tierproxy.s3api.access import access_line, spanned
from tierproxy.s3api.auth import Authenticator
from tierproxy.s3api.call import XML_TYPE, Answer, Call, Port, documents
from tierproxy.s3api.documents import error_document
from tierproxy.s3api.exchange import Cut, Disconnected, Exchange, HeaderList, Receive, Send
from tierproxy.s3api.failures import log_failure
from tierproxy.s3api.faults import Fault, S3Error, fault_of
from tierproxy.s3api.lane.ports import Served
from tierproxy.s3api.numbering import RequestIds
from tierproxy.s3api.ports import Store
from tierproxy.s3api.request import Request
from tierproxy.s3api.route import Handler, find_operation, refuse_what_is_not_done
from tierproxy.s3api.tracing import HEADER, carrier_of, trace_id_of
from tierproxy.s3api.turns import Caller, Turns
from tierproxy.shares import GUEST

logger = logging.getLogger("tierproxy.s3api")

HEALTH = b"/-/health"
"""Answered without authentication for container health checks; "-" cannot be a bucket's name."""

CLOSE = (b"connection", b"close")


class ObjectApp:
    """The ASGI app of the object port. ``access_log``: log one line per request. ``folder_class``: what becomes of
    x-tierproxy-folder. ``spans``: where requests are traced to."""

    def __init__(
        self,
        store: Store,
        authenticator: Authenticator,
        listen: ListenSection,
        clock: Clock,
        *,
        access_log: bool = False,
        folder_class: Callable[[str], str] = str,
        spans: Spans | None = None,
    ) -> None:
        self._port = Port(store, listen, clock, folder_class)
        self._authenticator = authenticator
        self._clock = clock
        self._domain = listen.domain
        self._timeout = float(listen.body_timeout)
        self._access_log = access_log
        self._spans = spans
        self._ids = RequestIds()
        self.turns = Turns(listen.max_concurrent_requests)
        self._documents = documents()
        self.running = 0  #: requests being answered now
        self.answers: defaultdict[int, int] = defaultdict(int)  #: by status code, since the start; 0: none was begun

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
        request_id = next(self._ids)
        self.running += 1
        if TRACE_ID.get():  # a pipelined request begins inside the one before
            TRACE_ID.set("")
        try:
            if self._spans is None:
                await self._serve(scope, exchange, request_id)
            else:
                await self._trace(self._spans, scope, exchange, request_id)
        finally:
            self.running -= 1
            self.answers[exchange.status] += 1
            if self._access_log:
                line = access_line(scope, exchange, self._clock.monotonic() - began)
                event(logger, logging.INFO, "request", id=request_id, **line)

    def served(self, served: Served) -> None:
        """loop. What the hit lane has answered counts as if it had been answered here."""
        for status, times in served.answers.items():
            self.answers[status] += times
        self._port.store.delivered_all(served.deliveries)

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
            request = exchange.request = Request.from_scope(scope, self._domain)
            if HEADER in request.headers:
                _follow(exchange, trace_id_of(request.headers[HEADER]))
            admission = self._authenticator.admit(request)
            exchange.access_key = admission.identity.access_key_id
            operation = find_operation(request)
            exchange.operation = operation.name
            operation.check(request, admission.identity.grants)
            refuse_what_is_not_done(operation, request)
            call = Call(request, exchange, admission, request_id, documents=self._documents)
            await self._in_turn(scope, exchange, operation.handler, call)
        except Disconnected:
            event(logger, logging.DEBUG, "client left", id=request_id)
            exchange.cut()
        except Cut as error:
            self._cut(exchange, request_id, error)
            raise
        except Exception as error:  # noqa: BLE001  the last resort: every error becomes an answer or a cut
            await self._fail(scope, exchange, request_id, error)

    async def _in_turn(
        self, scope: MutableMapping[str, Any], exchange: Exchange, handler: Handler, call: Call
    ) -> None:  # fmt: skip
        """Raises Busy and what the handler raises."""
        caller = Caller(call.client or exchange.peer, exchange)
        self.turns.take(caller)
        GUEST.set(caller)
        try:
            answer = await handler(self._port, call)
            if answer is not None:
                await _send(scope, exchange, answer, call.id)
            await exchange.settle()
        finally:
            self.turns.leave(caller)
            caller.end()

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

    async def _trace(self, spans: Spans, scope: MutableMapping[str, Any], exchange: Exchange, request_id: str) -> None:
        """``_serve`` as a span, of the client's trace if it names one."""
        with spans.request(scope["method"], carrier_of(scope["headers"])) as span:
            _follow(exchange, span.trace_id)
            try:
                await self._serve(scope, exchange, request_id)
            finally:
                line = access_line(scope, exchange, 0.0)
                span.note(exchange.operation, request_id=request_id, **spanned(line))


async def _send(scope: MutableMapping[str, Any], exchange: Exchange, answer: Answer, request_id: str) -> None:
    """Send an answer whose body is at hand, with the headers every answer has."""
    headers = [(b"x-amz-request-id", request_id.encode()), *answer.headers]
    if answer.status not in {204, 304} and not any(name == b"content-length" for name, _ in answer.headers):
        headers.append((b"content-length", b"%d" % len(answer.body)))
    if not exchange.pulled and _awaits_continue(scope):
        # The client has not sent its body and may never send it: what comes next cannot be told apart from it.
        headers.append(CLOSE)
    await exchange.answer(answer.status, headers, b"" if scope["method"] == "HEAD" else answer.body)


def _follow(exchange: Exchange, trace_id: str) -> None:
    """Lines of the log that this request causes say of which trace it is."""
    if trace_id:
        exchange.trace_id = trace_id
        TRACE_ID.set(trace_id)


def _awaits_continue(scope: MutableMapping[str, Any]) -> bool:
    return any(name == b"expect" for name, _ in scope["headers"])


def _answer_of(scope: MutableMapping[str, Any], fault: Fault, request_id: str, error: Exception, region: str) -> Answer:
    headers: HeaderList = list(fault.headers)
    if fault.code == "RequestTimeout":
        headers.append(CLOSE)
    if isinstance(error, NotModified):
        return Answer(304, headers)
    if scope["method"] == "HEAD":  # it has no body to say which of two things is not there
        code = (b"x-tierproxy-error", fault.code.encode())
        return Answer(fault.status, [*headers, code, XML_TYPE, (b"content-length", b"0")])
    resource = scope["raw_path"].decode("latin-1")
    return Answer(fault.status, [*headers, XML_TYPE], error_document(fault, resource, request_id, region))
