"""What happens at the same time: orders of events made with gates, never with sleeping."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import FillSection, MemorySection, QueueSection
from tierproxy.config.values import Duration, Size
from tierproxy.errors import AltUnavailable, NoSuchKey
from tierproxy.model import Ack, ByteRange, FillPolicy, Headers, Tier
from tierproxy.store.body import MemorySource
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.gate import Gate
from tierproxy.testing.rig import Rig, name, rig

PATIENT = QueueSection(backoff=Duration(3600), max_backoff=Duration(3600))
LARGE = bytes(range(251)) * (2 * 2**20 // 251)
BODIES = pytest.mark.parametrize("body", [b"a mail", LARGE], ids=["small", "large"])


@asynccontextmanager
async def faulty(root: Path, **sections: Any) -> AsyncIterator[tuple[Rig, FaultyAlt]]:
    alt = FaultyAlt(MemoryAlt())
    async with rig(root, alt=alt, **{"queue": PATIENT, **sections}) as r:
        yield r, alt
        await r.check()
        if not r.journal() and not r.parts.alarms.active():
            await agree(r, alt)


async def agree(r: Rig, alt: FaultyAlt) -> None:
    """Every row and alt say the same."""
    for key in {one.key for one in memory(alt).names()}:
        row = r.row(key)
        assert row is not None, f"alt has {key}, which no row knows"
        assert await r.get(key) == memory(alt).content(name(key))


def memory(alt: FaultyAlt) -> MemoryAlt:
    assert isinstance(alt.alt, MemoryAlt)
    return alt.alt


async def content(r: Rig, key: str) -> bytes | None:
    try:
        return await r.get(key)
    except NoSuchKey:
        return None


def later(work: Awaitable[object]) -> asyncio.Task[object]:
    return asyncio.ensure_future(work)


# ---------------------------------------------------------------- during a fill


async def filling(r: Rig, alt: FaultyAlt, body: bytes) -> tuple[asyncio.Task[object], Gate]:
    """A read that waits in the middle of alt's body: the get has been answered, the first chunk has not come."""
    await r.put("u.1", body)
    await r.purge()
    r.parts.hot.clear()
    gate = Gate()
    get = alt.alt.get

    async def slow(*args: object, **kwargs: object) -> object:
        alt.alt.get = get  # type: ignore[method-assign]
        opened = await get(*args, **kwargs)  # type: ignore[arg-type]
        chunks = opened.chunks

        async def held() -> AsyncIterator[bytes]:
            await gate.passage()
            async for chunk in chunks():
                yield chunk

        opened.chunks = held  # type: ignore[method-assign]
        return opened

    alt.alt.get = slow  # type: ignore[method-assign,assignment]
    reader = later(r.get("u.1"))
    await gate.reached()
    return reader, gate


@BODIES
async def test_an_overwrite_during_a_fill_wins(tmp_path: Path, body: bytes) -> None:
    async with faulty(tmp_path) as (r, alt):
        reader, gate = await filling(r, alt, body)
        await r.put("u.1", b"new")
        assert await r.get("u.1") == b"new", "whoever asks after the write gets the new bytes"
        gate.open()
        assert await reader == body, "whoever asked before gets what there was"
        await r.idle()
        assert await r.get("u.1") == b"new"
        await r.purge()
        assert await r.get("u.1") == b"new"


@BODIES
async def test_a_delete_during_a_fill_stays_a_delete(tmp_path: Path, body: bytes) -> None:
    async with faulty(tmp_path) as (r, alt):
        reader, gate = await filling(r, alt, body)
        await r.delete("u.1")
        assert r.row("u.1") is None
        gate.open()
        assert await reader == body
        await r.idle()
        assert await content(r, "u.1") is None
        assert r.row("u.1") is None
        assert r.parts.hot.get(name("u.1")) is None


@BODIES
async def test_a_purge_during_a_fill_does_no_harm(tmp_path: Path, body: bytes) -> None:
    async with faulty(tmp_path) as (r, alt):
        reader, gate = await filling(r, alt, body)
        await r.purge("u.1")
        gate.open()
        assert await reader == body
        await r.idle()
        assert await r.get("u.1") == body


@pytest.mark.parametrize("fill", [FillPolicy.ALWAYS, FillPolicy.NEVER])
@BODIES
async def test_an_unknown_object_deleted_while_it_is_filled_does_not_return(
    tmp_path: Path, body: bytes, fill: FillPolicy
) -> None:
    """There was no row before and there is none after: its absence proves nothing."""
    alt = FaultyAlt(MemoryAlt())
    for key in ("u.1", "u.2"):
        await alt.put(name(key), MemorySource(body), Headers(), md5="")
    alt.down()
    async with rig(tmp_path, alt=alt, fill=FillSection(policy=fill)) as r:
        alt.heal()
        gate = Gate()
        answered = memory(alt).get

        async def slow(*args: object, **kwargs: object) -> object:
            opened = await answered(*args, **kwargs)  # type: ignore[arg-type]
            await gate.passage()
            return opened

        alt.alt.get = slow  # type: ignore[method-assign,assignment]
        reader = later(r.get("u.1"))
        await gate.reached()
        await r.delete("u.1")
        gate.open()
        (outcome,) = await asyncio.gather(reader, return_exceptions=True)
        assert outcome == body or isinstance(outcome, NoSuchKey)
        await r.idle()
        del alt.alt.get
        assert r.row("u.1") is None
        assert await content(r, "u.1") is None


async def test_an_object_deleted_while_a_head_is_answered_does_not_return(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    await alt.put(name("u.1"), MemorySource(b"a mail"), Headers(), md5="")
    alt.down()
    async with rig(tmp_path, alt=alt) as r:
        alt.heal()
        gate, answered = Gate(), memory(alt).head

        async def slow(*args: object) -> object:
            found = await answered(*args)  # type: ignore[arg-type]
            await gate.passage()
            return found

        alt.alt.head = slow  # type: ignore[method-assign,assignment]
        head = later(r.parts.store.head(name("u.1")))
        await gate.reached()
        await r.delete("u.1")
        gate.open()
        await asyncio.gather(head, return_exceptions=True)
        del alt.alt.head
        assert r.row("u.1") is None
        assert await content(r, "u.1") is None


@BODIES
async def test_a_write_beside_the_first_read_of_an_unknown_object_succeeds(tmp_path: Path, body: bytes) -> None:
    alt = FaultyAlt(MemoryAlt())
    await alt.put(name("u.1"), MemorySource(body), Headers(), md5="")
    for ack, order in itertools.product((Ack.BOTH, Ack.DISK), (0, 1)):
        alt.down()
        async with rig(tmp_path / f"{ack}{order}", alt=alt) as r:
            alt.heal()
            gate = alt.gate("put" if ack is Ack.BOTH and order else "get")
            writer = later(r.put("u.1", b"new" + body, ack=ack))
            reader = later(r.get("u.1"))
            await gate.reached()
            await asyncio.wait([writer, reader], timeout=0.05)
            gate.open()
            await writer
            assert await reader in {body, b"new" + body}
            await r.drained()
            assert await r.get("u.1") == b"new" + body
            await alt.put(name("u.1"), MemorySource(body), Headers(), md5="")


async def test_a_reader_that_leaves_does_not_stop_the_fill(tmp_path: Path) -> None:
    async with faulty(tmp_path) as (r, alt):
        reader, gate = await filling(r, alt, LARGE)
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
        gate.open()
        await r.idle()
        assert await r.read("u.1") == (Tier.DISK, LARGE)


@BODIES
async def test_a_thousand_readers_of_one_cold_object_cost_one_get(tmp_path: Path, body: bytes) -> None:
    async with faulty(tmp_path, memory=MemorySection(max_bytes=Size(0))) as (r, alt):
        await r.put("u.1", body)
        await r.purge()
        before = alt.calls["get"]
        answers = await asyncio.gather(*(r.get("u.1") for _ in range(1000)))
        assert all(answer == body for answer in answers)
        assert alt.calls["get"] == before + 1
        counters = r.parts.counters
        assert (counters.fills, counters.joins) == (1, 999)
        assert counters.gets == 1000


async def test_a_thousand_readers_of_a_small_object_that_is_not_filled_cost_one_get(tmp_path: Path) -> None:
    async with faulty(tmp_path, fill=FillSection(policy=FillPolicy.NEVER)) as (r, alt):
        await r.put("u.1", b"a mail")
        await r.purge()
        before = alt.calls["get"]
        assert set(await asyncio.gather(*(r.get("u.1") for _ in range(1000)))) == {b"a mail"}
        assert alt.calls["get"] == before + 1
        assert r.row("u.1").blob is None  # type: ignore[union-attr]


async def test_ranges_of_one_cold_object_share_its_fill(tmp_path: Path) -> None:
    async with faulty(tmp_path) as (r, alt):
        await r.put("u.1", LARGE)
        await r.purge()
        before = alt.calls["get"]
        starts = range(0, len(LARGE) - 1000, 100_000)

        async def part(start: int) -> bool:
            return await r.get("u.1", lambda _entry: ByteRange(start, start + 1000)) == LARGE[start : start + 1000]

        assert all(await asyncio.gather(*(part(start) for start in starts)))
        assert alt.calls["get"] == before + 1


async def test_a_slow_get_of_one_key_does_not_hold_up_another(tmp_path: Path) -> None:
    async with faulty(tmp_path) as (r, alt):
        await r.put("u.1", b"slow")
        await r.put("u.2", b"quick")
        await r.purge()
        gate = alt.gate("get")
        slow = later(r.get("u.1"))
        await gate.reached()
        assert await r.get("u.2") == b"quick"
        await r.put("u.3", b"written")
        await r.delete("u.2")
        gate.open()
        assert await slow == b"slow"


async def test_a_fill_that_fails_fails_those_on_board_and_nobody_after_them(tmp_path: Path) -> None:
    async with faulty(tmp_path) as (r, alt):
        await r.put("u.1", b"a mail")
        await r.purge()
        alt.fail("get", AltUnavailable("once"))
        outcomes = await asyncio.gather(*(r.get("u.1") for _ in range(5)), return_exceptions=True)
        assert all(isinstance(outcome, AltUnavailable) for outcome in outcomes)
        assert await r.get("u.1") == b"a mail"


# ---------------------------------------------------------------- during a hit


@pytest.mark.parametrize("change", ["overwrite", "delete", "purge"])
async def test_a_large_hit_goes_on_to_its_end_whatever_becomes_of_the_object(tmp_path: Path, change: str) -> None:
    async with faulty(tmp_path) as (r, _alt):
        await r.put("u.1", LARGE)
        reading = await r.parts.store.open(name("u.1"))
        chunks = aiter(reading.chunks())
        got = await anext(chunks)
        acts: dict[str, Callable[[], Awaitable[object]]] = {
            "overwrite": lambda: r.put("u.1", b"new"), "delete": lambda: r.delete("u.1"),
            "purge": lambda: r.purge("u.1"),
        }  # fmt: skip
        await acts[change]()
        async for chunk in chunks:
            got += chunk
        await reading.close()
        assert got == LARGE


@pytest.mark.parametrize("change", ["overwrite", "delete", "purge"])
async def test_memory_never_serves_what_was_changed_while_the_blob_was_read(tmp_path: Path, change: str) -> None:
    async with faulty(tmp_path) as (r, _alt):
        await r.put("u.1", b"old")
        r.parts.hot.clear()
        gate, opened = Gate(), r.parts.disk.open

        async def slow(*args: object, **kwargs: object) -> object:
            blob = await opened(*args, **kwargs)  # type: ignore[arg-type]
            await gate.passage()
            return blob

        r.parts.disk.open = slow  # type: ignore[method-assign,assignment]
        reader = later(r.get("u.1"))
        await gate.reached()
        del r.parts.disk.open
        if change == "overwrite":
            await r.put("u.1", b"new")
        elif change == "delete":
            await r.delete("u.1")
        else:
            await r.purge("u.1")
        gate.open()
        assert await reader == b"old"
        kept = r.parts.hot.get(name("u.1"))
        assert kept is None or kept[1] == {"overwrite": b"new", "purge": b"old"}.get(change)
        wanted = {"overwrite": b"new", "delete": None, "purge": b"old"}[change]
        assert await content(r, "u.1") == wanted


async def test_the_old_content_is_served_until_an_overwrite_is_certain(tmp_path: Path) -> None:
    async with faulty(tmp_path) as (r, alt):
        await r.put("u.1", b"old")
        gate = alt.gate("put")
        writer = later(r.put("u.1", b"new"))
        await gate.reached()
        heads = alt.calls["head"]
        assert await r.get("u.1") == b"old"
        assert await r.get("u.1") == b"old"
        assert alt.calls["head"] == heads, "this node knows what it is doing"
        gate.open()
        await writer
        assert await r.get("u.1") == b"new"
