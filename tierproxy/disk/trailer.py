"""The file format of a blob, version 1. Integers are big-endian; a test pins the bytes.

    body     the object's bytes, at offset 0
    table    64-bit xxh3 of each 256 KiB block of the body, the last may be shorter; empty for a body of up to a block
    record   magic "tierblob", version u16, 2 zero bytes, length of the label u32, block size u32, body size u64,
             generation u64, xxh3-128 of the body, written_at f64,
             label: JSON in ASCII with bucket, key, etag, headers, parts
             xxh3-128 of the record without this digest,
             length of the record u32: the last four bytes of the file

The record is found from the end of the file and checked before anything in it is believed. The table is not read by an
open: each of its digests is checked by being compared with its block, so opening a large blob costs no more than a
small one, and an open blob holds no table in memory.
"""

from __future__ import annotations

import dataclasses
import json
import math
import struct
from dataclasses import dataclass
from typing import Any

import xxhash

from tierproxy.errors import BlobCorrupt, TooLarge
from tierproxy.model import BlobLabel, Headers, ObjectName

MAGIC = b"tierblob"
VERSION = 1
BLOCK = 256 * 1024
DIGEST = 8
"""Bytes of one digest in the table."""

_FIXED = struct.Struct(">8sHxxIIQQ16sd")
_LENGTH = struct.Struct(">I")
_END = 16 + _LENGTH.size
MAX_LABEL = 1024 * 1024
SHORTEST = _FIXED.size + len(b"{}") + _END
LONGEST = _FIXED.size + MAX_LABEL + _END
PAGE = 4096
_encode_json = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode
HEADER_NAMES = tuple(field.name for field in dataclasses.fields(Headers))


def table_length(size: int) -> int:
    """Bytes of the table behind a body of ``size`` bytes."""
    return 0 if size <= BLOCK else -(-size // BLOCK) * DIGEST


def footprint(file_size: int) -> int:
    """What a file of ``file_size`` bytes occupies: rounded up to 4 KiB."""
    return -(-file_size // PAGE) * PAGE


@dataclass(frozen=True, slots=True)
class Trailer:
    """What the record of a file says. ``file_size`` is the whole file: body, table, record."""

    label: BlobLabel
    size: int
    xxh3: bytes
    file_size: int


def encode(label: BlobLabel, size: int, xxh3: bytes, table: bytes) -> bytes:
    """Table and record behind a body of ``size`` bytes. TooLarge if the label takes more than 1 MiB."""
    text = _encode_label(label)
    if len(text) > MAX_LABEL:
        raise TooLarge(f"the metadata of {label.name} takes {len(text)} bytes; at most {MAX_LABEL} are kept")
    fixed = _FIXED.pack(MAGIC, VERSION, len(text), BLOCK, size, label.generation, xxh3, label.written_at)
    length = _LENGTH.pack(len(fixed) + len(text) + _END)
    digest = xxhash.xxh3_128_digest(fixed + text + length)
    return b"".join((table, fixed, text, digest, length))


def record_length(tail: bytes | memoryview, file_size: int) -> int:
    """Length of the record, from the last bytes of a file. Raises BlobCorrupt if it cannot be one."""
    if len(tail) < _LENGTH.size or file_size < SHORTEST:
        raise BlobCorrupt(f"the file has {file_size} bytes, too few for a trailer")
    (length,) = _LENGTH.unpack(tail[-_LENGTH.size :])
    if not SHORTEST <= length <= min(LONGEST, file_size):
        raise BlobCorrupt("the file does not end in a trailer")
    return int(length)


def decode(record: bytes | memoryview, file_size: int) -> Trailer:
    """Check and read ``record``, the last bytes of a file of ``file_size`` bytes. Raises BlobCorrupt, nothing else."""
    _check_digest(record)
    magic, version, label_length, block, size, generation, xxh3, written_at = _FIXED.unpack_from(record)
    if magic != MAGIC or version != VERSION or block != BLOCK:
        raise BlobCorrupt("the trailer is not of a format this version reads")
    if label_length != len(record) - _FIXED.size - _END:
        raise BlobCorrupt("the trailer contradicts itself")
    if file_size != size + table_length(size) + len(record):
        raise BlobCorrupt(f"the file has {file_size} bytes, which does not fit a body of {size}")
    if not math.isfinite(written_at):
        raise BlobCorrupt("the trailer's time is not one")
    label = _decode_label(bytes(record[_FIXED.size : -_END]), generation, written_at)
    return Trailer(label, size, xxh3, file_size)


def _check_digest(record: bytes | memoryview) -> None:
    if not SHORTEST <= len(record) <= LONGEST:
        raise BlobCorrupt("the trailer has an impossible length")
    digest = xxhash.xxh3_128(record[:-_END])
    digest.update(record[-_LENGTH.size :])
    if digest.digest() != bytes(record[-_END : -_LENGTH.size]):
        raise BlobCorrupt("the trailer is damaged")


def _encode_label(label: BlobLabel) -> bytes:
    said = {name: getattr(label.headers, name) for name in HEADER_NAMES}
    headers = {name: value for name, value in said.items() if value is not None and value != {}}
    fields = {
        "bucket": label.name.bucket,
        "key": label.name.key,
        "etag": label.etag,
        "headers": headers,
        "parts": label.parts,
    }
    return _encode_json(fields).encode("ascii")


def _decode_label(text: bytes, generation: int, written_at: float) -> BlobLabel:
    try:
        fields = json.loads(text)
        name = ObjectName(_text(fields["bucket"]), _text(fields["key"]))
        parts = tuple(_count(part) for part in _list(fields["parts"]))
        return BlobLabel(name, generation, _text(fields["etag"]), _headers(fields["headers"]), written_at, parts)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BlobCorrupt("the trailer's label cannot be read") from error


def _headers(value: Any) -> Headers:
    fields = _object(value)
    for name, field in fields.items():
        for text in _object(field).values() if name in ("metadata", "checksums") else (field,):
            _text(text)
    return Headers(**fields)


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(value)
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(value)
    return value


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(value)
    return value
