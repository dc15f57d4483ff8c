"""Bodies of objects that are open, or were a moment ago.

What ``open`` brings is local and verified, so that reads of it cannot fail. Only reads between a stub's head and tail,
and in the middle of objects above the whole-object limit, ask the node again.
"""

from __future__ import annotations

import os
from collections import OrderedDict

from tierproxy.disk.fsio import disk_errors
from tierproxy.mount.counters import Counters
from tierproxy.mount.flights import Flights
from tierproxy.mount.nearby import Nearby
from tierproxy.mount.ports import Body, Doubt, File, NodeClient, NotThere, Who
from tierproxy.mount.settings import MIB, MountSettings
from tierproxy.ports import Clock

BLOCK = MIB
BLOCKS = 8  #: of each object that is read in pieces


class Content:
    """One content of one object. ``whole``: every byte is here. ``users``: opens of it."""

    def __init__(self, body: Body) -> None:
        self.file = body.file
        self.stub = body.stub
        self.head = body.head
        self.tail = body.tail
        self.fd = body.fd
        self.closed = False
        self.users = 0
        self.idle_since = 0.0
        self.idle_bytes = 0  #: what it was counted with, 0 while it is in use
        self.blocks: OrderedDict[int, bytes] = OrderedDict()

    def __repr__(self) -> str:
        form = "whole" if self.whole else "stub" if self.stub else "pieces"
        return f"<Content {self.file.key} {form} {self.users}>"

    @property
    def whole(self) -> bool:
        return self.fd is not None or len(self.head) == self.file.size

    @property
    def size(self) -> int:
        """Bytes of memory or disk it takes."""
        here = self.file.size if self.fd is not None else len(self.head) + len(self.tail)
        return here + sum(map(len, self.blocks.values()))

    def complete(self, body: Body) -> None:
        """The rest of a stub has come."""
        self.stub = body.stub
        self.head, self.tail, self.fd = body.head, body.tail, body.fd

    def read(self, offset: int, size: int) -> bytes | None:
        """Bytes that are here, fewer than ``size`` where they end; None: the first of them is not."""
        if self.fd is not None:
            with disk_errors("read"):
                return os.pread(self.fd, size, offset)
        if offset >= self.file.size:
            return b""
        if offset < len(self.head):
            return self.head[offset : offset + size]
        begin = self.file.size - len(self.tail)
        return self.tail[offset - begin : offset - begin + size] if offset >= begin else None

    def close(self) -> None:
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None
        self.closed = True


class Bodies:
    """Who opens shares with whoever has the same content open, is fetching it, or closed it a moment ago."""

    def __init__(
        self, client: NodeClient, nearby: Nearby, settings: MountSettings, clock: Clock, counters: Counters,
        flights: Flights,
    ) -> None:  # fmt: skip
        self._client = client
        self._nearby = nearby
        self._settings = settings
        self._clock = clock
        self._counters = counters
        self._flights = flights
        self._here: dict[tuple[str, str], Content] = {}
        self._idle: OrderedDict[tuple[str, str], Content] = OrderedDict()
        self._idle_bytes = 0

    def __len__(self) -> int:
        return len(self._here)

    async def open(self, key: str, file: File | None, who: Who) -> Content:
        """The body of ``key``, which is known to be ``file``; None: nobody knows, so that the node says. Its content
        may be a newer one (``Content.file``). Raises NotThere, Doubt, NotAllowed."""
        if file is not None:
            if content := self._here.get((key, file.etag)):
                self._counters.kept += 1
                return self._use(content)
            if not file.size:
                self._counters.empty += 1
                return self._use(Content(Body(file)))
            if (body := await self._nearby.body(key, file, who)) is not None:
                self._counters.near += 1
                return self._use(self._near(body))
        while True:
            content = await self._fetched(key, file, who)
            if not content.closed:
                return self._use(content)

    def release(self, content: Content) -> None:
        content.users -= 1
        if content.users:
            return
        name = content.file.key, content.file.etag
        if self._here.get(name) is not content or not self._settings.keep_body:
            self._drop(content)
            return
        self._lay_by(content)
        self._bound()

    async def read(self, content: Content, offset: int, size: int, who: Who) -> bytes:
        """At most ``size`` bytes from ``offset``; of a stub's head only as far as it goes. Raises Doubt,
        NotAllowed."""
        data = content.read(offset, size)
        if data is None and content.stub:
            await self._complete(content, who)
            data = content.read(offset, size)
        if content.whole or (data is not None and (content.stub or len(data) == size)):
            assert data is not None
            return data
        return await self._pieces(content, offset, min(size, content.file.size - offset), who)

    async def complete(self, content: Content, who: Who) -> None:
        """The rest of a stub: for who is about to lose it at the node."""
        if content.stub:
            await self._complete(content, who)

    def forget(self, key: str) -> None:
        """Nobody can want this body any more but who has it open."""
        for name in [name for name in self._idle if name[0] == key]:
            self._drop(self._idle[name])

    def sweep(self) -> None:
        """Let go what has been closed for long enough."""
        oldest = self._clock.monotonic() - self._settings.keep_body
        for content in [content for content in self._idle.values() if content.idle_since <= oldest]:
            self._drop(content)

    def close(self) -> None:
        for content in list(self._here.values()):
            self._drop(content)

    # ------------------------------------------------------------ fetching

    async def _fetched(self, key: str, file: File | None, who: Who) -> Content:
        name = ("body", key, file.etag if file is not None else "")
        self._counters.shared += name in self._flights
        return await self._flights.join(name, lambda: self._fetch(key, who))

    async def _fetch(self, key: str, who: Who) -> Content:
        body = await self._client.open(key, who, stub=True)
        name = key, body.file.etag
        if content := self._here.get(name):
            if body.fd is not None:
                os.close(body.fd)
            return content
        content = self._here[name] = Content(body)
        self._lay_by(content)
        self._counters.stubs += content.stub
        self._counters.fetched += content.whole
        self._counters.pieces += not (content.stub or content.whole)
        return content

    def _near(self, body: Body) -> Content:
        """loop. What others with the same content share, as if it had been fetched."""
        name = body.file.key, body.file.etag
        content = self._here.get(name)
        if content is None:
            content = self._here[name] = Content(body)
            self._lay_by(content)
        return content

    async def _complete(self, content: Content, who: Who) -> None:
        await self._flights.join(("rest", content.file.key, content.file.etag), lambda: self._rest(content, who))

    async def _rest(self, content: Content, who: Who) -> None:
        try:
            body = await self._client.open(content.file.key, who, stub=False)
        except NotThere as error:
            raise Doubt(f"{content.file.key} is gone, and only head and tail of it are here") from error
        if (body.file.etag, body.file.size) != (content.file.etag, content.file.size) or content.closed:
            if body.fd is not None:
                os.close(body.fd)
            raise Doubt(f"{content.file.key} has another content than when it was opened")
        if content.stub:
            content.complete(body)
            self._counters.completed += 1
            self._bound()
        elif body.fd is not None:
            os.close(body.fd)

    async def _pieces(self, content: Content, offset: int, size: int, who: Who) -> bytes:
        data = bytearray()
        while len(data) < size:
            at = offset + len(data)
            here = content.read(at, size - len(data))
            if not here:
                block = await self._block(content, at // BLOCK, who)
                here = block[at % BLOCK : at % BLOCK + size - len(data)]
            data += here
        return bytes(data)

    async def _block(self, content: Content, number: int, who: Who) -> bytes:
        block = content.blocks.get(number)
        if block is None:
            name = ("block", content.file.key, content.file.etag, number)
            return await self._flights.join(name, lambda: self._piece(content, number, who))
        content.blocks.move_to_end(number)
        return block

    async def _piece(self, content: Content, number: int, who: Who) -> bytes:
        start = number * BLOCK
        size = min(BLOCK, content.file.size - start)
        try:
            block = await self._client.piece(content.file, start, size, who)
        except NotThere as error:
            raise Doubt(f"{content.file.key} is gone, and it was too large to be read whole") from error
        if len(block) != size:
            raise Doubt(f"{len(block)} bytes came, {size} were promised")
        content.blocks[number] = block
        while len(content.blocks) > BLOCKS:
            content.blocks.popitem(last=False)
        return block

    # ------------------------------------------------------------ keeping

    def _use(self, content: Content) -> Content:
        content.users += 1
        self._take_up(content)
        return content

    def _lay_by(self, content: Content) -> None:
        """Nobody uses it."""
        content.idle_since = self._clock.monotonic()
        self._idle[content.file.key, content.file.etag] = content
        content.idle_bytes = content.size
        self._idle_bytes += content.idle_bytes

    def _take_up(self, content: Content) -> None:
        """Somebody uses it, or it goes. Idempotent."""
        if self._idle.pop((content.file.key, content.file.etag), None) is not None:
            self._idle_bytes -= content.idle_bytes
            content.idle_bytes = 0

    def _bound(self) -> None:
        while self._idle_bytes > self._settings.keep_bytes and self._idle:
            self._drop(next(iter(self._idle.values())))

    def _drop(self, content: Content) -> None:
        name = content.file.key, content.file.etag
        if self._here.get(name) is content:
            del self._here[name]
            self._take_up(content)
        content.close()
