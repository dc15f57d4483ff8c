"""Answers to work that may take minutes (CompleteMultipartUpload, CopyObject of large objects).

As S3 does: when the outcome is not there after ten seconds, the answer begins with 200 and the XML prolog, a space
keeps the connection alive every ten seconds, and the outcome follows in the body, an ``<Error>`` included. Clients of
these two operations look for it there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from tierproxy.s3api.call import XML_TYPE, Answer, Call, Port
from tierproxy.s3api.documents import PROLOG, error_document
from tierproxy.s3api.exchange import Cut, Disconnected
from tierproxy.s3api.failures import log_failure
from tierproxy.s3api.faults import fault_of

INTERVAL = 10.0  #: seconds


async def answer_patiently(port: Port, call: Call, work: Coroutine[Any, Any, Answer]) -> Answer | None:
    """The answer of ``work`` if it comes in time; None if it was sent here. The work ends even if the client leaves."""
    task = asyncio.create_task(work)
    try:
        if await _done_within(port, task) or not call.exchange.streams:
            return await task
        try:
            await _keep_alive(port, call, task)
        except (Disconnected, Cut):
            await asyncio.wait({task})
            raise
        return None
    finally:
        if not task.done():
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _keep_alive(port: Port, call: Call, task: asyncio.Task[Answer]) -> None:
    exchange = call.exchange
    await exchange.start(200, [(b"x-amz-request-id", call.id.encode()), XML_TYPE])
    await exchange.write(PROLOG)
    while not await _done_within(port, task):
        await exchange.write(b" ")
    await exchange.finish(_outcome(call, task).removeprefix(PROLOG))


def _outcome(call: Call, task: asyncio.Task[Answer]) -> bytes:
    error = task.exception()
    if error is None:
        return task.result().body
    fault = fault_of(error)
    resource = call.request.raw_path.decode("latin-1")
    if isinstance(error, Exception):
        log_failure(error, fault, id=call.id, method=call.request.method, path=resource)
    return error_document(fault, resource, call.id)


async def _done_within(port: Port, task: asyncio.Task[Answer]) -> bool:
    """Whether the work was done INTERVAL seconds from now, by the port's clock."""
    bell = asyncio.ensure_future(port.clock.sleep(INTERVAL))
    try:
        await asyncio.wait({task, bell}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        bell.cancel()
        await asyncio.gather(bell, return_exceptions=True)
    return task.done()
