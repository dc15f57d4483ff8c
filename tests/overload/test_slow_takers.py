"""Clients that take their answers slowly, or not at all, when there is nothing left to do for them but to wait."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from pathlib import Path
from typing import Any

from tests.server.test_listeners import client_context
from tests.server.worked import worked
from tierproxy.config.values import Duration
from tierproxy.server import ObjectServer
from tierproxy.testing.certificates import write_certificate
from tierproxy.testing.memory_store import MemoryStore
from tierproxy.testing.wire import on_both_loops, served, until

LARGE = 6_000_000  #: bytes: more than the kernel keeps of a connection
LATE = 1.5  #: seconds: longer than a client that was told goodbye has to say it as well


def slow(address: tuple[str, int] | None) -> socket.socket:
    """A connection with little room at its other end."""
    assert address is not None
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    found.connect(address)
    return found


def taken_late(address: tuple[str, int] | None, path: str) -> int:
    """Bytes of an answer that ends its connection, over TLS, which nobody reads for some time."""
    with client_context().wrap_socket(slow(address)) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        time.sleep(LATE)  # a thread of its own
        found = 0
        while piece := client.recv(2**20):
            found += len(piece)
        return found


@on_both_loops
async def test_with_tls_who_takes_the_end_of_an_answer_slowly_gets_all_of_it(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path, "one")
    store = MemoryStore()
    store.put("1", b"x" * LARGE)
    async with served(store, tls_certificate=certificate, tls_key=key) as server:
        assert await asyncio.to_thread(taken_late, server.address, "/mail/1") > LARGE


async def test_with_tls_through_a_worker_as_well(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path, "localhost")
    async with worked(tls_certificate=certificate, tls_key=key) as port:
        assert await asyncio.to_thread(taken_late, port.server.address, f"/big/{LARGE}") > LARGE


async def test_a_client_of_a_worker_that_takes_nothing_is_let_go_as_well(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path, "localhost")
    async with worked(tls_certificate=certificate, tls_key=key, idle_timeout=Duration(0.5)) as port:

        def ask() -> ssl.SSLSocket:
            client = client_context().wrap_socket(slow(port.server.address))
            client.sendall(f"GET /big/{LARGE} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
            return client

        client = await asyncio.to_thread(ask)
        await until(lambda: port.app.asked)
        await until(lambda: not port.server.connections)  # the node would wait as long as it takes
        client.close()


@on_both_loops
async def test_an_answer_that_ends_its_connection_is_not_kept_for_ever() -> None:
    store = MemoryStore()
    store.put("1", b"x" * LARGE)
    async with served(store, body_timeout=Duration(0.3), idle_timeout=Duration(0.3)) as server:
        with slow(server.address) as silent:
            silent.sendall(b"GET /mail/1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            await until(lambda: store.visitors)
            await until(lambda: not server.connections)


async def narrowed(server: ObjectServer) -> Any:
    """The server's side of the only connection, with little room in the kernel: the rest waits on this side."""
    await until(lambda: server.connections == 1)
    found: Any = next(iter(server._state.connections))
    found.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return found


@on_both_loops
async def test_nor_is_one_whose_client_will_say_no_more() -> None:
    store = MemoryStore()
    store.put("1", b"x" * 60_000)
    async with served(store, idle_timeout=Duration(0.3)) as server:
        with slow(server.address) as silent:
            await narrowed(server)
            silent.sendall(b"GET /mail/1 HTTP/1.1\r\nhost: x\r\n\r\n")
            await until(lambda: store.deliveries)
            silent.shutdown(socket.SHUT_WR)
            await until(lambda: not server.connections)


@on_both_loops
async def test_a_place_is_kept_until_the_client_has_taken_most_of_its_answer() -> None:
    store = MemoryStore()
    store.put("1", b"x" * LARGE)
    async with served(store, max_concurrent_requests=2) as server:
        app: Any = server._config.loaded_app
        silent = [slow(server.address) for _ in range(4)]
        try:
            for one in silent:
                one.sendall(b"GET /mail/1 HTTP/1.1\r\nhost: x\r\n\r\n")
            await until(lambda: app.turns.refused == 2)
            connections: Any = server._state.connections
            held = [one.transport.get_write_buffer_size() for one in connections]
            assert sum(size > 0 for size in held) == 2
            assert max(held) < 600_000  # and not all of it
        finally:
            for one in silent:
                one.close()


@on_both_loops
async def test_so_is_that_of_an_answer_that_was_written_at_once() -> None:
    store = MemoryStore()
    store.put("1", b"x" * 250_000)
    async with served(store, max_concurrent_requests=1) as server:
        app: Any = server._config.loaded_app
        with slow(server.address) as silent:
            connection = await narrowed(server)
            silent.sendall(b"GET /mail/1 HTTP/1.1\r\nhost: x\r\n\r\n")
            await until(lambda: connection.flow.write_paused and connection.cycle.response_complete)
            with slow(server.address) as other:
                other.sendall(b"HEAD /mail/1 HTTP/1.1\r\nhost: x\r\n\r\n")
                await until(lambda: app.turns.refused)


@on_both_loops
async def test_an_idle_deadline_spares_who_is_still_taking_its_last_answer() -> None:
    size, idle = 250_000, 0.5
    store = MemoryStore()
    store.put("1", b"x" * size)
    async with served(store, idle_timeout=Duration(idle)) as server:
        with slow(server.address) as client:
            await narrowed(server)
            client.sendall(b"GET /mail/1 HTTP/1.1\r\nhost: x\r\n\r\n")

            def read() -> int:
                found = 0
                while found < size and (piece := client.recv(10_000)):
                    found += len(piece)
                    time.sleep(idle / 10)  # a thread of its own
                return found

            assert await asyncio.to_thread(read) >= size
