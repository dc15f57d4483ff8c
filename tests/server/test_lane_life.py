"""Connections whose requests the hit lane answers: how long they live, what they may cost, how they end."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from tests.server.side_by_side import MAIL, Pair, masked, said, side_by_side
from tierproxy.config.values import Duration, Size
from tierproxy.testing.wire import PATIENCE, connected, on_both_loops, sent_until_cut, until

HIT = b"GET /mail/a HTTP/1.1\r\nhost: x\r\n\r\n"


async def warm(pair: Pair) -> None:
    assert masked(await said(pair.laned, [HIT + HIT.replace(b"host", b"connection: close\r\nhost")])).count(MAIL) == 2
    assert pair.given() == 1


@on_both_loops
async def test_an_idle_connection_is_closed_after_the_lanes_last_answer(tmp_path: Path) -> None:
    async with side_by_side(tmp_path, listen={"idle_timeout": Duration(0.1)}) as pair, connected(pair.laned) as client:
        assert (await client.request("GET /mail/a HTTP/1.1"))[2] == MAIL
        assert await client.closed() == b""
        assert pair.given() == 1


@on_both_loops
async def test_a_connection_in_use_lives_longer_than_an_idle_one(tmp_path: Path) -> None:
    async with side_by_side(tmp_path, listen={"idle_timeout": Duration(1)}) as pair, connected(pair.laned) as client:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        while loop.time() < begin + 1.5:
            assert (await client.request("GET /mail/a HTTP/1.1"))[2] == MAIL
            await asyncio.wait({loop.create_future()}, timeout=0.02)
        assert await client.closed() == b""
        assert pair.given() > 5


@on_both_loops
async def test_bytes_of_an_unfinished_head_do_not_prolong_the_deadline(tmp_path: Path) -> None:
    async with side_by_side(tmp_path, listen={"idle_timeout": Duration(0.3)}) as pair, connected(pair.laned) as slow:
        assert (await slow.request("GET /mail/a HTTP/1.1"))[2] == MAIL
        closing = asyncio.create_task(slow.closed())
        slow.writer.write(b"GET /")
        for _ in range(60):
            slow.writer.write(b"a")
            if (await asyncio.wait({closing}, timeout=0.05))[0]:
                break
        assert closing.done()
        await closing


@on_both_loops
async def test_an_ordinary_request_after_a_hit_is_not_cut_by_the_timer(tmp_path: Path) -> None:
    listen = {"idle_timeout": Duration(0.2)}
    async with side_by_side(tmp_path, listen=listen) as pair, connected(pair.laned) as client:
        assert (await client.request("GET /mail/a HTTP/1.1"))[2] == MAIL
        await client.send(b"PUT /mail/n HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nfo")
        waited = asyncio.create_task(client.response())
        assert not (await asyncio.wait({waited}, timeout=0.5))[0]
        await client.send(b"ur")
        assert (await waited)[0] == 200
        assert await client.closed() == b""


@on_both_loops
async def test_a_graceful_stop_closes_connections_at_rest_and_sends_what_was_answered(tmp_path: Path) -> None:
    async with side_by_side(tmp_path) as pair, connected(pair.laned) as client:
        await client.send(HIT * 20)
        await until(lambda: pair.given() == 20)
        await pair.laned.stop(PATIENCE)
        assert (await client.closed()).count(MAIL) == 20


@on_both_loops
async def test_what_was_answered_last_is_counted_when_the_server_stops(tmp_path: Path) -> None:
    async with side_by_side(tmp_path) as pair:
        before = pair.rig.parts.counters.memory_hits
        async with connected(pair.laned) as client:
            await client.send(HIT * 3)
            for _ in range(3):
                assert (await client.response())[2] == MAIL
        await pair.laned.stop(1)
        assert pair.answers == {200: 3}
        assert pair.rig.parts.counters.memory_hits == before + 3


@on_both_loops
async def test_one_that_asks_for_much_and_takes_nothing_is_cut_and_holds_little(tmp_path: Path) -> None:
    async with side_by_side(tmp_path, listen={"body_timeout": Duration(0.3)}) as pair:
        await pair.rig.put("big", bytes(250_000))
        assert pair.laned.address is not None
        greedy = socket.create_connection(pair.laned.address)
        try:
            greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            greedy.sendall(b"GET /mail/big HTTP/1.1\r\nhost: x\r\n\r\n" * 500)
            await until(lambda: pair.laned.connections)
            most = 0
            while pair.laned.connections:
                for one in pair.laned._state.connections:
                    most = max(most, one.transport.get_write_buffer_size())
                await asyncio.sleep(0.005)
            assert most < 64 * 1024 + 256 * 1024 + 1024
            assert pair.given() < 40
        finally:
            greedy.close()


@on_both_loops
async def test_a_slow_reader_gets_everything_in_order(tmp_path: Path) -> None:
    async with side_by_side(tmp_path) as pair, connected(pair.laned, limit=4096) as client:
        for number in range(8):
            await pair.rig.put(f"n{number}", bytes([number]) * 200_000)
        keys = [number * 5 % 8 for number in range(60)]
        sending = asyncio.create_task(
            client.send(b"".join(b"GET /mail/n%d HTTP/1.1\r\nhost: x\r\n\r\n" % key for key in keys))
        )
        for key in keys:
            assert (await client.response())[2] == bytes([key]) * 200_000
        await sending
        assert pair.given() > 1


@on_both_loops
async def test_heads_are_bounded_behind_hits(tmp_path: Path) -> None:
    async with side_by_side(tmp_path, listen={"max_header_bytes": Size(4096)}) as pair:
        long = b"GET /mail/a HTTP/1.1\r\nhost: x\r\nx-long: %b\r\n\r\n"
        assert (await said(pair.laned, [HIT + HIT, long % (b"a" * 5000)])).count(MAIL) == 2
        fits = long % (b"a" * 3900)
        async with connected(pair.laned) as client:
            for _ in range(5):  # all of them together are longer than one may be
                await client.send(fits)
                assert (await client.response())[2] == MAIL
            await client.send(HIT + b"GET /mail/a HTTP/1.1\r\nhost: x\r\nx-long: ")
            assert await sent_until_cut(client, b"a" * 100_000, most=500) < 200


@on_both_loops
async def test_reads_are_counted_in_the_order_in_which_a_client_made_them(tmp_path: Path) -> None:
    """A search reads mail after mail; what the lane does not answer must not overtake what it has answered."""
    async with side_by_side(tmp_path) as pair, connected(pair.laned) as client:
        told: list[str] = []
        pair.rig.parts.history.note = lambda event, times=1: told.append(event.name.key)  # type: ignore[method-assign]
        for number in range(6):
            body = bytes(300_000 if number % 3 == 2 else 100)
            await pair.rig.put(f"search/{number}", body)
        told.clear()
        for number in range(6):
            assert (await client.request(f"GET /mail/search/{number} HTTP/1.1"))[0] == 200
        await pair.laned.stop(1)
        assert told == [f"search/{number}" for number in range(6)]
