"""DeleteObjects: up to 1000 deletes in one request, each with its own outcome."""

from __future__ import annotations

import asyncio
import logging

from tierproxy.errors import TierproxyError
from tierproxy.logs import event
from tierproxy.model import ObjectName
from tierproxy.s3api.body import read_document
from tierproxy.s3api.call import Answer, Call, Port, xml_answer
from tierproxy.s3api.documents import delete_result
from tierproxy.s3api.faults import Fault, S3Error, fault_of
from tierproxy.s3api.request import MAX_KEY_BYTES
from tierproxy.s3api.visiting import visitor_of
from tierproxy.s3api.xmlio import DeleteTarget, parse_delete
from tierproxy.store.calls import ANYTHING, Precondition

logger = logging.getLogger("tierproxy.s3api")

AT_ONCE = 32  #: deletes of one request that run side by side


async def delete_objects(port: Port, call: Call) -> Answer:
    """DeleteObjects."""
    wanted = parse_delete(await read_document(call))
    port.store.bucket(call.request.bucket)
    faults = await _delete_all(port, call, wanted.targets)
    deleted = [target.key for target, fault in zip(wanted.targets, faults, strict=True) if fault is None]
    failed = [(target.key, fault) for target, fault in zip(wanted.targets, faults, strict=True) if fault is not None]
    return xml_answer(delete_result([] if wanted.quiet else deleted, failed))


async def _delete_all(port: Port, call: Call, targets: tuple[DeleteTarget, ...]) -> list[Fault | None]:
    """The outcomes in the order of ``targets``. A key named twice is deleted twice, which is harmless."""
    found: list[Fault | None] = [None] * len(targets)
    following = iter(enumerate(targets))  # each takes the next one: a thousand keys are not as many tasks

    async def some() -> None:
        for place, target in following:
            found[place] = await _delete(port, call, target)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(AT_ONCE, len(targets))):
            group.create_task(some())
    return found


async def _delete(port: Port, call: Call, target: DeleteTarget) -> Fault | None:
    bucket = call.request.bucket
    try:
        if not call.grants.allows(bucket, target.key, write=True):
            raise S3Error("AccessDenied", "Access Denied")
        if len(target.key.encode()) > MAX_KEY_BYTES:
            raise S3Error("KeyTooLongError", "Your key is too long: 1024 bytes of UTF-8 are the limit.")
        if target.version_id not in {None, "null"}:
            raise S3Error("NotImplemented", "Versioning is not supported.")
        precondition = ANYTHING if target.etag is None else Precondition(match=target.etag)
        await port.store.delete(ObjectName(bucket, target.key), precondition, visitor=visitor_of(port, call))
    except TierproxyError as error:
        fault = fault_of(error)
        if fault.status >= 500:
            event(logger, logging.WARNING, "delete failed", id=call.id, key=target.key, error=error)
        return fault
    return None
