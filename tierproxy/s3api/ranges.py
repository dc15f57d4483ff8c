"""Byte ranges: the Range header (RFC 9110 14.1.2, 14.2), partNumber, and Content-Range (14.4).

As S3 does, one range is served; several at once, other units and malformed ranges are ignored, which RFC 9110 14.2
allows: the answer is then the whole object.
"""

from __future__ import annotations

import re

from tierproxy.errors import RangeUnsatisfiable
from tierproxy.model import ByteRange, Entry, RangeSpec
from tierproxy.s3api.faults import S3Error
from tierproxy.s3api.request import Request

MAX_PART_NUMBER = 10_000
_RANGE = re.compile(r"bytes[ \t]*=[ \t]*([0-9]{0,19})[ \t]*-[ \t]*([0-9]{0,19})", re.IGNORECASE)


def parse_range(text: str | None) -> RangeSpec | None:
    """``bytes=0-99``, ``bytes=100-``, ``bytes=-5`` -> RangeSpec. None: no range, or one to ignore."""
    match = None if text is None else _RANGE.fullmatch(text.strip())
    if match is None or (not match[1] and not match[2]):
        return None
    if not match[1]:
        return RangeSpec(suffix=int(match[2]))
    first = int(match[1])
    last = int(match[2]) if match[2] else None
    return None if last is not None and last < first else RangeSpec(first=first, last=last)


def resolve(spec: RangeSpec, size: int) -> ByteRange:
    """The range of an object of ``size`` bytes. Raises RangeUnsatisfiable: it begins beyond the end or is empty."""
    if spec.suffix is not None:
        start, stop = max(0, size - spec.suffix), size
    else:
        start = spec.first or 0
        stop = size if spec.last is None else min(size, spec.last + 1)
    if start >= stop:
        raise RangeUnsatisfiable(size)
    return ByteRange(start, stop)


def parse_copy_range(text: str) -> RangeSpec:
    """x-amz-copy-source-range, which must be ``bytes=first-last``. Raises S3Error InvalidArgument."""
    spec = parse_range(text)
    if spec is None or spec.first is None or spec.last is None:
        raise S3Error("InvalidArgument", "The x-amz-copy-source-range value must be of the form bytes=first-last.")
    return spec


def resolve_copy(spec: RangeSpec, size: int) -> ByteRange:
    """The range of a copy source, which must lie within it. Raises S3Error InvalidArgument."""
    if spec.last is None or spec.last >= size:
        raise S3Error("InvalidArgument", f"Range specified is not valid for source object of size: {size}")
    return resolve(spec, size)


def part_number(request: Request) -> int:
    """The query parameter partNumber, which must be there. Raises S3Error InvalidArgument."""
    if not request.query.get("partNumber"):
        raise S3Error("InvalidArgument", "partNumber is missing.")
    return request.query.number("partNumber", 0, least=1, most=MAX_PART_NUMBER)


def part_range(entry: Entry, number: int) -> ByteRange | None:
    """Part ``number`` (from 1) of an object; None is the whole object. One that was put whole has one part.

    Raises S3Error InvalidPartNumber (416).
    """
    sizes = entry.parts or (entry.size,)
    if not 1 <= number <= len(sizes) or (sizes[number - 1] == 0 and len(sizes) > 1):
        raise S3Error("InvalidPartNumber", "The requested partnumber is not satisfiable")
    if len(sizes) == 1:
        return ByteRange(0, entry.size) if entry.size else None
    start = sum(sizes[: number - 1])
    return ByteRange(start, start + sizes[number - 1])


def content_range(chosen: ByteRange, size: int) -> bytes:
    """``bytes 0-99/1234``."""
    return b"bytes %d-%d/%d" % (chosen.start, chosen.stop - 1, size)
