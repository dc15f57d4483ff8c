"""One mount from mount(2) to the end of its device."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tierproxy.fuse.counters import Asked
from tierproxy.fuse.device import Device
from tierproxy.fuse.dispatch import Dispatch
from tierproxy.fuse.locks import Locks
from tierproxy.fuse.mounting import CannotMount, MountOptions, mount, mounted, unmount
from tierproxy.fuse.negotiation import Agreement
from tierproxy.fuse.notify import Notifier
from tierproxy.fuse.operations import Kernel, Operations
from tierproxy.logs import event
from tierproxy.offload import ThreadPool
from tierproxy.ports import Clock

log = logging.getLogger(__name__)
GREETING = 10.0  #: seconds for the kernel to ask INIT
GOODBYE = 1.0  #: seconds for it to close the device after an unmount


class Session:
    """``kernel`` may be given to a file system before ``serving``: it does nothing until then. ``patience``: seconds
    that requests under way have to be finished when it ends. ``asked``: what was asked so far. In a running loop."""

    def __init__(self, point: Path, options: MountOptions, clock: Clock, *, patience: float = 30.0) -> None:
        self.point = point
        self.options = options
        self.asked = Asked()
        self.agreement: Agreement | None = None
        self._clock = clock
        self._patience = patience
        self._notices = ThreadPool("fuse-notices", 1)
        self._mounts = ThreadPool("fuse-mounts", 1)
        self._locks = Locks()
        self._notifier = Notifier(self._notices, self._locks)
        self._dispatch: Dispatch | None = None

    def __repr__(self) -> str:
        return f"<Session {self.point}>"

    @property
    def kernel(self) -> Kernel:
        return self._notifier

    @property
    def waiting(self) -> int:
        """Requests that are not answered yet."""
        return self._dispatch.waiting if self._dispatch else 0

    @asynccontextmanager
    async def serving(self, operations: Operations) -> AsyncIterator[asyncio.Event]:
        """Mounted and answering while inside. Yields an event that is set when somebody else has unmounted it. However
        it is left, nothing stays mounted. Once. Raises CannotMount, OldKernel."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._mounts.close)
            stack.push_async_callback(self._notices.close)
            device = Device(await self._mounts.run(mount, self.point, self.options))
            stack.callback(device.close)
            stack.push_async_callback(self._unmount)
            await self._agree(device)
            self._dispatch = dispatch = Dispatch(
                operations, device, self.asked, self._clock, device.free, self._locks
            )  # fmt: skip
            device.start(dispatch.take)
            stack.pop_all()
            try:
                yield device.ended
            finally:
                await asyncio.shield(self._end(device, dispatch))

    async def _agree(self, device: Device) -> None:
        try:
            async with asyncio.timeout(GREETING):
                self.agreement = await device.agree()
        except (OSError, TimeoutError) as error:
            raise CannotMount(f"the kernel does not speak at {self.point}: {error!r}") from error
        self._notifier.begin(device, self.agreement)

    async def _end(self, device: Device, dispatch: Dispatch) -> None:
        """Unmount, so that nothing new comes by name; let what is under way be answered; then close what is left open.

        The notifier ends while requests are still answered: it may wait for one of them."""
        try:
            if not device.ended.is_set():
                await self._unmount()
                await dispatch.finish(self._patience)
                await _within(GOODBYE, device.ended)
            await self._notifier.end()
        finally:
            device.close()
            await dispatch.finish(0)
            await self._notices.close()
            await self._mounts.close()

    async def _unmount(self) -> None:
        """In a thread: the loop goes on answering. Somebody who has it open makes it lazy."""
        for lazily in (False, True):
            try:
                await self._mounts.run(lambda lazily=lazily: unmount(self.point, lazily=lazily))
            except OSError as error:
                if error.errno == errno.EINVAL or not mounted(self.point):
                    return  # somebody was faster
                if lazily:
                    event(log, logging.ERROR, "not unmounted", point=self.point, error=error)
            else:
                if lazily:
                    event(log, logging.WARNING, "unmounted while files were open", point=self.point)
                return


@asynccontextmanager
async def serve(
    make: Callable[[Kernel], Operations], point: Path, options: MountOptions, clock: Clock
) -> AsyncIterator[Session]:
    """A file system without a life of its own: mounted at ``point`` while inside."""
    session = Session(point, options, clock)
    async with session.serving(make(session.kernel)):
        yield session


async def _within(seconds: float, happened: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await happened.wait()
    except TimeoutError:
        return
