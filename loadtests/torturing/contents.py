"""Bytes that are made again from a few: every write has its own, and nobody keeps them."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass

from tierproxy.testing.mails import mail

MODELS = 40
LARGEST = 300_000  #: bytes of a mail; what is larger is made here
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

    def __init__(self, seed: int) -> None:
        mails = (mail(number, seed).content for number in range(MODELS))
        self._models = [content for content in mails if len(content) <= LARGEST]
        self._models.append(random.Random(seed).randbytes(LONG))

    def make(self, chance: random.Random, line: str) -> tuple[Written, bytes]:
        """``line`` makes it unlike anything before. A long one comes once in thirty times."""
        last = len(self._models) - 1
        model = last if chance.random() < 1 / 30 else chance.randrange(last)
        first_line = f"X-Torture: {line}\r\n".encode()
        content = first_line + self._models[model]
        written = Written(
            hashlib.sha256(content).hexdigest(), len(content), first_line, model, hashlib.md5(content).hexdigest()
        )
        return written, content

    def again(self, written: Written) -> bytes:
        return written.first_line + self._models[written.model]
