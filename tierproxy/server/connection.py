"""One client connection: uvicorn's HTTP/1.1 protocol with limits on what a client may cost before it is a request.

What uvicorn's class lacks and this one adds: a limit on the request head (httptools buffers a header of any length), a
deadline for the head to arrive (a client that sends a byte a minute), a way for the app to cut the connection at once
(``tierproxy.s3api.exchange.Wire``), and silence where the app has logged already.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from urllib.parse import unquote

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from tierproxy.s3api.exchange import CONNECTION, DIRECT
from tierproxy.server.cycle import Cycle
from tierproxy.server.doubts import doubt, hides_body, without_upgrade
from tierproxy.server.taking import Parting, owed, taken

MAX_DISCARD = (
    16 * 2**20
)  #: bytes of a body nobody wants that are read and thrown away, so that the client sees the answer

HIGH_WATER = 64 * 1024  #: bytes of answers that wait for a client while more is written
MOST_PIPELINED = 64  #: requests that wait on one connection
MOST_STUCK = 512
"""Connections whose clients do not take what was written, beyond which the lane answers nobody: each of them keeps up
to 256 KiB of an answer in memory, and the ordinary way has a limit of requests at once."""

_XML = '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'


class HeadTooLarge(Exception):
    """The request line and headers exceed the limit."""


def _nothing() -> None:
    """Nobody waits for reports."""


class Connections(ServerState):
    """uvicorn's shared state, and an event that tells when the last connection is gone. ``preamble``: the lines of
    ``default_headers``, for who writes responses itself. ``report``: called before a request leaves the hit lane for
    the ordinary way, so that reads are counted in the order in which a client made them: a scan is told by it."""

    def __init__(self) -> None:
        super().__init__()
        self.empty = asyncio.Event()
        self.preamble = b""
        self.report: Callable[[], None] = _nothing
        self.stuck = 0  #: connections whose clients do not take what was written

    def stamp(self, headers: list[tuple[bytes, bytes]]) -> None:
        """What every response begins with from now on."""
        self.default_headers = headers
        self.preamble = b"".join(b"%b: %b\r\n" % header for header in headers)


class Connection(HttpToolsProtocol):
    """``max_head``: bytes of request line and headers. ``idle_timeout``: seconds for a whole head to arrive, counted
    from the connection or from the last response."""

    def __init__(
        self,
        config: Config,
        server_state: Connections,
        *,
        max_head: int,
        idle_timeout: float,
        loop: asyncio.AbstractEventLoop,
        logger: logging.Logger,
    ) -> None:
        super().__init__(config, server_state, {}, loop)
        self._all = server_state
        self.logger = logger
        self.access_log = False
        self.idle_timeout = idle_timeout
        self.timeout_keep_alive = idle_timeout  # type: ignore[assignment]  # uvicorn hands it to call_later
        self._max_head = max_head
        self._head_bytes = 0  # as the socket delivers them, of what is no body: a head, trailers, what stands at chunks
        self._line_bytes = 0  # of the head that is arriving, as the parser delivers it
        self._discarded = 0
        self._too_large = False
        self._once_more = b""  # a head that the parser is to read again, as if there were no Upgrade in it
        self._as_it_came: list[tuple[bytes, bytes]] | None = None  # the headers of that head
        self._parting: Parting | None = None
        self._taken: int | None = None  # of the last answer by the client, when its deadline came first
        self._enough = False  # requests wait on this connection: what comes now is not answered
        self._rested = 0.0  # when the last answer was complete, at first when the connection began; by the loop's clock
        self.peer_name = "unix"  #: as ``Exchange.peer``
        self.entered: Callable[[], None] = _nothing  #: told once, when it is one of all connections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.scheme == "https":  # as without TLS: there uvloop would have half a megabyte wait for each client
            transport.set_write_buffer_limits(HIGH_WATER)
        if self.client:
            self.peer_name = self.client[0]
        self._rested = self.loop.time()
        self._all.empty.clear()
        entered, self.entered = self.entered, _nothing
        entered()
        self._wait_for_head(self.loop.time() + self.idle_timeout)

    def pause_writing(self) -> None:
        if not self.flow.write_paused:
            self._all.stuck += 1
        super().pause_writing()

    def resume_writing(self) -> None:
        if self.flow.write_paused:
            self._all.stuck -= 1
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.flow.write_paused:
            self._all.stuck -= 1
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        if self._parting is not None:
            self._parting.end()
        self._let_go()
        if not self.connections:
            self._all.empty.set()

    def _let_go(self) -> None:
        """A request and its connection know each other: together they would stay until garbage is collected, with TLS
        hundreds of kilobytes each. An app that is still at it needs neither the request's place here nor its scope."""
        self.cycle = None  # type: ignore[assignment]
        self.scope = None  # type: ignore[assignment]
        self.pipeline.clear()

    def data_received(self, data: bytes) -> None:
        """Feed the parser. Bytes of an unfinished head, or of a body nobody reads, do not prolong the deadline."""
        timer = self.timeout_keep_alive_task
        self._head_bytes += len(data)
        self._unset_keepalive_if_required()
        self._feed(data)
        if self.transport.is_closing():
            return
        if self._head_bytes > self._max_head:
            self._too_large = True
            self.send_400_response("")
        elif timer is not None and self.timeout_keep_alive_task is None and self._idle():
            self._wait_for_head(timer.when())

    def _feed(self, data: bytes) -> None:
        """An Upgrade is ignored (RFC 9110 7.8): what follows is the next request. The parser stops behind the request
        that asked for one; uvicorn would drop the rest of what the socket delivered together with it."""
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserError:
                self.send_400_response("")
                return
            except httptools.HttpParserUpgrade as upgrade:
                data = self._behind(upgrade, data)

    def _behind(self, upgrade: httptools.HttpParserUpgrade, data: bytes) -> bytes:
        """What to feed after ``upgrade`` was met in ``data``."""
        again, self._once_more = self._once_more, b""
        if again:
            self.parser = httptools.HttpRequestParser(self)  # the old one is behind this request, if it is the last
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        return again + data[upgrade.args[0] :]

    def _idle(self) -> bool:
        """No request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def resting(self) -> float | None:
        """Since when nothing has been asked, by the loop's clock; None: a request is being answered. A head that is not
        whole yet is no request."""
        return self._rested if self._idle() and not self.pipeline else None

    def give_way(self) -> None:
        """End at once, for somebody else's sake. Nothing was asked; what was answered and not taken yet is cut."""
        self.transport.abort()

    def on_response_complete(self) -> None:
        self._rested = self.loop.time()
        self._taken = None
        super().on_response_complete()

    def part(self) -> None:
        """The transport may have been closed: then there is an end to it, however slowly the client takes the rest."""
        if self._parting is None and self.parser is not None and self.transport.is_closing():  # and not gone yet
            self._parting = Parting(self.transport, self.idle_timeout, self.loop)

    def close(self) -> None:
        """When the client has taken what was written."""
        self.transport.close()
        self.part()

    def eof_received(self) -> None:
        """The loop closes the transport."""
        self.loop.call_soon(self.part)

    def shutdown(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()
        self.part()

    def _wait_for_head(self, deadline: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_at(deadline, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Close; a client that does not even take the rest of its last response is cut, one that does is not."""
        transport = self.transport
        if transport.is_closing():
            return
        if not owed(transport):
            self.close()
            return
        before, self._taken = self._taken, taken(transport)
        if self._taken == before:
            transport.abort()
        else:
            self._wait_for_head(self.loop.time() + self.idle_timeout)

    # ---------------------------------------------------------------- tierproxy.s3api.exchange.Wire

    def is_closing(self) -> bool:
        return self.transport.is_closing()

    def get_write_buffer_size(self) -> int:
        return self.transport.get_write_buffer_size()

    def progress(self) -> int:
        return taken(self.transport)

    def abort(self) -> None:
        self.transport.abort()

    # ---------------------------------------------------------------- parser callbacks

    def on_message_begin(self) -> None:
        """The ASGI scope of a request is made once its head is complete."""
        self.url = b""
        self.headers = []
        self._line_bytes = 0
        self._discarded = 0

    def on_url(self, url: bytes) -> None:
        self.url += url
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        self.headers.append((name.lower(), value))

    def _count(self, size: int) -> None:
        """Raising here makes the parser stop, and ``data_received`` answer by ``send_400_response``."""
        self._line_bytes += size
        if self._line_bytes > self._max_head:
            self._too_large = True
            raise HeadTooLarge

    def on_headers_complete(self) -> None:
        """Begin to answer, or queue up behind the request before."""
        if b"#" in self.url:
            # A fragment is not part of a request (RFC 9112 3.2). uvicorn would cut it off: DELETE /a#b deleting /a.
            raise ValueError("fragment in the request target")
        if self._reads_once_more():
            return
        self._head_bytes = 0
        before, self.cycle = self.cycle, self._cycle()
        self.headers = []  # of trailers: they are no headers (RFC 9110 6.5.1), and the request's may be read later
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self._line_up(self.cycle)

    def _reads_once_more(self) -> bool:
        """An Upgrade is ignored (RFC 9110 7.8), but behind a head that asks for one the parser sees no body. Where
        there is one the same head comes again without the Upgrade, and the request is what it would have been."""
        headers, self._as_it_came = self._as_it_came, None
        if headers is not None:
            self.headers = headers
        elif self.parser.should_upgrade() and hides_body(self.parser.get_method(), self.headers):
            version = self.parser.get_http_version()
            self._once_more = without_upgrade(self.parser.get_method(), self.url, version, self.headers)
            self._as_it_came = self.headers
            return True
        return False

    def _line_up(self, cycle: Cycle) -> None:
        """Behind the requests before. One packet can hold thousands, so there is an end: behind the last that is
        answered the connection is closed, by which the client knows which were not (RFC 9112 9.3.2)."""
        if self._enough:
            return
        self.pipeline.appendleft((cycle, self.app))
        if len(self.pipeline) >= MOST_PIPELINED:
            self._enough = True
            cycle.keep_alive = False

    def _cycle(self) -> Cycle:
        """As uvicorn's ``on_headers_complete`` makes one, of the head that is complete."""
        version, method = self.parser.get_http_version(), self.parser.get_method()
        if doubtful := doubt(version, method, self.url, self.headers):
            raise ValueError(doubtful)
        target = httptools.parse_url(self.url)
        path = target.path.decode("ascii")
        extensions: dict[str, object] = {CONNECTION: self}
        self.scope = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,  # type: ignore[typeddict-item]
            "root_path": "",
            "headers": self.headers,
            "state": self.app_state.copy(),
            "method": method.decode("ascii"),
            "path": unquote(path) if "%" in path else path,
            "raw_path": target.path,
            "query_string": target.query or b"",
            "extensions": extensions,  # type: ignore[typeddict-item]
        }
        cycle = Cycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self._all.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=version != "1.0"  # RFC 9110 10.1.1
            and any(n == b"expect" and v.lower() == b"100-continue" for n, v in self.headers),
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        cycle.preamble = self._all.preamble
        cycle.ended = self.part
        extensions[DIRECT] = cycle
        return cycle

    def on_body(self, body: bytes) -> None:
        """uvicorn throws away what arrives after the response; closing instead would reset the connection before the
        client has read its answer. But not without end."""
        self._head_bytes = 0
        if self.cycle.response_complete:
            self._discarded += len(body)
            if self._discarded > MAX_DISCARD:
                self.transport.abort()
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._once_more:
            return
        self._head_bytes = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not a request. While an earlier response is on its way these bytes would become part of its
        body: then the connection is cut."""
        if not self._idle():
            self.transport.abort()
            return
        code, message = (
            "RequestHeaderSectionTooLarge",
            "Your request header section exceeds the maximum allowed size.",
        )
        if not self._too_large:
            code, message = ("BadRequest", "An error occurred when parsing the HTTP request.")
        body = _XML.format(code=code, message=message).encode()
        head = (
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/xml\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.close()


def connection_factory(
    config: Config, state: Connections, *, max_head: int, idle_timeout: float, logger: logging.Logger
) -> Callable[[], Connection]:
    """What makes every connection."""
    loop = asyncio.get_running_loop()

    def connect() -> Connection:
        return Connection(config, state, max_head=max_head, idle_timeout=idle_timeout, loop=loop, logger=logger)

    return connect
