"""Uploads that announce much and send little: what they hold is what has come of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from tests.store.test_space import MIB, small
from tierproxy.errors import OutOfSpace
from tierproxy.model import Ack, Headers, Tier
from tierproxy.store.body import Md5Check
from tierproxy.store.calls import Write, Written
from tierproxy.store.space import FIRST, footprint
from tierproxy.testing.rig import Rig, name

LARGE = 3 * MIB  #: of a budget of 4


class Trickle:
    """A body of ``size`` bytes of which ``come`` are here; the rest comes when ``go_on`` is called, or never."""

    def __init__(self, size: int, come: int = 1) -> None:
        self.size = size
        self.come = come
        self._rest = asyncio.Event()
        self.waits = asyncio.Event()
        self.left = False

    def go_on(self) -> None:
        self._rest.set()

    def leave(self) -> None:
        self.left = True
        self._rest.set()

    async def pieces(self) -> AsyncIterator[bytes]:
        yield b"x" * self.come
        self.waits.set()
        await self._rest.wait()
        if self.left:
            raise ConnectionError
        for begin in range(self.come, self.size, 64 * 1024):
            yield b"x" * min(64 * 1024, self.size - begin)
            await asyncio.sleep(0)


def put(r: Rig, key: str, body: Trickle, ack: Ack = Ack.DISK) -> asyncio.Task[Written]:
    call = Write(name(key), Headers(), body.size, body.pieces(), Md5Check(body.size), ack=ack)
    return asyncio.create_task(r.parts.store.write(call))


async def test_who_announces_much_and_sends_little_takes_no_room_from_others(tmp_path: Path) -> None:
    async with small(tmp_path) as (r, _alt):
        await r.put("kept", b"k" * 500_000)
        await r.idle()
        trickles = [Trickle(LARGE) for _ in range(5)]
        tasks = [put(r, f"slow.{n}", trickle) for n, trickle in enumerate(trickles)]
        await asyncio.gather(*(trickle.waits.wait() for trickle in trickles))
        assert r.parts.space.reserved == 5 * footprint(FIRST)
        await r.put("quick", b"q" * MIB, ack=Ack.DISK)
        await r.idle()
        assert (await r.read("kept"))[0] is Tier.DISK  # nothing was purged for what did not come
        for trickle in trickles:
            trickle.leave()
        assert all(isinstance(one, ConnectionError) for one in await asyncio.gather(*tasks, return_exceptions=True))
        assert r.parts.space.reserved == 0


async def test_parts_as_well(tmp_path: Path) -> None:
    async with small(tmp_path) as (r, _alt):
        uploads = r.parts.store.multipart
        upload = await uploads.create(name("whole"), Headers(), None, None, None)
        trickles = [Trickle(LARGE) for _ in range(5)]
        tasks = [
            asyncio.create_task(uploads.put_part(upload, number, one.size, one.pieces(), Md5Check(one.size)))
            for number, one in enumerate(trickles, 1)
        ]
        await asyncio.gather(*(trickle.waits.wait() for trickle in trickles))
        assert r.parts.space.reserved == 5 * footprint(FIRST)
        await r.put("quick", b"q" * MIB, ack=Ack.DISK)
        for trickle in trickles:
            trickle.leave()
        await asyncio.gather(*tasks, return_exceptions=True)
        await uploads.abort(upload)


async def test_what_comes_is_claimed_before_it_is_written_and_never_more_than_twice_as_much(tmp_path: Path) -> None:
    async with small(tmp_path) as (r, _alt):
        space = r.parts.space
        size = 2 * MIB
        seen: list[tuple[int, int]] = []

        async def pieces() -> AsyncIterator[bytes]:
            for begin in range(0, size, 64 * 1024):
                seen.append((begin, space.reserved))
                yield b"x" * (64 * 1024)

        await r.parts.store.write(Write(name("k"), Headers(), size, pieces(), Md5Check(size), ack=Ack.DISK))
        assert all(reserved >= arrived for arrived, reserved in seen)
        slack = 16 * (footprint(0) + 4096)  # a trailer for each step
        assert all(reserved <= 2 * (arrived + FIRST) + slack for arrived, reserved in seen)
        assert len({reserved for _, reserved in seen}) < 8  # and not for each piece
        assert space.reserved == 0
        assert space.used <= footprint(size)


async def test_of_those_that_come_in_full_no_more_are_taken_than_fit(tmp_path: Path) -> None:
    async with small(tmp_path) as (r, _alt):
        bodies = [Trickle(LARGE) for _ in range(3)]
        tasks = [put(r, f"large.{n}", one) for n, one in enumerate(bodies)]
        await asyncio.gather(*(one.waits.wait() for one in bodies))
        for one in bodies:
            one.go_on()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(one, (Written, OutOfSpace)) for one in ended)
        assert sum(isinstance(one, OutOfSpace) for one in ended) >= 2
        assert (r.parts.space.reserved, r.parts.space.peak <= int(4 * MIB * 1.1)) == (0, True)


async def test_one_that_finds_no_room_in_the_middle_goes_to_alt_alone_where_that_is_enough(tmp_path: Path) -> None:
    async with small(tmp_path) as (r, alt):
        bodies = [Trickle(LARGE) for _ in range(3)]
        tasks = [put(r, f"large.{n}", one, Ack.BOTH) for n, one in enumerate(bodies)]
        await asyncio.gather(*(one.waits.wait() for one in bodies))
        for one in bodies:
            one.go_on()
        ended = await asyncio.gather(*tasks)
        assert {one.entry.size for one in ended} == {LARGE}
        await r.idle()
        for n in range(3):
            assert await r.get(f"large.{n}") == b"x" * LARGE
            assert (await alt.head(name(f"large.{n}"))).size == LARGE


async def test_what_could_never_fit_is_refused_before_any_of_it_is_read(tmp_path: Path) -> None:
    async with small(tmp_path) as (r, _alt):
        body = Trickle(5 * MIB)
        assert isinstance((await asyncio.gather(put(r, "k", body), return_exceptions=True))[0], OutOfSpace)
        assert not body.waits.is_set()
