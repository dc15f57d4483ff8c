"""Requests fed into the object port's connection without a socket, and the instructions each takes.

A whole node of one process, on a clock that stands still: nothing happens beside the requests. Run under callgrind by
``instructions.py``:

    valgrind --tool=callgrind --instr-atstart=no ... python -m profiles.feeding COUNT WORKPLACE KIND...

For each kind ``COUNT`` and then three times ``COUNT`` requests are counted; the difference of both is of twice
``COUNT`` requests and of nothing else.
"""

from __future__ import annotations

import asyncio
import gc
import random
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop

from profiles.kinds import KINDS, Kind
from profiles.valgrind import Callgrind
from tierproxy.alt.memory import MemoryAlt
from tierproxy.node import Node
from tierproxy.server import ObjectServer
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.rig import Rig
from tierproxy.wiring import assemble, object_server, open_local

OBJECTS = 32
SIZE = 16 * 1024
WARM = 3  #: rounds over all objects before anything is counted: the first reads from disk into memory


class Sink(asyncio.Transport):
    """A connection's other side: takes every byte at once, and tells when an answer is whole. ``answer``: its bytes,
    the first of a round as it came."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 50000), "sockname": ("127.0.0.1", 9300)})
        self.answer = b""
        self.taken = 0
        self._wanted = 0
        self._whole: asyncio.Future[None] | None = None

    def expect(self, size: int) -> None:
        """The next answer has ``size`` bytes."""
        self.taken, self._wanted, self.answer = 0, size, b""

    async def whole(self) -> None:
        """Until it is here."""
        if self.taken < self._wanted:
            self._whole = asyncio.get_running_loop().create_future()
            await self._whole

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.taken += len(data)
        if not self._wanted:
            self.answer += data
        elif self.taken >= self._wanted and self._whole is not None:
            self._whole.set_result(None)
            self._whole = None

    def writelines(self, list_of_data: Any) -> None:
        for data in list_of_data:
            self.write(data)

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        """Nothing comes but what is fed."""

    def resume_reading(self) -> None:
        """As above."""

    def close(self) -> None:
        """Nothing to close."""

    def abort(self) -> None:
        """Nothing to close."""


class Feed:
    """One connection and the requests it is fed, again and again."""

    def __init__(self, protocol: asyncio.Protocol, requests: Sequence[bytes]) -> None:
        self._protocol = protocol
        self._requests = requests
        self._sizes = [0] * len(requests)
        self._sink = Sink()
        protocol.connection_made(self._sink)

    async def learn(self) -> None:
        """Each request once, to know how long its answer is."""
        for number, request in enumerate(self._requests):
            self._sink.expect(0)
            self._protocol.data_received(request)
            async with asyncio.timeout(60):
                while not await self._complete():
                    pass
            self._sizes[number] = len(self._sink.answer)

    def check(self, kind: Kind) -> None:
        """Raises ValueError when the last answer is not of ``kind``: its instructions would be another kind's."""
        head = self._sink.answer.partition(b"\r\n\r\n")[0]
        status, tier = (b"304", b"") if kind.known else (b"200", b"memory" if kind.memory else b"disk")
        if head[9:12] != status or (tier and b"x-tierproxy-tier: " + tier not in head):
            raise ValueError(f"no {kind.name}: {head!r}")

    async def _complete(self) -> bool:
        """The answer stands still and has its length."""
        before = len(self._sink.answer)
        await asyncio.sleep(0.001)
        head, found, body = self._sink.answer.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        whole = b" 304 " in head or len(body) == int(length or 0)
        return bool(found) and whole and len(self._sink.answer) == before

    async def play(self, count: int) -> None:
        """``count`` requests, each after the answer to the one before."""
        requests, sizes, sink, feed = self._requests, self._sizes, self._sink, self._protocol.data_received
        for number in range(count):
            at = number % len(requests)
            sink.expect(sizes[at])
            feed(requests[at])
            await sink.whole()

    def end(self) -> None:
        self._protocol.connection_lost(None)


@asynccontextmanager
async def feed_of(kind: Kind, root: Path) -> AsyncIterator[Feed]:
    """A node with objects on its disk and in its memory, and a connection to it."""
    clock, config, alt = VirtualClock(), kind.config(root), MemoryAlt()

    async def open_parts() -> Any:
        return assemble(await open_local(config, alt, clock))

    node = Node(open_parts, lambda parts: object_server(config, parts))
    await node.start()
    try:
        rig, chance = Rig(node, alt, root), random.Random(1)
        requests = []
        for number in range(OBJECTS):
            key = f"user{number % 4}/mailboxes/INBOX/dbox-Mails/u.{number + 1}"
            written = await rig.put(key, chance.randbytes(SIZE))
            requests.append(kind.request(key, written.entry.etag, clock.now()))
        await rig.drained()
        assert isinstance(node.server, ObjectServer)
        feed = Feed(node.server._factory()(), requests)  # as the loop would call it for a connection
        for _ in range(WARM):
            await feed.learn()
        feed.check(kind)
        yield feed
        feed.end()
    finally:
        await node.stop(5)


async def count(kind: Kind, size: int, root: Path, callgrind: Callgrind) -> None:
    """Two dumps: of ``size`` requests, and of three times as many."""
    async with feed_of(kind, root) as feed:
        await feed.play(OBJECTS)
        gc.collect()
        gc.freeze()
        callgrind.start()
        for rounds in (1, 3):
            callgrind.zero()
            await feed.play(rounds * size)
            callgrind.dump()
        callgrind.stop()


def main(size: int, root: Path, names: Sequence[str]) -> None:
    callgrind = Callgrind()
    for number, name in enumerate(names):
        uvloop.run(count(KINDS[name], size, root / str(number), callgrind))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
