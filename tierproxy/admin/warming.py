"""Bringing objects to disk before anybody asks for them: below a prefix, or what a purge run removed.

Through the store's own reads, as a prefetch: nobody's read is counted, no purge follows, what is on disk stays, and the
budget, the limits of ``[fill]`` and the checks of what comes from alt hold as for everybody.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

from tierproxy.admin.fetching import Fetching
from tierproxy.admin.jobs import Tell
from tierproxy.errors import AltError, LostInAlt, NoSuchKey
from tierproxy.model import ObjectName
from tierproxy.ports import Catalogue, Clock
from tierproxy.store.tiered import TieredStore
from tierproxy.traffic import Reason, Visitor
from tierproxy.wire.whatif import Progress, Warmed

WORKERS = 4  #: objects fetched at once
RATE = 50_000_000  #: bytes per second, of all workers: people's reads go first
PASSES = 5  #: objects in a row of which no copy was kept: the disk wants no more
FAILURES = 5  #: objects in a row that failed: it makes no sense to go on
VISITOR = Visitor(client="admin", user_agent="tierproxy warm", reason=Reason.PREFETCH)


class Wanted(NamedTuple):
    """An object that may be missing on disk."""

    name: ObjectName
    size: int


class Warming:
    """One warm-up: several workers over one sequence of names. ``total``: how many there will be, 0: nobody knows."""

    def __init__(
        self, names: AsyncIterator[Wanted], store: TieredStore, catalogue: Catalogue, clock: Clock, *,
        max_bytes: int = 0, total: int = 0,
    ) -> None:  # fmt: skip
        self._names = names
        self._fetching = Fetching(store, catalogue, clock, VISITOR)
        self._clock = clock
        self._max_bytes = max_bytes
        self._total = total
        self._turn = asyncio.Lock()
        self._due = 0.0
        self._taken = self._seen = self._passes = self._failures = 0
        self._counts = dict.fromkeys(("fetched", "bytes", "on_disk", "passed", "gone", "failed"), 0)
        self._stopped = ""

    def report(self) -> Warmed:
        """What was done so far."""
        return Warmed(**self._counts, stopped=self._stopped)

    async def run(self, tell: Tell) -> dict[str, object]:
        """To its end, or what was done when it is cancelled. Raises TierproxyError when the names cannot be read."""
        workers = [asyncio.create_task(self._work(tell)) for _ in range(WORKERS)]
        try:
            await asyncio.gather(*workers)
        except asyncio.CancelledError:
            self._stop("cancelled")
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return self.report().model_dump(mode="json")

    async def _work(self, tell: Tell) -> None:
        while not self._stopped:
            async with self._turn:  # the names are one generator
                wanted = await anext(self._names, None)
            if wanted is None:
                return
            await self._one(wanted)
            self._seen += 1
            tell(Progress(phase="bringing to disk", done=self._seen, total=self._total, unit="objects"))

    async def _one(self, wanted: Wanted) -> None:
        if self._fetching.there(wanted.name):
            self._counts["on_disk"] += 1
        elif self._allowed(wanted.size):
            await self._pace(wanted.size)
            await self._fetch(wanted)

    def _allowed(self, size: int) -> bool:
        if self._max_bytes and self._taken + size > self._max_bytes:
            self._stop(f"the limit of {self._max_bytes} bytes is reached")
        if self._stopped:
            return False
        self._taken += size
        return True

    async def _pace(self, size: int) -> None:
        """Wait until the bytes that were taken before are due."""
        now = self._clock.monotonic()
        begin = max(self._due, now)
        self._due = begin + size / RATE
        if begin > now:
            await self._clock.sleep(begin - now)

    async def _fetch(self, wanted: Wanted) -> None:
        try:
            kept = await self._fetching.bring(wanted.name) is not None
        except NoSuchKey:
            self._counts["gone"] += 1
        except (AltError, LostInAlt) as error:
            self._failed(error)
        else:
            self._done(kept, wanted.size)

    def _done(self, kept: bool, size: int) -> None:
        self._failures = 0
        if kept:
            self._passes = 0
            self._counts["fetched"] += 1
            self._counts["bytes"] += size
            return
        self._counts["passed"] += 1
        self._passes += 1
        if self._passes >= PASSES:
            self._stop(
                f"no copy was kept of {PASSES} objects in a row: the disk, or the bucket's budget, has no room for "
                "them, or they are larger than [fill] max_object"
            )

    def _failed(self, error: Exception) -> None:
        self._counts["failed"] += 1
        self._failures += 1
        if self._failures >= FAILURES:
            self._stop(f"{FAILURES} objects in a row failed, the last with: {error}")

    def _stop(self, why: str) -> None:
        self._stopped = self._stopped or why
