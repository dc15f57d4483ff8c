"""An object port with two hit workers, whose lane is a stub, in front of an app that says what it was asked."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import pickle
import signal
import ssl
from collections import Counter
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from tests.server.stub_worker import COMMAND, StubLane
from tierproxy.clock import SystemClock
from tierproxy.config.sections import Config, ListenSection
from tierproxy.s3api.lane.ports import Served
from tierproxy.server.shared_server import SharedServer
from tierproxy.store.alarms import AlarmBoard
from tierproxy.testing.wire import Client

WORKERS = 2


class App:
    """Says what was asked, of whom, how much came. GET /big/SIZE: that many bytes. GET /held: when ``go`` is set."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go = asyncio.Event()
        self.left = 0
        self.stored: dict[str, bytes] = {}

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        path = scope["path"]
        self.asked.append(f"{scope['method']} {path}")
        if path == "/held":
            await self.go.wait()
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left += 1
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if scope["method"] == "PUT":
            self.stored[path] = body
        told = json.dumps({
            "asked": f"{scope['method']} {path}", "size": len(body), "md5": hashlib.md5(body).hexdigest(),
            "peer": scope["client"][0] if scope["client"] else "", "scheme": scope["scheme"],
            "port": scope["client"][1] if scope["client"] else 0,
        }).encode()  # fmt: skip
        if path.startswith("/big/"):
            told = os.urandom(1) * int(path[5:])
        headers = [(b"content-length", b"%d" % len(told))]
        if path == "/close":
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for begin in range(0, len(told), 65536):
            piece = told[begin : begin + 65536]
            await send({"type": "http.response.body", "body": piece, "more_body": begin + 65536 < len(told)})


class Worked:
    """A started port; ``reads`` and ``answers``: what its lanes reported, the workers' and the node's."""

    def __init__(self, **listen: Any) -> None:
        self.app = App()
        self.reads: Counter[str] = Counter()
        self.clients: set[str] = set()
        self.answers: Counter[int] = Counter()
        self.alarms = AlarmBoard()
        section = ListenSection(**{"address": "127.0.0.1:0", "auth": "none", "workers": WORKERS, **listen})
        config = replace(Config(), listen=section)
        self.server = SharedServer(
            section, self.app, SystemClock(), lane=StubLane(), setup=lambda: pickle.dumps(config), served=self._served,
            alarms=self.alarms, command=COMMAND,
        )  # fmt: skip

    def _served(self, served: Served) -> None:
        self.answers.update(served.answers)
        for one in served.deliveries:
            self.reads[one.name.key] += one.times
            self.clients.add(one.visitor.client)

    @property
    def pids(self) -> list[int]:
        return [state.pid for state in self.server.workers]

    @property
    def passed(self) -> int:
        return sum(state.passed for state in self.server.workers)

    def kill(self, place: int) -> None:
        os.kill(self.server.workers[place].pid, signal.SIGKILL)

    async def client(self, tls: ssl.SSLContext | None = None, **options: Any) -> Client:
        assert self.server.address is not None
        name = "localhost" if tls else None
        host, port = self.server.address
        return Client(*await asyncio.open_connection(host, port, ssl=tls, server_hostname=name, **options))

    @asynccontextmanager
    async def connected(self, tls: ssl.SSLContext | None = None, **options: Any) -> AsyncIterator[Client]:
        client = await self.client(tls, **options)
        try:
            yield client
        finally:
            await client.close()


@asynccontextmanager
async def worked(**listen: Any) -> AsyncIterator[Worked]:
    """Everything of it has ended afterwards."""
    found = Worked(**listen)
    await found.server.start()
    pids = found.pids
    try:
        yield found
    finally:
        await found.server.stop(0.5)
    for pid in {*pids, *found.pids}:
        assert not os.path.exists(f"/proc/{pid}"), "a worker is left"
    assert found.server.connections == 0
