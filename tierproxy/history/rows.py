"""A line of history as plain values, in the order in which journals and segments keep them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import xxhash

from tierproxy.model import ObjectName
from tierproxy.traffic import Event, EventKind

GIVEN = (
    "at", "kind", "bucket", "key", "owner", "folder", "size", "sent", "outcome", "reason", "client", "by", "first",
)  # fmt: skip
"""The columns of a row as it is given; ``object`` follows from bucket and key."""

MICROSECONDS = 1_000_000

Row = tuple[int, str, str, str, str, str, int, int, str, str, str, str, bool]
"""The values of ``GIVEN``; ``at`` in microseconds since the epoch."""


def row_of(event: Event) -> Row:
    """``event`` as the values of ``GIVEN``."""
    return (
        round(event.at * MICROSECONDS), event.kind.value, event.name.bucket, event.name.key, event.owner, event.folder,
        event.size, event.sent, str(event.outcome), str(event.reason), event.client, event.by, event.first,
    )  # fmt: skip


def event_of(row: Sequence[Any]) -> Event:
    """The event of which ``row_of`` made ``row``."""
    at, kind, bucket, key, *rest = row
    return Event(at / MICROSECONDS, EventKind(kind), ObjectName(bucket, key), *rest)


def object_id(bucket: str, key: str) -> int:
    """The number of an object in history, 64 bits."""
    return xxhash.xxh3_64_intdigest(f"{bucket}/{key}".encode(errors="replace"))
