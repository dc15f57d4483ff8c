"""A relay that fails on purpose, in a thread of its own, for programs without an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from tierproxy.testing.relay import Mode, Relay

T = TypeVar("T")


class Network:
    """A running ``Relay`` to ``host:port``. Every method is done when it returns."""

    def __init__(self, host: str, port: int) -> None:
        self._relay = Relay(host, port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network")

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._relay.start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._relay.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._relay.port}"

    def cut(self) -> None:
        """Reset every connection there is."""

        async def cut() -> None:
            self._relay.cut()

        self._do(cut())

    def refuse(self) -> None:
        """Nobody listens."""
        self._do(self._relay.refuse())

    def set(
        self, mode: Mode = Mode.PASS, *, delay: float = 0.0, trickle: int | None = None, cut_after: int | None = None
    ) -> None:
        """From now on. Connections there are follow."""

        async def change() -> None:
            self._relay.delay, self._relay.trickle, self._relay.cut_after = delay, trickle, cut_after
            self._relay.mode = mode

        self._do(change())

    def half_open(self) -> None:
        """The other side is gone and says nothing: what is sent is taken, by connections there are and by new ones, and
        no end is ever heard of."""

        async def lose() -> None:
            self._relay.mode = Mode.BLACKHOLE
            self._relay.lose()

        self._do(lose())

    def heal(self) -> None:
        """Everything passes again. Connections that were swallowed are reset, as a rebooted peer would."""

        async def heal() -> None:
            mode, self._relay.mode = self._relay.mode, Mode.PASS
            self._relay.delay, self._relay.trickle, self._relay.cut_after = 0.0, None, None
            if mode in {Mode.BLACKHOLE, Mode.MUTE}:
                self._relay.cut()
            await self._relay.accept()

        self._do(heal())

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)
