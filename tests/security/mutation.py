"""Inputs made of inputs: what a fuzzer does between two looks."""

from __future__ import annotations

import random
from collections.abc import Sequence

LONGEST = 20_000
SCRAPS: tuple[bytes, ...] = (
    b"\0", b"\r\n", b"\n", b"\r", b"%", b"%00", b"%2e%2e/", b"../", b"//", b"\xff", b"\xc0\x80", b"\xed\xa0\x80",
    "\u202e".encode(), "e\u0301".encode(), b"&", b"<", b">", b"]]>", b"<!DOCTYPE a>", b"<!ENTITY a 'a'>", b"&a;",
    b"&#x1;", b"&#xD800;", b"<?xml version='1.0' encoding='utf-7'?>", b'"', b"'", b"=", b"?", b";", b",", b":", b"#",
    b"[[", b"]]", b"{", b"}", b'"""', b"\\", b"\\u0000", b"\\ud800", b"9" * 25, b"-1", b"0", b"1e400", b"NaN", b"nan",
    b"0x", b"_", b"=?utf-8?B?", b"?=", b"=?x?Q?=", b"\x01\x02", b"\n\x01\x03\n", b"\x1f\x8b\x08", b" ", b"\t", b"*",
)  # fmt: skip


def mutated(pool: Sequence[bytes], chance: random.Random) -> bytes:
    """One of ``pool``, changed in a few places."""
    data = chance.choice(pool)
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        data = _once(data, pool, chance)
    return data[:LONGEST]


def _once(data: bytes, pool: Sequence[bytes], chance: random.Random) -> bytes:
    at = chance.randint(0, len(data))
    upto = min(len(data), at + chance.choice((0, 1, 1, 4, 40)))
    kind = chance.randrange(6)
    if kind == 0:
        return data[:at] + chance.choice(SCRAPS) + data[upto:]
    if kind == 1 and data:
        place = chance.randrange(len(data))
        return data[:place] + bytes([data[place] ^ 1 << chance.randrange(8)]) + data[place + 1 :]
    if kind == 2:
        return data[:at] + data[at:upto] * chance.choice((2, 3, 50)) + data[upto:]
    if kind == 3:
        other = chance.choice(pool)
        return data[:at] + other[chance.randint(0, len(other)) :]
    if kind == 4:
        return data[:at] + data[upto:]
    return data[:at] + chance.randbytes(chance.randint(1, 6)) + data[upto:]
