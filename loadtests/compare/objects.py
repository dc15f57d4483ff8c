"""What is stored: names, and bytes that can be made again from a number, to put them in and to check answers."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

from tierproxy.testing.mails import mail

SIZE = 16 * 1024  #: of a small object
SKEW = 1.0  #: of Zipf's law: the n-th most popular mail is read 1/n times as often as the first


@lru_cache(maxsize=4096)
def small(number: int) -> bytes:
    return random.Random(number).randbytes(SIZE)


@lru_cache(maxsize=2048)
def letter(number: int) -> bytes:
    """A mail of tierproxy's generator: lognormal sizes, median about 15 KB."""
    return mail(number).content


@lru_cache(maxsize=4)
def large(number: int, size: int) -> bytes:
    return random.Random(number).randbytes(size)


@dataclass(frozen=True)
class Objects:
    """``names`` in a directory, with the content of each."""

    directory: str
    count: int
    content: Callable[[int], bytes]

    @property
    def names(self) -> list[str]:
        return [f"{self.directory}/{number}" for number in range(self.count)]

    def items(self) -> Iterator[tuple[str, bytes]]:
        return ((name, self.content(number)) for number, name in enumerate(self.names))

    def sample(self, many: int) -> list[tuple[str, bytes]]:
        """Some of them, spread over all."""
        step = max(1, self.count // many)
        return [(f"{self.directory}/{number}", self.content(number)) for number in range(0, self.count, step)]


def popular(count: int, draws: int, chance: random.Random) -> Sequence[int]:
    """``draws`` numbers below ``count`` by Zipf's law; which ones are popular is mixed."""
    order = list(range(count))
    random.Random(count).shuffle(order)
    weights = list(accumulate(1 / (rank + 1) ** SKEW for rank in range(count)))
    return chance.choices(order, cum_weights=weights, k=draws)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
