"""Answers that are made before they are asked for: all of a response that is the same every time."""

from __future__ import annotations

import re
from collections.abc import Iterable
from weakref import ref

from tierproxy.model import Entry, ObjectName, Tier
from tierproxy.ports import Kept, Standing
from tierproxy.s3api.headers import RawHeaders
from tierproxy.s3api.lane.ledger import Line
from tierproxy.s3api.objects import described
from tierproxy.s3api.request import Request
from tierproxy.s3api.timing import origin_headers, tiers_header

_UNSOUND = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
"""What no header's value may hold (RFC 9110 5.5). The ordinary way answers 500 to an object that has such a one."""
_NO_TOKEN = re.compile(rb'[\x00-\x20\x7f()<>@,;:\\"/\[\]?={}]')


class Prepared:
    """What is known of one object by one notation of its path.

    ``head``: header lines from Content-Length on, without those of the origin; ``memory``, ``disk``, ``held``: with
    those of a body from memory, of a body from disk (open: Server-Timing follows), of HEAD. ``link`` is the memory
    tier's, which alone decides how long the content is kept. ``readers``: access keys that are granted to read it.
    ``line``: where the last whole GET was counted, until the next batch.
    """

    __slots__ = ("disk", "entry", "head", "held", "line", "link", "memory", "name", "path", "readers", "standing")

    def __init__(self, path: bytes, standing: Standing, head: bytes) -> None:
        self.path = path
        self.standing = standing
        self.entry: Entry = standing.entry
        self.name: ObjectName = standing.entry.name
        self.head = head
        self.memory = head + lines(origin_headers(Tier.MEMORY, self.entry)) + b"\r\n"
        self.disk = head + lines(origin_headers(Tier.DISK, self.entry))
        self.held = head + lines([tiers_header(self.entry)]) + b"\r\n"
        self.link: ref[Kept] | None = None
        self.readers: set[str] = set()
        self.line: Line | None = None

    def __repr__(self) -> str:
        return f"<Prepared {self.name} generation {self.entry.generation}>"


def prepare(request: Request, standing: Standing) -> Prepared | None:
    """The answers to plain requests like ``request``. None: what is stored with the object makes no sound header."""
    _, headers, _ = described(request, standing.entry, None, None, {})
    if any(_UNSOUND.search(value) or _NO_TOKEN.search(name) for name, value in headers):
        return None
    return Prepared(request.raw_path, standing, lines(headers))


def lines(headers: RawHeaders | Iterable[tuple[bytes, bytes]]) -> bytes:
    """Headers as they are sent."""
    return b"".join([b"%b: %b\r\n" % (name.lower(), value) for name, value in headers])
