"""Mails through the object port: delivered, read, read again, and compared byte for byte every time."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TypeVar

from tierproxy.cli.client import Door, ObjectClient
from tierproxy.cli.demo.home import BUCKET, Delivered
from tierproxy.errors import TierproxyError
from tierproxy.model import ObjectName
from tierproxy.offload import ThreadPool
from tierproxy.ports import Clock
from tierproxy.testing.mails import mail

CLIENTS = 4
T = TypeVar("T")


@dataclass
class Phase:
    """What happened in one phase. ``tiers`` counts where reads came from, ``alt`` the requests alt saw by class."""

    name: str
    tiers: Counter[str] = field(default_factory=Counter)
    alt: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    bytes: int = 0
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)

    @property
    def mean_milliseconds(self) -> float:
        """Time to the last byte, as a client sees it."""
        return self.seconds / self.requests * 1000 if self.requests else 0.0


class Player:
    """Plays phases with a few clients at once, each a thread with a connection of its own. ``stop`` is asked between
    two mails."""

    def __init__(self, door: Door, threads: ThreadPool, clock: Clock, stop: Callable[[], bool]) -> None:
        self._door = door
        self._threads = threads
        self._clock = clock
        self._stop = stop
        self._lock = threading.Lock()

    async def deliver(
        self, numbers: Sequence[int], remember: Callable[[Delivered], None], advance: Callable[[], None]
    ) -> Phase:
        """PUT the mails of ``numbers``; each acknowledged one is remembered."""

        def put(client: ObjectClient, number: int, phase: Phase) -> None:
            made = mail(number)
            begun = self._clock.monotonic()
            answer = client.put(
                ObjectName(BUCKET, made.key), made.content, len(made.content), {"content-type": "message/rfc822"}
            )
            took = self._clock.monotonic() - begun
            digest = hashlib.sha256(made.content).hexdigest()
            with self._lock:
                remember(Delivered(number, made.key, len(made.content), digest))
                phase.tiers.update([answer.headers.get("x-tierproxy-tiers", "?")])
                _count(phase, len(made.content), took)

        return await self._play("deliver", list(numbers), put, advance)

    async def read(self, name: str, mails: Sequence[Delivered], advance: Callable[[], None]) -> Phase:
        """GET every mail and compare it with what was delivered."""

        def get(client: ObjectClient, expected: Delivered, phase: Phase) -> None:
            begun = self._clock.monotonic()
            answer, content = client.read(ObjectName(BUCKET, expected.key))
            took = self._clock.monotonic() - begun
            same = hashlib.sha256(content).hexdigest() == expected.sha256
            with self._lock:
                phase.tiers.update([answer.headers.get("x-tierproxy-tier", "?")])
                _count(phase, len(content), took)
                if not same:
                    phase.failures.append(f"{expected.key}: came back different ({len(content)} bytes)")

        return await self._play(name, list(mails), get, advance)

    async def _play(
        self, name: str, items: Iterable[T], act: Callable[[ObjectClient, T, Phase], None], advance: Callable[[], None]
    ) -> Phase:
        phase, waiting = Phase(name), iter(items)

        def work() -> None:
            with closing(ObjectClient(self._door)) as client:
                while (item := self._next(waiting)) is not None:
                    try:
                        act(client, item, phase)
                    except TierproxyError as error:  # this mail failed; the others go on
                        with self._lock:
                            phase.failures.append(str(error))
                    advance()

        await asyncio.gather(*(self._threads.run(work) for _ in range(CLIENTS)))
        return phase

    def _next(self, waiting: Iterator[T]) -> T | None:
        with self._lock:
            return None if self._stop() else next(waiting, None)


def _count(phase: Phase, size: int, seconds: float) -> None:
    phase.requests += 1
    phase.bytes += size
    phase.seconds += seconds
