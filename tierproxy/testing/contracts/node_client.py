"""What every client of a node promises the mount (``tierproxy.mount.ports.NodeClient``).

Each promise is an ``async def`` that takes a ``Rig``; run every one of ``PROMISES`` on a rig of its own:

    @pytest.mark.parametrize("promise", PROMISES, ids=name)
    async def test_node_client_contract(promise):
        async with my_rig() as rig:
            await promise(rig)
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Protocol

import pytest

from tierproxy.mount.ports import Body, File, InTheWay, NodeClient, NotThere, Told, Upload

BODY = bytes(range(256)) * 256
WAIT = 20.0


class Rig(Protocol):
    """``client`` and, on the node's side, what others do."""

    client: NodeClient

    async def put(self, key: str, body: bytes) -> None:
        """Somebody else writes."""
        ...

    async def remove(self, key: str) -> None:
        """Somebody else deletes."""
        ...

    async def body(self, key: str) -> bytes | None:
        """What the node has there; None: nothing."""
        ...

    async def to_stub(self, key: str) -> bool:
        """Leave only head and tail of it on the node's disk; False where this node cannot."""
        ...


Promise = Callable[[Rig], Awaitable[None]]


def name(promise: Promise) -> str:
    return promise.__name__


def md5(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()


def content(body: Body) -> bytes:
    """All of a whole body; gives its descriptor back."""
    assert not body.stub
    if body.fd is None:
        return body.head
    try:
        return os.pread(body.fd, body.file.size, 0)
    finally:
        os.close(body.fd)


async def send(
    rig: Rig, key: str, body: bytes = BODY, *, create: bool = False, match: str = "", modified: float = 1.5e9,
    changed: float = 1.6e9, size: int | None = None, change: str = "",
) -> File:  # fmt: skip
    fd = os.memfd_create("body")
    try:
        os.write(fd, body)
        upload = Upload(key, fd, len(body) if size is None else size, modified, changed, create, match, change=change)
        return await rig.client.put(upload)
    finally:
        os.close(fd)


async def what_is_put_is_opened_byte_for_byte(rig: Rig) -> None:
    for size in (0, 1, 8192, len(BODY)):
        file = await send(rig, f"a/size-{size}", BODY[:size])
        assert (file.key, file.size, file.etag) == (f"a/size-{size}", size, md5(BODY[:size]))
        assert content(await rig.client.open(file.key)) == BODY[:size]
        assert content(await rig.client.open(file.key, stub=False)) == BODY[:size]


async def only_the_first_size_bytes_are_sent(rig: Rig) -> None:
    await send(rig, "a/u.1", b"mail and more", size=4)
    assert await rig.body("a/u.1") == b"mail"


async def times_are_kept(rig: Rig) -> None:
    file = await send(rig, "a/u.1", modified=1_500_000_000.25, changed=1_600_000_000.5)
    assert (file.modified, file.changed) == (1_500_000_000.25, 1_600_000_000.5)
    assert await rig.client.look("a/u.1") == file
    assert (await rig.client.children("a/")).files == (file,)
    assert (await rig.client.open("a/u.1")).file == file


async def times_can_be_changed_for_this_very_content(rig: Rig) -> None:
    file = await send(rig, "a/u.1")
    touched = await rig.client.touch(file, 1_400_000_000.0, 1_400_000_001.0)
    assert touched == replace(file, modified=1_400_000_000.0, changed=1_400_000_001.0)
    assert await rig.client.look("a/u.1") == touched
    assert await rig.body("a/u.1") == BODY
    with pytest.raises(InTheWay):
        await rig.client.touch(replace(file, etag=md5(b"another")), 1.0, 1.0)
    with pytest.raises(NotThere):
        await rig.client.touch(replace(file, key="a/none"), 1.0, 1.0)


async def what_is_not_there_is_not_there(rig: Rig) -> None:
    with pytest.raises(NotThere):
        await rig.client.look("a/none")
    for stub in (True, False):
        with pytest.raises(NotThere):
            await rig.client.open("a/none", stub=stub)
    with pytest.raises(NotThere):
        await rig.client.piece(File("a/none", 1, "x", 0.0, 0.0), 0, 1)
    with pytest.raises(NotThere):
        await rig.client.copy(File("a/none", 1, "x", 0.0, 0.0), "a/new")
    nothing = await rig.client.children("none/")
    assert (nothing.files, nothing.directories, nothing.marked) == ((), (), False)


async def create_does_not_overwrite(rig: Rig) -> None:
    await send(rig, "a/u.1", b"first", create=True)
    for body in (b"second", b"first"):
        with pytest.raises(InTheWay):
            await send(rig, "a/u.1", body, create=True)
    assert await rig.body("a/u.1") == b"first"


async def of_many_creators_one_wins(rig: Rig) -> None:
    answers = await asyncio.gather(
        *(send(rig, "a/u.1", b"%d" % number, create=True) for number in range(5)), return_exceptions=True
    )
    won = [number for number, answer in enumerate(answers) if isinstance(answer, File)]
    assert len(won) == 1
    assert all(isinstance(answer, (File, InTheWay)) for answer in answers)
    assert await rig.body("a/u.1") == b"%d" % won[0]


async def match_overwrites_only_that_content(rig: Rig) -> None:
    file = await send(rig, "a/u.1", b"first")
    for key in ("a/u.1", "a/none"):
        with pytest.raises(InTheWay):
            await send(rig, key, b"second", match=md5(b"other"))
    await send(rig, "a/u.1", b"second", match=file.etag)
    assert await rig.body("a/u.1") == b"second"


async def without_a_condition_it_overwrites(rig: Rig) -> None:
    await send(rig, "a/u.1", b"first")
    await send(rig, "a/u.1", b"second")
    assert await rig.body("a/u.1") == b"second"


async def a_copy_is_of_this_very_content(rig: Rig) -> None:
    file = await send(rig, "a/u.1")
    copied = await rig.client.copy(file, "b/u.7")
    assert (copied.key, copied.size, copied.etag, copied.modified) == ("b/u.7", file.size, file.etag, file.modified)
    assert await rig.client.look("b/u.7") == copied
    assert await rig.body("b/u.7") == await rig.body("a/u.1") == BODY
    with pytest.raises(InTheWay):
        await rig.client.copy(replace(file, etag=md5(b"another")), "b/u.8")
    assert await rig.body("b/u.8") is None


async def a_copy_overwrites_only_if_it_may(rig: Rig) -> None:
    file = await send(rig, "a/u.1")
    await send(rig, "b/u.7", b"there")
    with pytest.raises(InTheWay):
        await rig.client.copy(file, "b/u.7")
    assert await rig.body("b/u.7") == b"there"
    await rig.client.copy(file, "b/u.7", create=False)
    assert await rig.body("b/u.7") == BODY


async def deletes_are_conditional_and_idempotent(rig: Rig) -> None:
    file = await send(rig, "a/u.1")
    with pytest.raises(InTheWay):
        await rig.client.delete("a/u.1", match=md5(b"another"))
    await rig.client.delete("a/u.1", match=file.etag)
    assert await rig.body("a/u.1") is None
    await rig.client.delete("a/u.1", match=file.etag)
    await rig.client.delete("a/u.1")


async def children_are_those_directly_below(rig: Rig) -> None:
    for key in ("a/u.2", "a/u.10", "a/b/u.1", "a/b/c/u.1", "a-b/u.1", "top"):
        await rig.put(key, key.encode())
    below = await rig.client.children("a/")
    assert [file.key for file in below.files] == ["a/u.10", "a/u.2"]
    assert [(file.size, file.etag) for file in below.files] == [(6, md5(b"a/u.10")), (5, md5(b"a/u.2"))]
    assert (below.directories, below.marked) == (("b",), False)
    top = await rig.client.children("")
    assert ([file.key for file in top.files], top.directories) == (["top"], ("a", "a-b"))


async def many_children_come_complete(rig: Rig) -> None:
    for number in range(25):
        await rig.put(f"a/u.{number}", b"x")
        await rig.put(f"a/d{number}/u.1", b"x")
    below = await rig.client.children("a/")
    assert {file.key for file in below.files} == {f"a/u.{number}" for number in range(25)}
    assert set(below.directories) == {f"d{number}" for number in range(25)}


async def awkward_names_survive(rig: Rig) -> None:
    for text in ("with space", "ümlaut", "a+b&c=d?e#f", "100%", "quote\"'<>", "1700000000.M1P2.host,S=3:2,FS"):
        await send(rig, f"å b/{text}", text.encode())
        assert (await rig.client.look(f"å b/{text}")).key == f"å b/{text}"
        assert content(await rig.client.open(f"å b/{text}")) == text.encode()
        assert f"å b/{text}" in [file.key for file in (await rig.client.children("å b/")).files]
        copied = await rig.client.copy(await rig.client.look(f"å b/{text}"), f"copy/{text}")
        assert copied.key == f"copy/{text}"
        await rig.client.delete(f"å b/{text}")
        assert await rig.body(f"å b/{text}") is None


async def markers_make_empty_directories(rig: Rig) -> None:
    for _ in range(2):
        await rig.client.mark("a/empty/", 1_500_000_000.0)
    assert (await rig.client.children("a/")).directories == ("empty",)
    inside = await rig.client.children("a/empty/")
    assert (inside.files, inside.directories, inside.marked) == ((), (), True)
    await rig.client.delete("a/empty/")
    assert (await rig.client.children("a/")).directories == ()
    assert not (await rig.client.children("a/empty/")).marked


async def pieces_are_of_this_very_content(rig: Rig) -> None:
    file = await send(rig, "a/u.1")
    assert await rig.client.piece(file, 0, 10) == BODY[:10]
    assert await rig.client.piece(file, 1000, 5000) == BODY[1000:6000]
    assert await rig.client.piece(file, len(BODY) - 5, 100) == BODY[-5:]
    await send(rig, "a/u.1", b"another content, and long enough" * 300)
    with pytest.raises(InTheWay):
        await rig.client.piece(file, 0, 10)


async def a_stub_is_head_and_tail_and_costs_no_body(rig: Rig) -> None:
    await rig.put("a/u.1", BODY)
    if not await rig.to_stub("a/u.1"):
        return
    stub = await rig.client.open("a/u.1")
    assert (stub.stub, stub.fd, stub.file.size) == (True, None, len(BODY))
    assert stub.head
    assert BODY.startswith(stub.head)
    assert BODY.endswith(stub.tail)
    assert len(stub.head) + len(stub.tail) <= len(BODY)
    whole = await rig.client.open("a/u.1", stub=False)
    assert whole.file.etag == stub.file.etag
    assert content(whole) == BODY


def fresh(rig: Rig) -> bool:
    return rig.client.fresh


@asynccontextmanager
async def hearing(rig: Rig) -> AsyncIterator[asyncio.Queue[Told]]:
    """What the client tells, from when it is fresh."""
    heard: asyncio.Queue[Told] = asyncio.Queue()

    async def listen() -> None:
        async with aclosing(rig.client.changes()) as changes:  # type: ignore[type-var]
            async for told in changes:
                heard.put_nowait(told)

    task = asyncio.create_task(listen())
    try:
        assert await asyncio.wait_for(heard.get(), WAIT) == Told("")
        async with asyncio.timeout(WAIT):
            while not rig.client.fresh:
                await asyncio.sleep(0.001)
        yield heard
    finally:
        task.cancel()
        await asyncio.wait([task])


async def it_is_fresh_only_after_the_beginning_was_taken_in(rig: Rig) -> None:
    """Who hears ``Told("")`` forgets before asking for the next: until then nothing remembered may be believed."""
    assert not fresh(rig)
    async with aclosing(rig.client.changes()) as changes:  # type: ignore[type-var]
        assert await asyncio.wait_for(anext(changes), WAIT) == Told("")
        assert not fresh(rig)
        following = asyncio.ensure_future(anext(changes))
        async with asyncio.timeout(WAIT):
            while not rig.client.fresh:
                await asyncio.sleep(0.001)
        await rig.put("a/u.1", b"x")
        assert await asyncio.wait_for(following, WAIT) == Told("a/u.1", md5(b"x"))


async def nobody_listening_is_not_fresh(rig: Rig) -> None:
    async with hearing(rig):
        assert rig.client.fresh
    assert not rig.client.fresh


async def changes_by_others_are_told_in_order(rig: Rig) -> None:
    async with hearing(rig) as heard:
        await rig.put("a/u.1", b"one")
        await rig.put("a/u.1", b"two")
        await rig.remove("a/u.1")
        told = [await asyncio.wait_for(heard.get(), WAIT) for _ in range(3)]
    assert told == [Told("a/u.1", md5(b"one")), Told("a/u.1", md5(b"two")), Told("a/u.1")]


async def own_changes_are_told_too(rig: Rig) -> None:
    async with hearing(rig) as heard:
        file = await send(rig, "a/u.1")
        await rig.client.copy(file, "b/u.1")
        await rig.client.mark("a/d/", 1.0)
        await rig.client.delete("a/u.1")
        told = [await asyncio.wait_for(heard.get(), WAIT) for _ in range(4)]
    assert [item.key for item in told] == ["a/u.1", "b/u.1", "a/d/", "a/u.1"]
    assert [bool(item.etag) for item in told] == [True, True, True, False]


async def what_is_withdrawn_is_gone_and_can_be_put_again(rig: Rig) -> None:
    file = await send(rig, "a/u.1", create=True, change="one")
    await rig.client.copy(file, "b/u.1", change="two")
    for key, change in (("a/u.1", "one"), ("b/u.1", "two")):
        await rig.client.withdraw(key, etag=file.etag, change=change)
        assert await rig.body(key) is None
        await send(rig, key, create=True, change=change + " again")
        assert await rig.body(key) == BODY


async def what_is_withdrawn_before_it_comes_never_happens(rig: Rig) -> None:
    file = await send(rig, "a/u.1", create=True)
    for key, change in (("a/u.2", "one"), ("b/u.1", "two")):
        await rig.client.withdraw(key, etag=file.etag, change=change)
    with pytest.raises(InTheWay):
        await send(rig, "a/u.2", create=True, change="one")
    with pytest.raises(InTheWay):
        await rig.client.copy(file, "b/u.1", change="two")
    assert [await rig.body(key) for key in ("a/u.2", "b/u.1")] == [None, None]


async def a_second_withdrawal_takes_nothing(rig: Rig) -> None:
    file = await send(rig, "a/u.1", create=True, change="one")
    await rig.client.withdraw("a/u.1", etag=file.etag, change="one")
    await send(rig, "a/u.1", create=True, change="two")
    await rig.client.withdraw("a/u.1", etag=file.etag, change="one")
    assert await rig.body("a/u.1") == BODY


async def a_withdrawal_leaves_another_content(rig: Rig) -> None:
    await send(rig, "a/u.1", b"acknowledged", create=True)
    await rig.client.withdraw("a/u.1", etag=md5(b"given up"), change="one")
    await rig.client.withdraw("a/none", etag=md5(b"given up"), change="two")
    assert await rig.body("a/u.1") == b"acknowledged"


async def there_is_room(rig: Rig) -> None:
    await rig.put("a/u.1", BODY)
    room = await rig.client.room()
    assert room.total >= room.used >= 0
    assert room.objects >= 1


PROMISES: tuple[Promise, ...] = (
    what_is_put_is_opened_byte_for_byte,
    what_is_withdrawn_is_gone_and_can_be_put_again,
    what_is_withdrawn_before_it_comes_never_happens,
    a_second_withdrawal_takes_nothing,
    a_withdrawal_leaves_another_content,
    only_the_first_size_bytes_are_sent,
    times_are_kept,
    times_can_be_changed_for_this_very_content,
    what_is_not_there_is_not_there,
    create_does_not_overwrite,
    of_many_creators_one_wins,
    match_overwrites_only_that_content,
    without_a_condition_it_overwrites,
    a_copy_is_of_this_very_content,
    a_copy_overwrites_only_if_it_may,
    deletes_are_conditional_and_idempotent,
    children_are_those_directly_below,
    many_children_come_complete,
    awkward_names_survive,
    markers_make_empty_directories,
    pieces_are_of_this_very_content,
    a_stub_is_head_and_tail_and_costs_no_body,
    it_is_fresh_only_after_the_beginning_was_taken_in,
    nobody_listening_is_not_fresh,
    changes_by_others_are_told_in_order,
    own_changes_are_told_too,
    there_is_room,
)
