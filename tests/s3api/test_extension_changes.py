"""The change feed: nothing that commits is missing, nobody who listens is in the way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import BucketSection, ListenSection, WriteSection
from tierproxy.errors import AltUncertain, DiskUnavailable, ShuttingDown, TierproxyError
from tierproxy.model import Ack, Headers, OnAltDown, State
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.auth import Open
from tierproxy.s3api.extension.changes import GOODBYE, HEARTBEAT
from tierproxy.server import ObjectServer
from tierproxy.store.body import Md5Check, MemorySource
from tierproxy.store.feed import Change, ChangeFeed, Listener
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.faults import Effect, FaultyAlt
from tierproxy.testing.probe import Call, Ending, Probe
from tierproxy.testing.rig import BUCKET, Rig, name, pieces, rig
from tierproxy.testing.wire import Client, until

KEYS = st.sampled_from(["a/1", "a/"])
KINDS = st.sampled_from(
    ["put", "delete", "copy", "multipart", "get", "head", "purge", "uncertain", "done anyway", "late", "theirs",
     "theirs", "theirs gone"]
)  # fmt: skip
Ops = list[tuple[str, str, str, Ack]]
OPS = st.lists(st.tuples(KINDS, KEYS, KEYS, st.sampled_from(list(Ack))), min_size=1, max_size=15)

# ---------------------------------------------------------------- nothing is missing


class World:
    """A store with everything that can change a name, and a dictionary that only listens."""

    def __init__(self, node: Rig, alt: FaultyAlt, memory: MemoryAlt) -> None:
        self.node = node
        self.alt = alt
        self.memory = memory
        self.listener = node.parts.store.listen(BUCKET)
        self.heard: dict[str, str] = {}
        self.numbers = iter(range(10**6))

    async def run(self, kind: str, key: str, other: str, ack: Ack) -> None:
        self.alt.heal()
        body = b"%d" % next(self.numbers)
        with suppress(TierproxyError):  # the client hears no; what became of it is told all the same
            await getattr(self, kind.replace(" ", "_"))(key, other, ack, body)
        await self.node.idle()

    async def put(self, key: str, other: str, ack: Ack, body: bytes) -> None:
        await self.node.put(key, body, ack=ack)

    async def delete(self, key: str, other: str, ack: Ack, body: bytes) -> None:
        await self.node.delete(key)

    async def copy(self, key: str, other: str, ack: Ack, body: bytes) -> None:
        await self.node.parts.store.copy(name(key), name(other), ack=ack)

    async def multipart(self, key: str, other: str, ack: Ack, body: bytes) -> None:
        uploads = self.node.parts.store.multipart
        upload = await uploads.create(name(key), Headers(), ack, None, None)
        part = await uploads.put_part(upload, 1, len(body), pieces(body, 9), Md5Check(len(body)))
        await uploads.complete(upload, [(1, part.etag)])

    async def get(self, key: str, other: str, ack: Ack, body: bytes) -> None:
        await self.node.get(key)

    async def head(self, key: str, other: str, ack: Ack, body: bytes) -> None:
        await self.node.parts.store.head(name(key))

    async def purge(self, key: str, other: str, ack: Ack, body: bytes) -> None:
        await self.node.purge(key)

    async def uncertain(self, key: str, other: str, ack: Ack, body: bytes) -> None:
        self.alt.fail("put", AltUncertain("?"))
        await self.node.put(key, body, ack=ack)

    async def done_anyway(self, key: str, other: str, ack: Ack, body: bytes) -> None:
        self.alt.fail("put", effect=Effect.DONE)
        self.alt.fail("head")
        await self.node.put(key, body, ack=ack)

    async def late(self, key: str, other: str, ack: Ack, body: bytes) -> None:
        landing = self.alt.late("put")
        try:
            await self.node.put(key, body, ack=ack)
        finally:
            if landing.waiting:
                await landing.land()

    async def theirs(self, key: str, other: str, ack: Ack, body: bytes) -> None:
        if not self.node.parts.buckets.exclusive(BUCKET):
            await self.memory.put(name(key), MemorySource(body), Headers(metadata={"mtime": "1"}), md5="")

    async def theirs_gone(self, key: str, other: str, ack: Ack, body: bytes) -> None:
        if not self.node.parts.buckets.exclusive(BUCKET):
            self.memory.lose(name(key))

    async def compare(self) -> None:
        for key, etag in self.listener.take():
            if etag:
                self.heard[key] = etag
            else:
                self.heard.pop(key, None)
        rows = await self.node.parts.catalogue.keys_after(BUCKET, "", 1000)
        known = {row.key for row in rows if row.state is not State.DELETING}
        assert self.heard == {key: row.etag for key in known if (row := self.node.row(key)) is not None}


async def _listens(root: Path, ops: Ops, *, exclusive: bool, refuse: bool) -> None:
    memory = MemoryAlt()
    alt = FaultyAlt(memory)
    mode = OnAltDown.REFUSE if refuse else OnAltDown.QUEUE
    sections: dict[str, Any] = {
        "bucket": (BucketSection(name=BUCKET, exclusive=exclusive),), "write": WriteSection(on_alt_down=mode),
    }  # fmt: skip
    async with rig(root, alt=alt, clock=VirtualClock(), check=False, **sections) as node:
        world = World(node, alt, memory)
        for op in ops:
            await world.run(*op)
            await world.compare()
        alt.heal()


@settings(max_examples=60, deadline=None)
@given(ops=OPS, exclusive=st.booleans(), refuse=st.booleans())
def test_who_listens_knows_every_name_the_catalogue_knows(ops: Ops, exclusive: bool, refuse: bool) -> None:
    with TemporaryDirectory() as directory:
        asyncio.run(_listens(Path(directory), ops, exclusive=exclusive, refuse=refuse))


@pytest.mark.parametrize(
    "kinds", [("theirs", "head"), ("theirs", "get"), ("put", "theirs", "head"), ("put", "theirs", "get"),
              ("put", "theirs gone", "head"), ("put", "uncertain", "head"), ("put", "done anyway", "get")], ids="-".join
)  # fmt: skip
async def test_what_alt_teaches_is_told(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    await _listens(tmp_path, [(kind, "a/1", "a/1", Ack.BOTH) for kind in kinds], exclusive=False, refuse=True)


async def test_a_write_is_told_without_looking_its_row_up_again(tmp_path: Path) -> None:
    """It is in the way of every delivery."""
    async with rig(tmp_path) as node:
        feed = node.parts.store.feed
        listener = feed.listen(BUCKET)
        asked: list[str] = []
        feed._find = lambda one: asked.append(one.key)
        written = await node.put("a/1", b"x")
        assert listener.take() == [Change("a/1", written.entry.etag)]
        assert asked == []
        listener.close()


@pytest.mark.parametrize("kind", ["put", "delete", "copy", "multipart"])
async def test_a_change_is_told_before_its_request_is_answered(tmp_path: Path, kind: str) -> None:
    async with rig(tmp_path, alt=MemoryAlt()) as node:
        await node.put("a/1", b"first")
        world = World(node, FaultyAlt(MemoryAlt()), MemoryAlt())
        await getattr(world, kind)("a/1", "a/2", Ack.BOTH, b"second")
        changed = "a/2" if kind == "copy" else "a/1"
        assert changed in [change.key for change in world.listener.take()]


# ---------------------------------------------------------------- one listener


def feed(limit: int = 10) -> ChangeFeed:
    return ChangeFeed(lambda _name: None, limit)


def test_a_listener_that_does_not_keep_up_is_lost_and_holds_nothing() -> None:
    source = feed(3)
    listener = source.listen(BUCKET)
    for number in range(5):
        source.tell(name(str(number)))
    assert listener.lost
    assert listener.take() == []
    source.tell(name("9"))
    assert listener.take() == []


def test_changes_elsewhere_are_not_told() -> None:
    source = feed()
    listener = source.listen(BUCKET, "a/")
    for key in ("a/1", "b/1", "a"):
        source.tell(name(key))
    assert listener.take() == [Change("a/1", "")]
    listener.close()
    source.tell(name("a/2"))
    assert listener.take() == []
    assert source.listeners == 0


def test_a_catalogue_that_cannot_be_read_makes_listeners_begin_again() -> None:
    def broken(_name: object) -> None:
        raise DiskUnavailable

    source = ChangeFeed(broken)
    listener = source.listen(BUCKET)
    source.tell(name("a/1"))
    assert listener.lost


def test_a_closed_feed_takes_nobody() -> None:
    source = feed()
    listener = source.listen(BUCKET)
    source.close()
    assert listener.ended
    with pytest.raises(ShuttingDown):
        source.listen(BUCKET)


# ---------------------------------------------------------------- over HTTP


@asynccontextmanager
async def listening(node: Rig, query: str = "", *, hold: bool = False) -> AsyncIterator[Call]:
    app = ObjectApp(node.parts.store, Open(), ListenSection(auth="none"), node.parts.clock)
    async with Probe(app).call("GET", f"/mail?tierproxy-changes{query}", hold=hold) as call:
        await call.send(b"", last=True)
        assert await call.started() == 200
        yield call


async def on_a_socket(node: Rig) -> ObjectServer:
    listen = ListenSection(address="127.0.0.1:0", auth="none")
    server = ObjectServer(listen, ObjectApp(node.parts.store, Open(), listen, node.parts.clock), node.parts.clock)
    await server.start()
    return server


async def opened(server: ObjectServer) -> Client:
    assert server.address is not None
    return Client(*await asyncio.open_connection(*server.address))


def lines(call: Call) -> list[Any]:
    return [json.loads(line) for line in b"".join(call.pieces).split(b"\n") if line]


async def test_it_says_hello_and_then_one_line_for_each_change(tmp_path: Path) -> None:
    async with rig(tmp_path) as node, listening(node, "&prefix=a/") as call:
        assert call.headers["content-type"] == "application/x-ndjson"
        written = await node.put("a/ü", b"mail")
        await node.put("b/1", b"mail")
        await node.delete("a/ü")
        await until(lambda: len(lines(call)) == 3)
        epoch = node.parts.store.feed.epoch
        assert lines(call) == [{"hello": epoch}, {"key": "a/ü", "etag": written.entry.etag}, {"key": "a/ü", "etag": ""}]


async def test_silence_has_a_heartbeat(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with rig(tmp_path, clock=clock) as node, listening(node) as call:
        await until(lambda: len(call.pieces) == 1)
        await clock.advance(HEARTBEAT - 0.1)
        assert len(call.pieces) == 1
        for beats in (1, 2):
            await clock.advance(HEARTBEAT)
            await until(lambda beats=beats: call.pieces[1:] == [b"\n"] * beats)  # type: ignore[misc]


async def test_a_client_that_leaves_is_noticed_without_a_change_or_a_heartbeat(tmp_path: Path) -> None:
    async with rig(tmp_path, clock=VirtualClock()) as node, listening(node) as call:
        await until(lambda: call.pieces)
        call.leave()
        await call.ended()
        assert node.parts.store.feed.listeners == 0


async def test_a_client_that_does_not_keep_up_is_cut_off(tmp_path: Path) -> None:
    async with rig(tmp_path) as node:
        node.parts.store.feed._limit = 3
        async with listening(node, hold=True) as call:
            await call.take()
            await until(lambda: call.pieces)
            for number in range(6):
                await node.put(f"a/{number}", b"x")
            await call.take(2)
            assert await call.ended() is Ending.CUT
            assert node.parts.store.feed.listeners == 0


async def test_a_node_that_stops_ends_the_stream_in_order(tmp_path: Path) -> None:
    async with rig(tmp_path) as node, listening(node) as call:
        await node.put("a/1", b"x")
        node.parts.store.feed.close()
        assert await call.ended() is Ending.WHOLE
        assert [line.get("key") for line in lines(call)] == [None, "a/1"]


async def test_a_node_that_stops_does_not_wait_for_streams_nor_cut_them(tmp_path: Path) -> None:
    async with rig(tmp_path, clock=VirtualClock()) as node:
        server = await on_a_socket(node)
        node.node.server = server  # stopped with the node
        client = await opened(server)
        await client.send(b"GET /mail?tierproxy-changes HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await client.head())[0] == 200
        await until(lambda: node.parts.store.feed.listeners)
    assert (await client.closed()).endswith(b"\r\n0\r\n\r\n")
    await client.close()


@asynccontextmanager
async def held_up(tmp_path: Path) -> AsyncIterator[tuple[Rig, VirtualClock]]:
    """A client that has begun to listen and takes nothing any more, until all buffers on the way are full."""
    clock = VirtualClock()
    async with rig(tmp_path, clock=clock) as node:
        server, feed = await on_a_socket(node), node.parts.store.feed
        client = await opened(server)
        try:
            await client.send(b"GET /mail?tierproxy-changes HTTP/1.1\r\nhost: x\r\n\r\n")
            await client.head()
            await until(lambda: feed.listeners)
            [listener] = feed._listeners
            while not listener._waiting:
                for number in range(1000):
                    feed.tell(name("k" * 900 + str(number)))
                await clock.settle()
                await asyncio.sleep(0.005)
            yield node, clock
        finally:
            await client.close()
            await server.stop(0)


async def test_a_socket_client_that_takes_nothing_is_cut_off_when_too_much_waits(tmp_path: Path) -> None:
    async with held_up(tmp_path) as (node, _):
        feed = node.parts.store.feed
        [listener] = feed._listeners
        while not listener.lost:
            feed.tell(name("a/1"))
        await until(lambda: not feed.listeners)


async def test_a_node_that_stops_does_not_wait_for_a_client_that_takes_nothing(tmp_path: Path) -> None:
    async with held_up(tmp_path) as (node, clock):
        feed = node.parts.store.feed
        feed.close()
        await clock.settle()
        assert feed.listeners, "a moment it has"
        await clock.advance(GOODBYE)
        await until(lambda: not feed.listeners)


async def test_a_socket_client_that_leaves_is_noticed(tmp_path: Path) -> None:
    async with rig(tmp_path, clock=VirtualClock()) as node:
        server = await on_a_socket(node)
        client = await opened(server)
        await client.send(b"GET /mail?tierproxy-changes HTTP/1.1\r\nhost: x\r\n\r\n")
        await client.head()
        await until(lambda: node.parts.store.feed.listeners)
        await client.close()
        await until(lambda: not node.parts.store.feed.listeners)
        await server.stop(0)


def woken(listener: Listener) -> bool:
    return listener._woken.is_set()


def test_taking_everything_ends_the_waking() -> None:
    source = feed()
    listener = source.listen(BUCKET)
    source.tell(name("a/1"))
    assert woken(listener)
    listener.take()
    assert not woken(listener)
