"""A disk so full that the catalogue lives on its reserve: who is told, and when that is over (decision 36)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from tierproxy.errors import DiskError
from tierproxy.logs import event
from tierproxy.ports import Alarms, Clock, Offload, Reserve

log = logging.getLogger(__name__)
ALARM = "catalogue has no room"


class RoomKeeper:
    """Takes the reserve back when there is room again. What must not be written until then, others see by
    ``Reserve.short``."""

    def __init__(
        self, *, reserve: Reserve, clock: Clock, alarms: Alarms, threads: Offload, subject: str,
        interval: Callable[[], float], make_room: Callable[[int], None],
    ) -> None:  # fmt: skip
        """loop. ``interval``: seconds between tries; ``make_room``: is told how many bytes a purge should find."""
        self._reserve = reserve
        self._clock = clock
        self._alarms = alarms
        self._threads = threads
        self._subject = subject
        self._interval = interval
        self._make_room = make_room
        self._given = asyncio.Event()
        self._given.set()  # it may have been let go before anybody listened
        loop = asyncio.get_running_loop()

        def tell() -> None:
            with suppress(RuntimeError):  # the loop has ended, and with it everybody who could be told
                loop.call_soon_threadsafe(self._given.set)

        reserve.on_given = tell

    def __repr__(self) -> str:
        return f"<RoomKeeper {self._reserve!r}>"

    async def run(self) -> None:
        """Until cancelled: while the reserve is short, say so, have room made, and try to take it back."""
        while True:
            await self._given.wait()
            self._given.clear()
            while self._reserve.short:
                self._tell()
                await self._clock.sleep(self._interval())
                await self._regain()
            self._alarms.clear(ALARM, self._subject)

    def _tell(self) -> None:
        left, size = self._reserve.left, self._reserve.size
        self._alarms.set(ALARM, self._subject, reason=f"the file system is full; {left} of {size} bytes are kept back")
        if self._reserve.shared:
            self._make_room(size - left + size // 4)

    async def _regain(self) -> None:
        try:
            if await self._threads.run(self._reserve.regain):
                event(log, logging.INFO, "room is kept back for the catalogue again", bytes=self._reserve.size)
        except (OSError, DiskError) as error:
            event(log, logging.WARNING, "no room kept back for the catalogue", error=error)


class NoReserve:
    """``tierproxy.ports.Reserve`` where nothing is kept back: never short."""

    size = left = 0
    short = low = shared = False

    def __init__(self) -> None:
        self.on_given: Callable[[], None] = lambda: None

    def regain(self) -> bool:
        return True
