"""A stub as bytes: what lies in the database, and what is believed of it."""

from __future__ import annotations

import struct

import xxhash

from tierproxy.model import ObjectName, Stub

MAGIC = b"tps1"
HEADER = struct.Struct("<4sQQII")
"""Magic, generation, size of the object, length of the head, length of the tail; little-endian."""
DIGEST = struct.Struct("<Q")


def key_of(name: ObjectName) -> str:
    """One row an object, of fixed length: 32 hex digits."""
    return xxhash.xxh3_128_hexdigest(_text(name))


def encode(name: ObjectName, generation: int, stub: Stub) -> bytes:
    """Header, head, tail, and the XXH3 of the name and all of that: a row that came under another key, or lost a bit,
    is recognised."""
    body = HEADER.pack(MAGIC, generation, stub.size, len(stub.head), len(stub.tail)) + stub.head + stub.tail
    return body + DIGEST.pack(_digest(name, body))


def decode(name: ObjectName, raw: bytes) -> tuple[int, Stub] | None:
    """The generation and the stub; None: these bytes are not what ``encode`` made for ``name``."""
    if len(raw) < HEADER.size + DIGEST.size or raw[:4] != MAGIC:
        return None
    body, (digest,) = raw[: -DIGEST.size], DIGEST.unpack(raw[-DIGEST.size :])
    if _digest(name, body) != digest:
        return None
    _, generation, size, head, tail = HEADER.unpack_from(body)
    if len(body) != HEADER.size + head + tail:
        return None
    content = body[HEADER.size :]
    return generation, Stub(size, content[:head], content[head:])


def _digest(name: ObjectName, body: bytes) -> int:
    hashed = xxhash.xxh3_64(_text(name))
    hashed.update(body)
    return hashed.intdigest()


def _text(name: ObjectName) -> bytes:
    """No bucket has a slash in its name, so no two objects share a text."""
    return f"{name.bucket}/{name.key}".encode("utf-8", "surrogatepass")
