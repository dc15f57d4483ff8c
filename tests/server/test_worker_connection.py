"""A hit worker's connection on a transport whose buffer a test fills."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

from uvicorn.config import Config

from tests.server.stub_worker import StubLane
from tierproxy.server.connection import Connections
from tierproxy.server.object_server import quiet_logger
from tierproxy.server.worker import nothing
from tierproxy.server.worker_connection import Phase, WorkerConnection

HIT = b"GET /hit/5 HTTP/1.1\r\nhost: x\r\n\r\n"
MISS = b"GET /miss HTTP/1.1\r\nhost: x\r\n\r\n"


class Transport:
    """What a connection needs of one. ``waiting``: bytes the client has not taken."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self.waiting = 0
        self.limit: int | None = None
        self.closed = False
        self.reading = True

    def get_extra_info(self, name: str) -> Any:
        return self._end if name == "socket" else None

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def set_write_buffer_limits(self, high: int | None = None) -> None:
        self.limit = high

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def writelines(self, pieces: list[bytes]) -> None:
        self.waiting += sum(map(len, pieces))

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Desk:
    """``tierproxy.server.worker_connection.Office``."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    def hand_over(self, descriptor: int, data: bytes, facts: Mapping[str, Any]) -> None:
        os.close(descriptor)
        self.taken.append(data)


@contextmanager
def connection() -> Iterator[tuple[WorkerConnection, Transport, Desk]]:
    mine, theirs = socket.socketpair()
    desk, transport = Desk(), Transport(mine)
    made = WorkerConnection(
        Config(nothing, log_config=None), Connections(), office=desk, lane=StubLane(), max_head=4096, idle_timeout=75,
        loop=asyncio.get_running_loop(), logger=quiet_logger(),
    )  # fmt: skip
    made.connection_made(cast(asyncio.Transport, transport))
    try:
        yield made, transport, desk
    finally:
        made.connection_lost(None)
        mine.close()
        theirs.close()


async def test_a_connection_is_passed_only_when_all_that_was_written_is_taken() -> None:
    with connection() as (one, transport, desk):
        one.data_received(HIT + MISS + HIT)
        assert (one.phase, desk.taken, transport.reading) == (Phase.DRAINING, [], False)
        assert transport.limit == 0  # so that the end of the writing is told
        transport.waiting = 0
        one.resume_writing()
        await asyncio.sleep(0)
        assert (one.phase, desk.taken, transport.closed) == (Phase.PASSED, [MISS + HIT], True)


async def test_what_comes_while_the_client_takes_nothing_waits_with_the_client() -> None:
    with connection() as (one, transport, desk):
        one.data_received(HIT)
        one.pause_writing()
        one.data_received(HIT + MISS)
        assert (one.lane_answers, transport.reading, desk.taken) == (1, False, [])
        transport.waiting = 0
        one.resume_writing()
        await asyncio.sleep(0)
        transport.waiting = 0
        one.resume_writing()
        await asyncio.sleep(0)
        assert (one.lane_answers, desk.taken) == (2, [MISS])


async def test_a_head_in_many_pieces_is_the_nodes() -> None:
    with connection() as (one, _, desk):
        for number in range(len(HIT)):
            one.data_received(HIT[number : number + 1])
            if desk.taken:
                break
        assert HIT.startswith(desk.taken[0])
        assert one.lane_answers == 0


async def test_a_stop_closes_what_is_idle_and_leaves_what_is_on_its_way_to_the_node() -> None:
    with connection() as (idle, transport, _):
        idle.shutdown()
        assert transport.closed
    with connection() as (leaving, transport, desk):
        leaving.data_received(HIT + MISS)
        leaving.shutdown()
        assert not transport.closed
        transport.waiting = 0
        leaving.resume_writing()
        await asyncio.sleep(0)
        assert desk.taken == [MISS]
