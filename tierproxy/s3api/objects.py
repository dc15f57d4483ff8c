"""GetObject, HeadObject, PutObject, DeleteObject."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from tierproxy.errors import NotModified
from tierproxy.model import ByteRange, Entry
from tierproxy.s3api.body import object_body
from tierproxy.s3api.call import Answer, Call, Port
from tierproxy.s3api.checksums import FULL_OBJECT
from tierproxy.s3api.conditions import UNCONDITIONAL, range_holds, read_conditions, write_precondition
from tierproxy.s3api.exchange import Cut, HeaderList
from tierproxy.s3api.faults import S3Error
from tierproxy.s3api.headers import (
    checksum_headers,
    object_headers,
    quoted,
    response_overrides,
    stored_headers,
    validators,
    wants_checksums,
)
from tierproxy.s3api.ranges import content_range, parse_range, part_number, part_range, resolve
from tierproxy.s3api.request import Request
from tierproxy.s3api.timing import reading_headers, tiers_header, written_headers
from tierproxy.s3api.visiting import visitor_of
from tierproxy.store.calls import Reading, Select, Write, whole

SELECTING = frozenset(
    {b"range", b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"x-amz-checksum-mode"}
)
"""Headers without which a read is plain: the whole object, unconditionally."""
ACCEPT = b"x-tierproxy-accept"


class Selection:
    """The conditions and the range of a read (``tierproxy.store.calls.Select``). Remembers the entry it was asked
    about, for the validators that a 304 must carry."""

    def __init__(self, request: Request) -> None:
        """Raises S3Error InvalidArgument, InvalidRequest."""
        self.entry: Entry | None = None
        self.part: int | None = None
        self._conditions = read_conditions(request)
        self._range = parse_range(request.header("range"))
        self._if_range = request.header("if-range")
        if "partNumber" in request.query:
            self.part = part_number(request)
            if self._range is not None:
                raise S3Error("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")

    def __call__(self, entry: Entry) -> ByteRange | None:
        self.entry = entry
        if self._conditions is not UNCONDITIONAL:
            self._conditions.check(entry.etag, entry.written_at)
        if self.part:
            return part_range(entry, self.part)
        if self._range is not None and range_holds(self._if_range, entry.etag, entry.written_at):
            return resolve(self._range, entry.size)
        return None

    def not_modified(self) -> Answer:
        """304 with what RFC 9110 15.4.5 wants in it."""
        headers = [] if self.entry is None else validators(self.entry)
        if self.entry is not None and self.entry.headers is not None and self.entry.headers.cache_control:
            headers.append((b"cache-control", self.entry.headers.cache_control.encode()))
        return Answer(304, headers)


def _is_plain(request: Request) -> bool:
    return not len(request.query) and SELECTING.isdisjoint(request.headers)


async def get_object(port: Port, call: Call) -> Answer | None:
    """GetObject."""
    request = call.request
    if _is_plain(request):
        return await _read(port, call, whole, None, {}, accepts_stub(request))
    selection = Selection(request)
    overrides = response_overrides(request, signed=True)  # auth = "none" trusts everybody with more than this
    try:
        return await _read(port, call, selection, selection, overrides, accepts_stub(request))
    except NotModified:
        return selection.not_modified()


def accepts_stub(request: Request) -> bool:
    """``x-tierproxy-accept: stub``: instead of a body that is not on disk its head and tail will do."""
    return request.headers.get(ACCEPT, b"").strip().lower() == b"stub"


async def _read(
    port: Port, call: Call, select: Select, selection: Selection | None, overrides: dict[bytes, bytes], stub: bool
) -> Answer | None:
    visitor, asked = visitor_of(port, call), port.clock.monotonic()
    reading = await port.store.open(call.request.name, select, visitor=visitor, stub=stub)
    try:
        status, described, length = _head(call.request, reading, selection, overrides)
        headers = [(b"x-amz-request-id", call.id.encode()), *described, *reading_headers(reading)]
        if reading.content is not None:
            call.begun = port.clock.monotonic()
            await call.exchange.answer(status, headers, reading.content)
        else:
            await _stream(port, call, reading, status, headers, length)
    finally:
        if call.begun is not None:  # also when it was cut off: what went out was read
            port.store.delivered(reading, visitor, call.exchange.sent, call.begun - asked)
        await reading.close()
    return None


def _head(
    request: Request, reading: Reading, selection: Selection | None, overrides: dict[bytes, bytes]
) -> tuple[int, HeaderList, int]:
    """As ``described``; of a stub the length is its own, and the object's checksums are not those of what is sent."""
    if reading.stub is None or reading.content is None:
        return described(request, reading.entry, reading.range, selection, overrides)
    return described(request, reading.entry, None, None, overrides, length=len(reading.content))


def described(
    request: Request, entry: Entry, chosen: ByteRange | None, selection: Selection | None,
    overrides: dict[bytes, bytes], *, length: int | None = None,
) -> tuple[int, HeaderList, int]:  # fmt: skip
    """Status, headers and length of an answer with (a range of) an object. What every answer has and where its bytes
    came from are not among them."""
    checksums = chosen is None and selection is not None and wants_checksums(request)
    if length is None:
        length = entry.size if chosen is None else chosen.length
    headers = [
        (b"content-length", b"%d" % length),
        *object_headers(entry, checksums=checksums, overrides=overrides),
    ]
    if selection is not None and selection.part and entry.parts:
        headers.append((b"x-amz-mp-parts-count", b"%d" % len(entry.parts)))
    if chosen is None:
        return 200, headers, length
    headers.append((b"content-range", content_range(chosen, entry.size)))
    return 206, headers, length


async def _stream(
    port: Port, call: Call, reading: Reading, status: int, headers: HeaderList, length: int
) -> None:  # fmt: skip
    """The status line waits for the first bytes: what fails before them is still an error the client can understand."""
    exchange = call.exchange
    chunks = reading.chunks()
    try:
        async for chunk in chunks:
            if not exchange.started:
                await _start(port, call, status, headers)
            await exchange.write(chunk)
            del chunk
            await exchange.taken()
        if not exchange.started:
            await _start(port, call, status, headers)
        if exchange.sent != length:
            raise Cut(f"{exchange.sent} of {length} bytes")
        await exchange.finish()
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()


async def _start(port: Port, call: Call, status: int, headers: HeaderList) -> None:
    call.begun = port.clock.monotonic()
    await call.exchange.start(status, headers)


async def head_object(port: Port, call: Call) -> Answer:
    """HeadObject: what GetObject would say, without opening anything."""
    request = call.request
    selection = Selection(request)
    overrides = response_overrides(request, signed=True)
    entry = await port.store.head(request.name, full=True)
    try:
        chosen = selection(entry)
    except NotModified:
        return selection.not_modified()
    status, headers, _ = described(request, entry, chosen, selection, overrides)
    return Answer(status, [*headers, tiers_header(entry)])


async def put_object(port: Port, call: Call) -> Answer:
    """PutObject."""
    request = call.request
    precondition, ack, headers = write_precondition(request), call.ack, stored_headers(request)
    visitor = visitor_of(port, call)
    async with object_body(call, limit=min(port.listen.max_put_size, port.listen.max_object_size)) as body:
        written = await port.store.write(
            Write(request.name, headers, body.size, body.pieces, body.check, precondition, ack, visitor)
        )
    return Answer(
        200,
        [
            (b"etag", quoted(written.entry.etag)),
            *checksum_headers(body.check.checksums(), FULL_OBJECT),
            *written_headers(written),
        ],
    )


async def delete_object(port: Port, call: Call) -> Answer:
    """DeleteObject: 204 also for a key that was not there."""
    precondition = write_precondition(call.request)
    if precondition.create:
        raise S3Error("NotImplemented", "If-None-Match has no meaning for DeleteObject.")
    await port.store.delete(call.request.name, precondition, visitor=visitor_of(port, call))
    return Answer(204)
