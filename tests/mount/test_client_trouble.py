"""The client beside a node that fails: nothing short is returned, nothing uncertain is called certain."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.mount.client_actions import CHANGES, ETAG, FILE, MAIL, MIB, OURS, READS, STORED, WHOLE
from tests.mount.client_world import client_of, send
from tests.mount.fake_node import answer, closes, error, fake_node, hangs, says
from tierproxy.mount import client_content
from tierproxy.mount.client import Limits
from tierproxy.mount.ports import Doubt, InTheWay, NodeError, NoRoom, NotAllowed, NotThere
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.wire import until

client_read = client_content._read
RUBBISH: dict[str, bytes] = {
    "nothing": b"",
    "no http": b"hello there, this is no answer\r\n\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\ncontent-le",
    "half a body": answer(200, bytes(100), etag='"x"')[:-50],
    "no length": b'HTTP/1.1 200 OK\r\netag: "x"\r\n\r\n' + MAIL,
    "two lengths": b'HTTP/1.1 200 OK\r\netag: "x"\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n12345',
    "cut chunks": b'HTTP/1.1 200 OK\r\netag: "x"\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n',
    "endless head": b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000,
    "no etag": answer(200, MAIL),
}

# ---------------------------------------------------------------- what answers mean

MEANINGS: list[tuple[int, str, type[NodeError]]] = [
    (404, "NoSuchKey", NotThere),
    (404, "NoSuchBucket", Doubt),
    (404, "SomethingElse", Doubt),
    (412, "PreconditionFailed", InTheWay),
    (409, "ConditionalRequestConflict", InTheWay),
    (403, "AccessDenied", NotAllowed),
    (403, "SignatureDoesNotMatch", NotAllowed),
    (507, "InsufficientStorage", NoRoom),
    (503, "SlowDown", Doubt),
    (502, "BadGateway", Doubt),
    (500, "InternalError", Doubt),
    (301, "", Doubt),
    (400, "InvalidArgument", Doubt),
    (416, "InvalidRange", Doubt),
]


@pytest.mark.parametrize(("status", "code", "kind"), MEANINGS)
async def test_each_answer_means_one_error(tmp_path: Path, status: int, code: str, kind: type[NodeError]) -> None:
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s") as client:
        for read in (READS["open"], READS["piece"]):
            node.will(error(status, code))
            with pytest.raises(NodeError) as caught:
                await read(client)
            assert type(caught.value) is kind
            assert code in str(caught.value)
        node.will(answer(status, x_tierproxy_error=code))
        with pytest.raises(NodeError) as caught:
            await client.look("a/u.1")
        assert type(caught.value) is kind


@pytest.mark.parametrize("body", [b"", b"<html>Not Found</html>", b"<Code>NoSuchKey</Code>"])
async def test_a_404_that_does_not_name_the_key_is_doubt(tmp_path: Path, body: bytes) -> None:
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s") as client:
        node.will(answer(404, body), answer(404))
        with pytest.raises(Doubt):
            await client.open("a/u.1")
        with pytest.raises(Doubt):
            await client.look("a/u.1")


async def test_nobody_listening_is_doubt(tmp_path: Path) -> None:
    async with fake_node(tmp_path) as node:
        address = node.address
    async with client_of(address, tmp_path / "s") as client:
        for action in (*READS.values(), *CHANGES.values()):
            with pytest.raises(Doubt):
                await action(client)


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("rubbish", RUBBISH)
async def test_what_is_no_whole_answer_is_doubt(tmp_path: Path, read: str, rubbish: str) -> None:
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s") as client:
        node.will(says(RUBBISH[rubbish], keep=False))
        with pytest.raises(Doubt):
            await READS[read](client)
        assert client._pool.open == client._pool.idle
        node.will(answer(200, b'{"total": 3, "used": 2, "objects": 1}'))
        assert (await client.room()).used == 2


@pytest.mark.parametrize("body", [b"[]", b"{", b"\xff", b'{"marked": 1}', b'{"total": "many"}', b"null", b""])
async def test_a_document_that_is_another_one_is_doubt(tmp_path: Path, body: bytes) -> None:
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s") as client:
        for read in ("children", "room"):
            node.will(answer(200, body))
            with pytest.raises(Doubt):
                await READS[read](client)


@pytest.mark.parametrize("entry", ["{}", "1", '{"name": 1}', '{"name": "u", "size": "x"}'])
async def test_children_that_are_none_are_doubt(tmp_path: Path, entry: str) -> None:
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s") as client:
        page = f'{{"marked": false, "files": [{entry}], "directories": [], "next": ""}}'
        node.will(answer(200, page.encode()))
        with pytest.raises(Doubt):
            await client.children("a/")


async def test_a_body_nobody_took_does_not_get_into_the_next_answer(tmp_path: Path) -> None:
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s") as client:
        node.will(answer(200, MAIL), WHOLE)
        with pytest.raises(Doubt):
            await client.open("a/u.1")
        assert (await client.open("a/u.1")).head == MAIL


@pytest.mark.parametrize("piece", ["bytes 0-4/30", "bytes 1-5/31", "bytes 0-4/*", ""])
async def test_another_piece_than_was_asked_for_is_doubt(tmp_path: Path, piece: str) -> None:
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s") as client:
        node.will(answer(206, MAIL[:5], content_range=piece))
        with pytest.raises(Doubt):
            await client.piece(FILE, 0, 5)
        node.will(answer(206, MAIL[:4], content_range=f"bytes 0-4/{len(MAIL)}"))
        with pytest.raises(Doubt):
            await client.piece(FILE, 0, 5)
        node.will(answer(206, MAIL[:6], content_range=f"bytes 0-4/{len(MAIL)}"))
        with pytest.raises(Doubt):
            await client.piece(FILE, 0, 5)
        node.will(WHOLE)
        with pytest.raises(Doubt):
            await client.piece(FILE, 0, 5)


@pytest.mark.parametrize(
    "stub", ["size=100; head=10; tail=22", "size=20; head=10; tail=21", "head=10", "", "size=100; head=9; tail=21"]
)
async def test_a_stub_that_contradicts_itself_is_doubt(tmp_path: Path, stub: str) -> None:
    assert len(MAIL) == 31
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s") as client:
        node.will(answer(200, MAIL, etag='"x"', x_tierproxy_tier="stub", x_tierproxy_stub=stub))
        with pytest.raises(Doubt):
            await client.open("a/u.1")
        node.will(answer(200, MAIL, etag='"x"', x_tierproxy_tier="stub", x_tierproxy_stub="size=100; head=10; tail=21"))
        body = await client.open("a/u.1")
        assert (body.head, body.tail, body.stub, body.file.size) == (MAIL[:10], MAIL[10:], True, 100)
        assert node.heard[-1].headers["x-tierproxy-accept"] == "stub"


async def test_an_error_behind_200_is_an_error(tmp_path: Path) -> None:
    """The node answers copies that take long with 200 first."""
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s") as client:
        node.will(answer(200, b"<?xml?>  <Error><Code>NoSuchKey</Code><Message>gone</Message></Error>"))
        with pytest.raises(NotThere):
            await client.copy(FILE, "b/u.1")


async def test_a_body_that_was_stored_otherwise_is_doubt(tmp_path: Path) -> None:
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s") as client:
        node.will(answer(200, etag='"another"'))
        with pytest.raises(Doubt):
            await send(client, "a/u.1", MAIL)


# ---------------------------------------------------------------- connections


async def test_requests_share_a_connection(tmp_path: Path) -> None:
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s") as client:
        node.will(WHOLE, OURS, STORED, answer(204))
        await client.open("a/u.1")
        await client.look("a/u.1")
        await send(client, "a/u.1", MAIL)
        await client.delete("a/u.1")
        assert node.connections == 1


@pytest.mark.parametrize("action", [*READS, *CHANGES])
async def test_a_connection_the_node_has_just_closed_costs_nothing(tmp_path: Path, action: str) -> None:
    good = {
        "open": WHOLE, "piece": answer(206, MAIL[:5], content_range=f"bytes 0-4/{len(MAIL)}"),
        "children": answer(200, b'{"marked": false, "files": [], "directories": [], "next": ""}'),
        "room": answer(200, b'{"total": 3, "used": 2, "objects": 1}'), "put": STORED, "copy": STORED,
        "delete": answer(204), "mark": STORED,
    }[action]  # fmt: skip
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s") as client:
        node.will(OURS, closes(), good)
        await client.look("a/u.1")
        await (READS | CHANGES)[action](client)
        assert node.connections == 2
        assert (node.heard[1].method, node.heard[1].headers) == (node.heard[2].method, node.heard[2].headers)
        assert node.heard[1].body == node.heard[2].body


async def test_a_closed_connection_in_the_pool_is_not_used(tmp_path: Path) -> None:
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s") as client:
        node.will(says(OURS, keep=False), OURS)
        await client.look("a/u.1")
        await until(lambda: node.now == 0)
        await client.look("a/u.1")
        assert len(node.heard) == 2


async def test_a_connection_that_grew_old_is_not_used(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s", clock=clock) as client:
        node.will(OURS, OURS, OURS)
        await client.look("a/u.1")
        await clock.advance(50)
        await client.look("a/u.1")
        assert node.connections == 1
        await clock.advance(60)
        await client.look("a/u.1")
        assert node.connections == 2


@pytest.mark.parametrize("stray", [answer(200, MAIL, etag='"stray"'), answer(200), b"HTTP/1.1 20", b"x"])
@pytest.mark.parametrize("method", ["HEAD", "PUT"])
async def test_bytes_behind_an_answer_end_the_connection(tmp_path: Path, stray: bytes, method: str) -> None:
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s") as client:
        if method == "PUT":
            node.will(STORED + stray)
            await send(client, "a/u.1", MAIL)
        else:
            node.will(OURS.replace(b"length: 0", b"length: 31") + stray)
            await client.look("a/u.1")
        node.will(WHOLE)
        assert (await client.open("a/u.1")).file.etag == ETAG
        assert node.connections == 2


async def test_connections_are_bounded(tmp_path: Path) -> None:
    limits = Limits(connections=2)
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s", limits=limits) as client:
        node.will(*[OURS] * 20)
        await asyncio.gather(*(client.look(f"a/u.{number}") for number in range(20)))
        assert node.connections <= 3  # one is the change feed's


@pytest.mark.parametrize("moment", ["before", "half"])
async def test_a_cancelled_caller_leaves_no_connection_behind_in_a_wrong_state(tmp_path: Path, moment: str) -> None:
    half = WHOLE[:-10] if moment == "half" else b""

    async def stalls(writer: asyncio.StreamWriter) -> bool:
        writer.write(half)
        return await hangs(writer)

    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s") as client:
        node.will(OURS, stalls)
        await client.look("a/u.1")
        task = asyncio.create_task(client.open("a/u.1"))
        await until(lambda: len(node.heard) == 2)
        await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()
        assert client._pool.open == 0
        node.will(WHOLE)
        assert (await client.open("a/u.1")).head == MAIL


async def test_a_closed_client_opens_nothing_any_more(tmp_path: Path) -> None:
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s") as client:
        node.will(OURS, hangs)
        await client.look("a/u.1")
        task = asyncio.ensure_future(client.look("a/u.1"))
        await until(lambda: len(node.heard) == 2)
        await client.close()
        with pytest.raises(Doubt):
            await task
        assert (node.connections, client._pool.open) == (1, 0)


async def test_a_refusal_ends_an_upload_that_is_still_being_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    pieces: list[int] = []

    def counted(*args: Any) -> bytes:
        pieces.append(1)
        return client_read(*args)

    monkeypatch.setattr(client_content, "_read", counted)
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s") as client:
        node.eager = True

        async def refuses(writer: asyncio.StreamWriter) -> bool:
            writer.write(error(507, "InsufficientStorage"))
            return await hangs(writer)

        node.will(refuses)
        with pytest.raises(NoRoom):
            await send(client, "a/u.1", bytes(16 * MIB))
        assert len(pieces) < 16
        assert client._pool.open == 0
