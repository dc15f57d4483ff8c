"""A blob that is on its way, between the thread that makes it durable and those who wait for it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

from tierproxy.disk.commits import DirectorySyncs
from tierproxy.logs import event
from tierproxy.model import SealedBlob

Tell = Callable[[BaseException | None], None]

logger = logging.getLogger(__name__)


class KeptBlob:
    """``tierproxy.ports.Keeping``. ``settle`` is for the thread that does the work, and for who gives it up.
    ``claimed``: somebody goes on from here, and the file is his; what nobody has claimed goes when the staged body is
    closed."""

    def __init__(self, sealed: SealedBlob, syncs: DirectorySyncs) -> None:
        self.sealed = sealed
        self.failure: BaseException | None = None
        self.claimed = False
        self._syncs = syncs
        self._mutex = threading.Lock()
        self._known = False
        self._left = False
        self._listeners: list[Tell] = []

    @property
    def alone(self) -> bool:
        return self._syncs.alone

    def then(self, tell: Tell) -> bool:
        self.claimed = True
        return self._listen(tell)

    @property
    def durable(self) -> bool:
        return self._known and self.failure is None

    def settle(self, failure: BaseException | None) -> bool:
        """any thread. It is durable, or nobody waits for that any more. The first word counts: False when there was one
        before, and nobody is told."""
        with self._mutex:
            if self._known:
                return False
            self.failure, self._known = failure, True
        for tell in self._listeners:
            tell(failure)
        return True

    def leave(self) -> None:
        """any thread. It is no company for those who commit any more. Idempotent."""
        with self._mutex:
            left, self._left = self._left, True
        if not left:
            self._syncs.end()

    async def wait(self) -> None:
        await self.settled()
        if self.failure is not None:
            raise self.failure
        self.claimed = True

    async def settled(self) -> None:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        if self._listen(lambda _failure: _wake(loop, waiter)):
            await waiter

    def _listen(self, tell: Tell) -> bool:
        with self._mutex:
            if not self._known:
                self._listeners.append(tell)
            return not self._known


def _wake(loop: asyncio.AbstractEventLoop, waiter: asyncio.Future[None]) -> None:
    def done() -> None:
        if not waiter.done():  # its task was cancelled
            waiter.set_result(None)

    try:
        loop.call_soon_threadsafe(done)
    except RuntimeError:
        event(logger, logging.DEBUG, "nobody waits for a blob any more")
