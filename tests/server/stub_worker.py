"""A hit worker whose lane answers by the name alone: GET or HEAD /hit/SIZE. The node's program otherwise."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tierproxy import wiring_worker
from tierproxy.config.sections import Config
from tierproxy.model import ObjectName
from tierproxy.ports import Clock
from tierproxy.s3api.lane.ports import Lane, Served
from tierproxy.traffic import Delivery, Outcome, Visitor

COMMAND = [sys.executable, "-m", "tests.server.stub_worker"]


def body_of(size: int) -> bytes:
    return (b"hit %d " % size * (size // 4 + 1))[:size]


class StubLane:
    """``tierproxy.s3api.lane.ports.Lane``."""

    def __init__(self) -> None:
        self._served: list[Delivery] = []
        self._answers = 0

    def answer(
        self, method: bytes, target: bytes, headers: Sequence[tuple[bytes, bytes]], peer: str, preamble: bytes
    ) -> Sequence[bytes] | None:
        if method not in {b"GET", b"HEAD"} or not target.startswith(b"/hit/"):
            return None
        size = int(target[5:])
        body = body_of(size)
        self._answers += 1
        if method == b"GET":
            visitor = Visitor(peer, "key", "agent")
            name = ObjectName("hit", target[5:].decode())
            self._served.append(Delivery(name, visitor, Outcome.MEMORY, size, None, None, False, 1, size, 1.0))
        head = b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\nx-peer: %b\r\n\r\n" % (preamble, size, peer.encode())
        return (head, body) if method == b"GET" else (head,)

    def take(self) -> Served:
        served = Served(self._served, {200: self._answers} if self._answers else {})
        self._served, self._answers = [], 0
        return served


def open_stub(config: Config, clock: Clock) -> Lane:
    return StubLane()


if __name__ == "__main__":
    wiring_worker.open_lane = open_stub
    sys.exit(wiring_worker.main(sys.argv[1:]))
