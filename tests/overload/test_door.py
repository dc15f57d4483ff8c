"""Accepting while the system has nothing to accept with."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tierproxy.config.sections import ListenSection
from tierproxy.server.descriptors import (
    FEWEST_CONNECTIONS,
    MOST_CONNECTIONS,
    allowed_connections,
    worker_connections,
)
from tierproxy.server.door import PAUSE, TLS_HANDSHAKE
from tierproxy.testing.certificates import write_certificate
from tierproxy.testing.memory_store import MemoryStore
from tierproxy.testing.wire import connected, on_both_loops, served, until

CHILD = Path(__file__).with_name("out_of_descriptors.py")


@on_both_loops
async def test_an_accept_that_fails_neither_spins_the_loop_nor_ends_the_listener(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(MemoryStore()) as server:
        [door] = server._doors
        bound, tries = door._bound, 0

        class Refusing:
            def accept(self) -> None:
                nonlocal tries
                tries += 1
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

            def __getattr__(self, name: str) -> object:
                return getattr(bound, name)

        monkeypatch.setattr(door, "_bound", Refusing())
        with caplog.at_level(logging.ERROR, "tierproxy.server"):
            async with connected(server) as waiting:
                await until(lambda: tries >= 2)
                before = tries
                await asyncio.sleep(3 * PAUSE)
                assert tries - before <= 6
                assert server.overload()["accept failed"] == tries
                monkeypatch.setattr(door, "_bound", bound)
                assert (await waiting.request("GET /-/health HTTP/1.1"))[0] == 200
        assert [record.message for record in caplog.records].count("connections not accepted") == 1


@on_both_loops
async def test_errors_of_a_connection_that_was_to_be_accepted_concern_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(MemoryStore()) as server:
        [door] = server._doors
        bound, left = door._bound, [errno.ECONNABORTED, errno.EPROTO]

        class Once:
            def accept(self) -> object:
                if left:
                    raise OSError(left.pop(), "gone")
                return bound.accept()

            def __getattr__(self, name: str) -> object:
                return getattr(bound, name)

        monkeypatch.setattr(door, "_bound", Once())
        async with connected(server) as client:
            assert (await client.request("GET /-/health HTTP/1.1"))[0] == 200
        assert server.overload()["accept failed"] == 0


@on_both_loops
async def test_a_server_stops_while_it_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(MemoryStore()) as server:
        server._doors[0]._rest(OSError(errno.EMFILE, "none"))
        await server.stop(0)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_process_that_runs_out_of_descriptors_serves_again_when_there_are_some(loop: str) -> None:
    """In a process of its own, whose limit is low: clients that come meanwhile are served afterwards."""
    done = subprocess.run([sys.executable, str(CHILD), loop], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "served again"


def test_connections_leave_descriptors_for_files_and_alt(monkeypatch: pytest.MonkeyPatch) -> None:
    def limit(soft: int) -> int:
        monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, soft))
        return allowed_connections(ListenSection())

    assert limit(256) == FEWEST_CONNECTIONS
    assert limit(1024) == (1024 - 128 - 512 - 256) // 2
    assert limit(4096) == 4096 - 512 - 512 - 256 - 1250
    assert limit(1_048_576) == limit(resource.RLIM_INFINITY) == MOST_CONNECTIONS


def test_nobody_is_promised_connections_the_system_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (4096, 4096))
    assert allowed_connections(ListenSection(max_connections=100)) == 100
    assert allowed_connections(ListenSection(max_connections=100_000)) < 4096
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_048_576, 1_048_576))
    assert allowed_connections(ListenSection(max_connections=100_000)) == 100_000


def test_workers_divide_the_connections_among_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (4096, 4096))
    assert worker_connections(ListenSection(max_connections=101, workers=2)) == 51
    plain = worker_connections(ListenSection(workers=1))
    assert worker_connections(ListenSection(workers=1, tls_certificate="c", tls_key="k")) == plain // 2


async def test_a_port_closes_who_was_still_shaking_hands(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path, "127.0.0.1")
    tls: dict[str, Any] = {"tls_certificate": certificate, "tls_key": key}
    async with served(MemoryStore(), **tls) as server, connected(server) as silent:
        await until(lambda: server.capacity.arriving)
        await server.stop(5)
        assert not server.capacity.arriving
        async with asyncio.timeout(TLS_HANDSHAKE / 2):
            assert await silent.closed() == b""
