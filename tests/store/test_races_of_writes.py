"""Writes, deletes and uploads at the same time; clients that leave and nodes that stop in the middle of them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import BucketSection, FillSection
from tierproxy.config.values import Size
from tierproxy.errors import AltUnavailable, LostInAlt
from tierproxy.model import Ack, FillPolicy, Headers, State, Tier
from tierproxy.purges import OPERATOR, Drop, Purged
from tierproxy.store.body import MemorySource
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.gate import Gate
from tierproxy.testing.power_cuts import scrubbed
from tierproxy.testing.rig import BUCKET, Rig, name, rig, stopped_node

from .test_races import LARGE, content, faulty, later, memory

# ---------------------------------------------------------------- during an upload


async def uploading(r: Rig, alt: FaultyAlt) -> Gate:
    gate = alt.gate("put")
    await r.put("u.1", b"old", ack=Ack.DISK)
    await gate.reached()
    return gate


@pytest.mark.parametrize("ack", [Ack.BOTH, Ack.DISK, Ack.ALT])
async def test_a_write_during_an_upload_of_the_old_content_is_the_last_word(tmp_path: Path, ack: Ack) -> None:
    async with faulty(tmp_path) as (r, alt):
        gate = await uploading(r, alt)
        writer = later(r.put("u.1", b"new", ack=ack))
        await asyncio.wait([writer], timeout=0.05)
        gate.open()
        await writer
        await r.drained()
        assert memory(alt).content(name("u.1")) == b"new"
        assert await r.get("u.1") == b"new"


async def test_a_delete_during_an_upload_is_the_last_word_and_does_not_wait_for_it(tmp_path: Path) -> None:
    async with faulty(tmp_path) as (r, alt):
        gate = await uploading(r, alt)
        await r.delete("u.1")
        assert await content(r, "u.1") is None
        gate.open()
        await r.drained()
        assert memory(alt).content(name("u.1")) is None
        assert r.row("u.1") is None


async def test_a_purge_during_an_upload_keeps_the_only_copy(tmp_path: Path) -> None:
    async with faulty(tmp_path) as (r, alt):
        gate = await uploading(r, alt)
        row = r.row("u.1")
        assert row is not None
        assert await r.parts.store.purge([Drop.of(row, OPERATOR)]) == Purged(skipped=1)
        gate.open()
        await r.drained()
        assert await r.read("u.1") == (Tier.DISK, b"old")


async def test_a_write_during_a_delete_is_the_last_word(tmp_path: Path) -> None:
    for ack in Ack:
        async with faulty(tmp_path / ack) as (r, alt):
            await r.put("u.1", b"old")
            gate = alt.gate("delete")
            deleter = later(r.delete("u.1"))
            await gate.reached()
            writer = later(r.put("u.1", b"new", ack=ack))
            await asyncio.wait([writer], timeout=0.05)
            gate.open()
            await asyncio.gather(deleter, writer)
            await r.drained()
            assert memory(alt).content(name("u.1")) == b"new"
            assert await r.get("u.1") == b"new"


async def test_a_delete_whose_try_fails_after_a_newer_write_took_its_place_is_still_acknowledged(
    tmp_path: Path,
) -> None:
    async with faulty(tmp_path) as (r, alt):
        await r.put("u.1", b"old")
        gate = alt.gate("delete")
        alt.fail("delete", AltUnavailable("timed out"))
        deleter = later(r.delete("u.1"))
        await gate.reached()
        writer = later(r.put("u.1", b"new", ack=Ack.DISK))
        await asyncio.wait([writer], timeout=0.05)
        gate.open()
        await asyncio.gather(deleter, writer)
        await r.drained_now()
        assert memory(alt).content(name("u.1")) == b"new"


@pytest.mark.parametrize("acks", list(itertools.product((Ack.BOTH, Ack.DISK, Ack.ALT), repeat=2)), ids=str)
@pytest.mark.parametrize("held", [1, 2])
async def test_two_writes_at_once_leave_one_of_them_everywhere(
    tmp_path: Path, acks: tuple[Ack, Ack], held: int
) -> None:
    async with faulty(tmp_path) as (r, alt):
        await r.put("u.1", b"old")
        gate = alt.gate("put", nth=held)
        writers = [later(r.put("u.1", body, ack=ack)) for body, ack in zip((b"one", b"two"), acks, strict=True)]
        await asyncio.wait(writers, timeout=0.05)
        gate.open()
        await asyncio.gather(*writers)
        await r.drained()
        got = await r.get("u.1")
        assert got in {b"one", b"two"}
        await r.purge()
        r.parts.hot.clear()
        assert await r.get("u.1") == got == memory(alt).content(name("u.1"))


async def test_memory_forgets_what_is_overwritten_deleted_or_purged(tmp_path: Path) -> None:
    async with faulty(tmp_path) as (r, _alt):
        for body in (b"one", b"two"):
            await r.put("u.1", body)
            assert await r.get("u.1") == body
            assert await r.read("u.1") == (Tier.MEMORY, body)
        await r.purge("u.1")
        assert await r.read("u.1") == (Tier.ALT, b"two")
        await r.idle()
        await r.get("u.1")
        await r.delete("u.1")
        assert await content(r, "u.1") is None


# ---------------------------------------------------------------- clients that leave, nodes that stop


async def test_a_write_whose_client_leaves_after_the_body_is_finished_by_the_node(tmp_path: Path) -> None:
    async with faulty(tmp_path) as (r, alt):
        gate = alt.gate("put")
        writer = later(r.put("u.1", b"a mail"))
        await gate.reached()
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
        gate.open()
        await r.idle()
        assert await r.get("u.1") == b"a mail"


async def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_nothing(tmp_path: Path) -> None:
    for size, ack in itertools.product((100, 3 * 2**20, 9 * 2**20), Ack):
        async with faulty(tmp_path / f"{size}{ack}") as (r, alt):
            await r.put("u.1", b"old")

            async def body(size: int = size) -> AsyncIterator[bytes]:
                for _ in range(size // 2 // 10):
                    yield b"0123456789"
                raise ConnectionResetError

            from tierproxy.store.body import Md5Check
            from tierproxy.store.calls import Write

            with pytest.raises(ConnectionResetError):
                await r.parts.store.write(Write(name("u.1"), Headers(), size, body(), Md5Check(size), ack=ack))
            await r.idle()
            assert not r.parts.space.reserved
            row = r.row("u.1")
            assert row is not None
            assert row.state is State.CLEAN
            assert await r.get("u.1") == b"old"
            assert memory(alt).content(name("u.1")) == b"old"


async def test_a_client_that_leaves_while_alt_completes_its_stream_leaves_the_decision_to_alt(tmp_path: Path) -> None:
    async with faulty(tmp_path) as (r, alt):
        await r.put("u.1", b"old")
        gate, stored = Gate(), memory(alt).put_stream

        async def slow(*args: object, **options: object) -> object:
            etag = await stored(*args, **options)  # type: ignore[arg-type]
            await gate.passage()
            return etag

        alt.alt.put_stream = slow  # type: ignore[method-assign,assignment]
        huge = b"x" * 9 * 2**20
        writer = later(r.put("u.1", huge, ack=Ack.ALT))
        await gate.reached()
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
        del alt.alt.put_stream
        assert await r.get("u.1") == huge


async def test_a_stop_in_the_middle_of_everything_journals_everything(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    node = stopped_node(tmp_path, alt, VirtualClock())
    await node.start()
    r = Rig(node, alt, tmp_path)
    await r.put("cold", LARGE)
    await r.put("dead", b"a mail")
    await r.put("over", b"old")
    await r.purge("cold")
    gates = [alt.gate(operation) for operation in ("get", "delete")] + [alt.gate("put", nth=n) for n in (1, 2)]
    work = [
        later(r.get("cold")), later(r.delete("dead")), later(r.put("over", b"new")),
        later(r.put("queued", b"a mail", ack=Ack.DISK)),
    ]  # fmt: skip
    for gate in gates:
        await gate.reached()
    await node.stop(0)
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    assert not isinstance(outcomes[3], BaseException)
    for gate in gates:
        gate.open()
    alt.heal()
    async with rig(tmp_path, alt=alt) as r:
        await scrubbed(r)  # the blob of the write that nobody was told of
        await r.drained()
        assert await r.get("queued") == b"a mail"
        assert await content(r, "dead") is None
        assert await r.get("cold") == LARGE
        assert await content(r, "over") in {b"old", b"new"}
        assert await r.get("over") == memory(alt).content(name("over"))


async def test_a_delete_after_the_queue_has_stopped_is_journaled(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    async with rig(tmp_path, alt=alt) as r:
        await r.put("u.1", b"a mail")
        await r.parts.queue.stop(0)
        await r.delete("u.1")
        assert not r.parts.queue.running
    async with rig(tmp_path, alt=alt) as r:
        await r.drained()
        assert memory(alt).content(name("u.1")) is None


# ---------------------------------------------------------------- other writers


async def test_a_write_beside_news_from_another_writer_succeeds(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    bucket = (BucketSection(name=BUCKET, exclusive=False),)
    async with rig(tmp_path, alt=alt, bucket=bucket) as r:
        await r.put("u.1", b"ours")
        await alt.put(name("u.1"), MemorySource(b"theirs"), Headers(), md5="")
        for ack in (Ack.BOTH, Ack.DISK):
            outcomes = await asyncio.gather(
                r.get("u.1"), r.put("u.1", b"ours " + ack.encode(), ack=ack), r.get("u.1"), return_exceptions=True
            )
            assert not any(isinstance(outcome, BaseException) for outcome in outcomes), outcomes
            await r.drained()
            assert await r.get("u.1") == b"ours " + ack.encode()


async def test_a_read_whose_object_is_replaced_behind_it_never_mixes_contents(tmp_path: Path) -> None:
    async with faulty(tmp_path, fill=FillSection(policy=FillPolicy.NEVER, coalesce_limit=Size(0))) as (r, _alt):
        await r.put("u.1", LARGE)
        await r.purge()
        reading = await r.parts.store.open(name("u.1"))
        await r.put("u.1", LARGE[::-1])
        with suppress(LostInAlt):
            assert b"".join([chunk async for chunk in reading.chunks()]) == LARGE
        await reading.close()
