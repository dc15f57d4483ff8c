"""Bytes that are made again from a few: every write has its own, and nobody keeps them."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass

from tierproxy.testing.mails import mail

MODELS = 40
LARGEST = 300_000  #: bytes of a mail; what is larger is made here
LARGER = (2_700_000, 6_000_000)
LONG = 1_300_000  #: longer than what is kept in memory before it is a file


@dataclass(frozen=True, slots=True)
class Written:
    """What was sent with one write. ``etag``: S3's for a plain PUT of it; empty for other ways."""

    digest: str
    size: int
    first_line: bytes
    model: int
    etag: str = ""


class Contents:
    """``make`` new content, ``again`` what was made."""

    def __init__(self, seed: int, *, large: bool = False) -> None:
        """``large``: every sixth is longer than what is kept in memory, some by much."""
        mails = (mail(number, seed).content for number in range(MODELS))
        self._models = [content for content in mails if len(content) <= LARGEST]
        sizes = (LONG, *LARGER) if large else (LONG,)
        self._mails = len(self._models)
        self._models += [random.Random(f"{seed}/{size}").randbytes(size) for size in sizes]
        self._longs = 1 / 6 if large else 1 / 30

    def make(self, chance: random.Random, line: str) -> tuple[Written, bytes]:
        """``line`` makes it unlike anything before. A long one comes once in thirty times."""
        return self._made(self._long(chance) if chance.random() < self._longs else chance.randrange(self._mails), line)

    def make_long(self, chance: random.Random, line: str) -> tuple[Written, bytes]:
        """Longer than what is kept in memory."""
        return self._made(self._long(chance), line)

    def _long(self, chance: random.Random) -> int:
        return chance.randrange(self._mails, len(self._models))

    def _made(self, model: int, line: str) -> tuple[Written, bytes]:
        first_line = f"X-Torture: {line}\r\n".encode()
        content = first_line + self._models[model]
        written = Written(
            hashlib.sha256(content).hexdigest(), len(content), first_line, model, hashlib.md5(content).hexdigest()
        )
        return written, content

    def again(self, written: Written) -> bytes:
        return written.first_line + self._models[written.model]
