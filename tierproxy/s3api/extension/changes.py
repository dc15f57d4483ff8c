"""ListenToChanges: a line for every committed change, for as long as the client listens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any

from tierproxy.s3api.call import Call, Port
from tierproxy.s3api.exchange import Cut
from tierproxy.store.feed import Listener

NDJSON_TYPE = (b"content-type", b"application/x-ndjson")
HEARTBEAT = 5.0  #: seconds without a change before an empty line says that there was none

GOODBYE = 1.0  #: seconds a client that takes no bytes is waited for once the node stops

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


async def listen_to_changes(port: Port, call: Call) -> None:
    """``GET /<bucket>?tierproxy-changes``. Ends when the client leaves, cannot keep up, or the node stops."""
    request = call.request
    listener = port.store.listen(request.bucket, request.query.get("prefix") or "")
    try:
        async for _ in call.exchange.body():
            pass  # there is none; only behind its end the server tells that the client left
        await call.exchange.start(200, [(b"x-amz-request-id", call.id.encode()), NDJSON_TYPE])
        # What was told since ``listen`` comes after hello: nothing is lost in between.
        await call.exchange.write(_line({"hello": listener.epoch}))
        left = asyncio.ensure_future(call.exchange.left())
        try:
            await _tell(port, call, listener, left)
        finally:
            left.cancel()
            await asyncio.gather(left, return_exceptions=True)
    finally:
        listener.close()


async def _tell(port: Port, call: Call, listener: Listener, left: asyncio.Future[None]) -> None:
    exchange = call.exchange
    while True:
        woken = await _woken_within(port, listener, left)
        if left.done():
            return
        lines = b"".join(_line(change._asdict()) for change in listener.take())
        if listener.lost:
            raise Cut("the client did not keep up with the changes")
        if listener.ended:
            await _sent(port, listener, exchange.finish(lines))
            return
        if lines or not woken:
            await _sent(port, listener, exchange.write(lines or b"\n"))


async def _sent(port: Port, listener: Listener, sending: Coroutine[Any, Any, None]) -> None:
    """``sending``, which a client that takes no bytes holds up: once it is lost it is cut off, and it does not keep a
    node that stops from stopping. Raises Cut, and whatever ``sending`` raises."""
    sent = asyncio.ensure_future(sending)
    patience = asyncio.ensure_future(_patience(port, listener))
    try:
        await asyncio.wait({sent, patience}, return_when=asyncio.FIRST_COMPLETED)
        if not sent.done():
            raise Cut("the client did not keep up with the changes")
        await sent
    finally:
        sent.cancel()
        patience.cancel()
        await asyncio.gather(sent, patience, return_exceptions=True)


async def _patience(port: Port, listener: Listener) -> None:
    await listener.over()
    if not listener.lost:
        await port.clock.sleep(GOODBYE)


async def _woken_within(port: Port, listener: Listener, left: asyncio.Future[None]) -> bool:
    """Whether something was told, or the client left, within HEARTBEAT seconds."""
    woken = asyncio.ensure_future(listener.woken())
    bell = asyncio.ensure_future(port.clock.sleep(HEARTBEAT))
    try:
        await asyncio.wait({woken, bell, left}, return_when=asyncio.FIRST_COMPLETED)
        return woken.done()
    finally:
        woken.cancel()
        bell.cancel()
        await asyncio.gather(woken, bell, return_exceptions=True)


def _line(value: dict[str, Any]) -> bytes:
    return _encode(value).encode() + b"\n"
