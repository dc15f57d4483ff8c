"""The admin port's listener: where it may listen, what it leaves in the data directory, and how it stops."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Depends

from tests.admin.served import OPERATOR_TOKEN, READER_TOKEN, bearer, served
from tierproxy.admin.app import Site
from tierproxy.admin.callers import Caller, require
from tierproxy.admin.events import HEARTBEAT, MOST, Event, EventStream, events
from tierproxy.admin.local import LocalDoor, operator_token
from tierproxy.alt.memory import MemoryAlt
from tierproxy.clock import SystemClock
from tierproxy.config.operators import AdminSection
from tierproxy.config.sections import ListenSection
from tierproxy.disk.fsio import Files
from tierproxy.errors import ConfigError, NoSuchKey
from tierproxy.node import Node
from tierproxy.server import AdminServer
from tierproxy.server.admin_server import MOST_CONNECTIONS
from tierproxy.testing.certificates import write_certificate
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.rig import config_for
from tierproxy.testing.wire import until
from tierproxy.wiring import build


def node_on(root: Path, **admin: object) -> Node:
    listen = ListenSection(address="127.0.0.1:0", auth="none")
    settings = AdminSection(**{"address": "127.0.0.1:0", **admin})  # type: ignore[arg-type]
    config = config_for(root, admin=settings, listen=listen)
    return build(config, clock=SystemClock(), alt=MemoryAlt())


# ---------------------------------------------------------------- listening


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", ":0", "192.0.2.1:9301"])
async def test_it_refuses_to_listen_for_everybody_in_the_clear(tmp_path: Path, address: str) -> None:
    async with served(tmp_path) as one:
        with pytest.raises(ConfigError, match="in the clear") as refused:
            AdminServer(AdminSection(address=address), one.port, SystemClock())
        assert refused.value.hint
        AdminServer(AdminSection(address=address, behind_proxy=("10.0.0.5",)), one.port, SystemClock())


async def test_a_node_whose_admin_port_is_taken_does_not_start(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        node = node_on(tmp_path, address=f"127.0.0.1:{other.getsockname()[1]}")
        with pytest.raises(ConfigError, match="admin port: cannot listen") as refused:
            await node.start()
        assert "[admin]" in refused.value.hint
    assert not (tmp_path / "admin.json").exists()


async def test_a_node_has_an_admin_port_until_it_stops(tmp_path: Path) -> None:
    node = node_on(tmp_path)
    await node.start()
    try:
        assert node.admin is not None
        url = node.admin.url
        async with httpx.AsyncClient(base_url=url or "", timeout=60) as client:
            assert (await client.get("/health")).text == "ok"
    finally:
        await node.stop(1)
    async with httpx.AsyncClient(base_url=url or "", timeout=60) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("/health")


async def test_there_is_none_when_none_is_wanted(tmp_path: Path) -> None:
    node = node_on(tmp_path, enabled=False)
    await node.start()
    assert node.admin is None
    await node.stop(1)
    assert not list(tmp_path.glob("admin.*"))


async def test_a_new_certificate_is_followed(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path, "one")
    trust = ssl.create_default_context(cafile=certificate)
    async with served(tmp_path, tls_certificate=certificate, tls_key=key, verify=trust) as one:
        assert (await one.http.get("/health")).status_code == 200
        other = tmp_path / "other"
        other.mkdir()
        certificate, key = write_certificate(other, "two")
        admin = AdminSection(address="127.0.0.1:0", tls_certificate=certificate, tls_key=key)
        one.configure(admin=admin)
        door = LocalDoor.read(one.root)
        assert door is not None
        assert door.certificate == certificate
        async with one.fresh(verify=ssl.create_default_context(cafile=certificate)) as client:
            assert (await client.get("/health")).status_code == 200


# ---------------------------------------------------------------- the data directory


async def test_the_command_line_finds_the_port_while_it_is_open(tmp_path: Path) -> None:
    async with served(tmp_path) as one:
        file = one.root / "admin.json"
        assert file.stat().st_mode & 0o777 == 0o600
        door = LocalDoor.read(one.root)
        assert door is not None
        assert (door.url, door.pid) == (one.url, os.getpid())
        who = (await one.http.get("/api/session", headers=bearer(door.token))).json()
        assert (who["name"], who["role"]) == ("command line", "operate")
    assert not file.exists()


async def test_what_a_killed_node_left_opens_nothing(tmp_path: Path) -> None:
    async with served(tmp_path) as one:
        stale = LocalDoor.read(one.root)
    assert stale is not None
    (tmp_path / "data" / "admin.json").write_text(json.dumps({"url": "http://127.0.0.1:1", "pid": 1, "token": "x"}))
    async with served(tmp_path) as one:
        assert (await one.http.get("/api/session", headers=bearer(stale.token))).status_code == 401
        door = LocalDoor.read(one.root)
        assert door is not None
        assert door.url == one.url
        newer = LocalDoor("http://127.0.0.1:2", 2, "another's")
        newer.write(one.root, Files())
    assert LocalDoor.read(tmp_path / "data") == newer, "a stop removes no other node's file"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"url": 1}', "\x00"])
def test_a_torn_file_is_no_door(tmp_path: Path, text: str) -> None:
    (tmp_path / "admin.json").write_text(text)
    assert LocalDoor.read(tmp_path) is None


def test_a_token_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    token = operator_token(tmp_path, Files())
    assert operator_token(tmp_path, Files()) == token
    (tmp_path / "admin.token").chmod(0o640)
    with pytest.raises(ConfigError, match="others on this machine"):
        operator_token(tmp_path, Files())
    (tmp_path / "admin.token").write_text("\n")
    with pytest.raises(ConfigError, match="no token"):
        operator_token(tmp_path, Files())


# ---------------------------------------------------------------- event streams


class Source:
    """What a stream sends; ``closed``: its generator was ended."""

    def __init__(self) -> None:
        self.more = asyncio.Event()
        self.closed = False
        self.count = 2
        self.fail = False

    async def tell(self) -> AsyncIterator[Event]:
        try:
            for number in range(self.count):
                yield Event({"number": number}, "tick", str(number))
            if self.fail:
                raise NoSuchKey("it is gone")
            await self.more.wait()
        finally:
            self.closed = True


def streaming(source: Source) -> Site:
    router = APIRouter(prefix="/trial")

    @router.get("/events")
    async def tell(_caller: Annotated[Caller, Depends(require("read"))]) -> EventStream:
        return events(source.tell())

    return Site(api=(router,))


async def first(lines: AsyncIterator[str], count: int) -> list[str]:
    return [await anext(lines) for _ in range(count)]


async def test_events_arrive_one_by_one_and_a_stop_ends_them(tmp_path: Path) -> None:
    source = Source()
    async with served(tmp_path, site=streaming(source)) as one:
        async with one.http.stream("GET", "/api/trial/events", headers=bearer(READER_TOKEN)) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            lines = answer.aiter_lines()
            assert (await first(lines, 6))[2:5] == ["event: tick", "id: 0", 'data: {"number": 0}']
            async with asyncio.timeout(60):
                await one.server.stop(300)
                assert "data: " not in "".join([line async for line in lines])[-5:]
        assert source.closed
        assert one.port.streams.open == 0


async def test_a_stream_ends_with_its_source(tmp_path: Path) -> None:
    source = Source()
    source.more.set()
    source.count = 50
    async with served(tmp_path, site=streaming(source)) as one:
        text = (await one.http.get("/api/trial/events", headers=bearer(READER_TOKEN))).text
        assert text.count("data: ") == 50


async def test_a_source_that_fails_says_so_last(tmp_path: Path) -> None:
    source = Source()
    source.fail = True
    async with served(tmp_path, site=streaming(source)) as one:
        text = (await one.http.get("/api/trial/events", headers=bearer(READER_TOKEN))).text
        last = text.strip().split("\n\n")[-1]
        assert last.startswith("event: problem\n")
        assert json.loads(last.partition("data: ")[2])["code"] == "NoSuchKey"


async def test_a_client_that_leaves_ends_its_stream(tmp_path: Path) -> None:
    source = Source()
    async with served(tmp_path, site=streaming(source)) as one:
        async with one.http.stream("GET", "/api/trial/events", headers=bearer(READER_TOKEN)) as answer:
            await first(answer.aiter_lines(), 3)
            assert one.port.streams.open == 1
        await until(lambda: source.closed and one.port.streams.open == 0)


async def test_a_silent_stream_shows_that_it_lives_and_ends_with_its_login(tmp_path: Path) -> None:
    source, clock = Source(), VirtualClock()
    async with served(tmp_path, site=streaming(source), clock=clock) as one:
        headers = await one.log_in("bob")
        stream = one.http.stream("GET", "/api/trial/events")
        async with one.fresh(cookies=one.http.cookies) as other, stream as answer:
            lines = answer.aiter_lines()
            await first(lines, 10)
            await clock.advance(HEARTBEAT)
            assert await first(lines, 2) == [": alive", ""]
            assert (await other.post("/api/logout", headers=headers)).status_code == 204
            await clock.advance(HEARTBEAT)
            assert [line async for line in lines] == []
        await until(lambda: source.closed)


async def test_there_are_only_so_many_streams(tmp_path: Path) -> None:
    source = Source()
    async with served(tmp_path, site=streaming(source)) as one:
        one.port.streams.open = MOST
        refused = await one.http.get("/api/trial/events", headers=bearer(READER_TOKEN))
        assert (refused.status_code, refused.json()["code"]) == (503, "Busy")
        one.port.streams.open = 0


# ---------------------------------------------------------------- limits


async def test_connections_beyond_the_limit_are_closed(tmp_path: Path) -> None:
    async with served(tmp_path) as one:
        assert one.server.address is not None
        writers = [(await asyncio.open_connection(*one.server.address))[1] for _ in range(MOST_CONNECTIONS)]
        await until(lambda: one.server.connections == MOST_CONNECTIONS)
        reader, writer = await asyncio.open_connection(*one.server.address)
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        for open_one in [*writers, writer]:
            open_one.close()
        await until(lambda: one.server.connections == 0)
        assert (await one.http.get("/health")).status_code == 200


async def test_what_is_no_request_is_answered_without_the_object_ports_words(tmp_path: Path) -> None:
    async with served(tmp_path) as one:
        assert one.server.address is not None
        reader, writer = await asyncio.open_connection(*one.server.address)
        writer.write(b"nonsense\r\n\r\n")
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"xml" not in answer
        writer.close()
        assert (await one.http.get("/api/session", headers=bearer(OPERATOR_TOKEN))).status_code == 200


# ---------------------------------------------------------------- the whole node


async def test_no_route_of_a_whole_node_answers_who_is_not_logged_in(tmp_path: Path) -> None:
    node = node_on(tmp_path)
    await node.start()
    try:
        door = LocalDoor.read(tmp_path)
        assert door is not None
        async with httpx.AsyncClient(base_url=door.url, timeout=60) as client:
            document = (await client.get("/api/openapi.json", headers=bearer(door.token))).json()
            routes = [(method, path) for path, methods in document["paths"].items() for method in methods]
            assert len(routes) > 20
            answers = {
                path: (await client.request(method, re.sub(r"\{[^}]*\}", "1", path))).status_code
                for method, path in routes
            }
            assert {path for path, status in answers.items() if status != 401} == {"/api/login"}
            assert (await client.get("/")).status_code == 401
    finally:
        await node.stop(1)
