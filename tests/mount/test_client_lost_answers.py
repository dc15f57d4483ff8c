"""A real node does what it was asked and its answer is lost: the client finds out what became of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.mount.client_world import client_of, send
from tierproxy.clock import SystemClock
from tierproxy.config.sections import ListenSection
from tierproxy.mount.client import HttpNode
from tierproxy.mount.client_address import Address
from tierproxy.mount.ports import File, InTheWay
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.auth import Open
from tierproxy.s3api.exchange import CONNECTION
from tierproxy.server import ObjectServer
from tierproxy.testing.rig import Rig, rig

Message = MutableMapping[str, Any]
MAIL = b"From: ann@example.org\r\n\r\nHelo\r\n"


class Swallowing:
    """An app some of whose answers never leave the machine: the connection ends without a word."""

    def __init__(self, app: ObjectApp) -> None:
        self._app = app
        self.lose = 0  #: answers to changes that get lost from now on

    async def __call__(self, scope: Message, receive: Any, send: Callable[[Message], Awaitable[None]]) -> None:
        if scope["method"] not in {"PUT", "DELETE"} or not self.lose:
            await self._app(scope, receive, send)
            return
        self.lose -= 1
        connection = scope["extensions"][CONNECTION]

        async def swallow(_message: Message) -> None:
            """It was on its way."""

        await self._app(scope, receive, swallow)
        connection.abort()


@asynccontextmanager
async def swallowing(root: Path) -> AsyncIterator[tuple[HttpNode, Swallowing, Rig]]:
    listen = ListenSection(address="", unix_socket=str(root / "s3.sock"), auth="none")
    async with rig(root / "data") as node:
        app = Swallowing(ObjectApp(node.parts.store, Open(), listen, SystemClock()))
        server = ObjectServer(listen, app, SystemClock())
        await server.start()
        try:
            async with client_of(Address(socket=listen.unix_socket), root / "scratch") as client:
                yield client, app, node
        finally:
            await server.stop(0)


CHANGES: dict[str, Callable[[HttpNode, File], Awaitable[object]]] = {
    "create": lambda client, _: send(client, "a/u.2", MAIL, create=True),
    "replace": lambda client, file: send(client, "a/u.1", b"another", match=file.etag),
    "overwrite": lambda client, _: send(client, "a/u.1", b"another"),
    "copy": lambda client, file: client.copy(file, "b/u.1"),
    "touch": lambda client, file: client.touch(file, 2.0, 3.0),
    "mark": lambda client, _: client.mark("a/d/", 1.0),
    "delete": lambda client, file: client.delete("a/u.1", match=file.etag),
    "delete whatever": lambda client, _: client.delete("a/u.1"),
}


@pytest.mark.parametrize("lost", [1, 2])
@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_whose_answer_is_lost_is_done_once_and_reported_as_done(
    tmp_path: Path, change: str, lost: int
) -> None:
    async with swallowing(tmp_path) as (client, app, node):
        file = await send(client, "a/u.1", MAIL, create=True)
        app.lose = lost
        await CHANGES[change](client, file)
        app.lose = 0
        files = (await client.children("a/")).files
        found = {one.key: await node.get(one.key) for one in files}
        if change.startswith("delete"):
            assert found == {}
        elif change in {"replace", "overwrite"}:
            assert found == {"a/u.1": b"another"}
        elif change == "create":
            assert found == {"a/u.1": MAIL, "a/u.2": MAIL}
        elif change == "copy":
            assert await node.get("b/u.1") == MAIL
        elif change == "mark":
            assert (await client.children("a/d/")).marked
        else:
            assert [(one.modified, one.changed) for one in files] == [(2.0, 3.0)]


async def test_a_name_another_server_took_meanwhile_is_in_the_way_although_an_answer_was_lost(tmp_path: Path) -> None:
    async with swallowing(tmp_path) as (client, app, node):
        await node.put("a/u.1", b"somebody else's")
        app.lose = 1
        with pytest.raises(InTheWay):
            await send(client, "a/u.1", MAIL, create=True)
        assert await node.get("a/u.1") == b"somebody else's"
