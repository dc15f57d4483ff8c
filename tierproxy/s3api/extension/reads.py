"""NoteReads: reads that were served from the node's files by somebody beside it (a mount)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from tierproxy.model import ObjectName
from tierproxy.s3api.body import read_document
from tierproxy.s3api.call import Answer, Call, Port
from tierproxy.s3api.extension.children import json_answer
from tierproxy.s3api.faults import S3Error
from tierproxy.s3api.request import MAX_KEY_BYTES
from tierproxy.s3api.visiting import visitor_of
from tierproxy.traffic import Delivery, Outcome, Reason, Visitor

MOST = 10_000  #: lines
MOST_TIMES = 2**32  #: reads in one line
MOST_SENT = 2**40  #: bytes in one line
LATEST = 10**11  #: seconds since the epoch
"""What is told here is added up in the catalogue's 64 bits: no few requests may fill them."""


async def note_reads(port: Port, call: Call) -> Answer:
    """``POST /<bucket>?tierproxy-reads``. Counts what the key may read, and says how many lines that were."""
    lines = (await read_document(call)).splitlines()
    bucket = call.request.bucket
    port.store.bucket(bucket)
    if len(lines) > MOST:
        raise S3Error("InvalidArgument", f"At most {MOST} lines.")
    visitor = visitor_of(port, call)
    visitors = {reason: replace(visitor, reason=reason) for reason in (None, *Reason)}
    told = [_delivery(bucket, line, visitors) for line in lines if line]
    taken = [one for one in told if call.grants.allows(bucket, one.name.key, write=False)]
    port.store.delivered_all(taken)
    return json_answer({"taken": len(taken)})


def _delivery(bucket: str, line: bytes, visitors: dict[Reason | None, Visitor]) -> Delivery:
    """Raises S3Error InvalidArgument."""
    try:
        said = json.loads(line)
        reason = Reason(said["reason"]) if said["reason"] else None
        at = float(said["at"])
        if not 0 <= at <= LATEST:
            raise ValueError(at)
        return Delivery(
            ObjectName(bucket, _text(said["key"])), visitors[reason], Outcome.DISK, _count(said["size"], 2**62),
            _named(said["owner"]), _named(said["folder"]), bool(said["ranged"]),
            max(1, _count(said["times"], MOST_TIMES)), _count(said["sent"], MOST_SENT), at,
        )  # fmt: skip
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise S3Error("InvalidArgument", "A line about a read cannot be read.") from error


def _text(value: Any) -> str:
    """What a key can be. JSON can write half a character (a lone surrogate), which no database takes."""
    if not isinstance(value, str):
        raise TypeError(value)
    if len(value.encode()) > MAX_KEY_BYTES or "\0" in value:
        raise ValueError(value)
    return value


def _named(value: Any) -> str | None:
    return None if value is None else _text(value)


def _count(value: Any, most: int) -> int:
    if type(value) is not int or not 0 <= value < most:
        raise ValueError(value)
    return value
