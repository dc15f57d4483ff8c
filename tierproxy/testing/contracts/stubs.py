"""What every room for stubs promises (``tierproxy.ports.Stubs``). Each promise takes a fresh room of at most about
``ROOM`` bytes; see ``tierproxy.testing.contracts.alt`` for how to run them.

A room may keep nothing: it may be full, or its disk may fail. So a promise is about what it gives, if it gives
anything; ``KEEPING`` are those of a room that works.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tierproxy.model import ObjectName, Stub
from tierproxy.ports import Stubs

ROOM = 2**20
Promise = Callable[[Stubs], Awaitable[None]]


def name(key: str) -> ObjectName:
    return ObjectName("mail", key)


def stub(text: bytes = b"head", tail: bytes = b"tail", size: int = 100_000) -> Stub:
    return Stub(size, text, tail)


async def what_is_kept_is_what_was_put(stubs: Stubs) -> None:
    keys = ["k", "alice/INBOX/u.1", "ä/\U0001f4e7", "x" * 1024, "nul\x00", "%'\"\\", "K"]
    for number, key in enumerate(keys):
        await stubs.put(name(key), number, stub(b"head %d" % number, b"\x00\xff" * number))
    for number, key in enumerate(keys):
        assert await stubs.get(name(key), number) in {None, stub(b"head %d" % number, b"\x00\xff" * number)}


async def empty_heads_and_tails_are_fine(stubs: Stubs) -> None:
    await stubs.put(name("empty"), 1, Stub(0, b"", b""))
    await stubs.put(name("no tail"), 1, Stub(3, b"abc", b""))
    assert await stubs.get(name("empty"), 1) in {None, Stub(0, b"", b"")}
    assert await stubs.get(name("no tail"), 1) in {None, Stub(3, b"abc", b"")}


async def a_stub_is_of_one_generation(stubs: Stubs) -> None:
    await stubs.put(name("k"), 5, stub(b"five"))
    for other in (4, 6, 0, 2**62):
        assert await stubs.get(name("k"), other) is None
        assert not await stubs.has(name("k"), other)
    await stubs.put(name("k"), 6, stub(b"six"))
    assert await stubs.get(name("k"), 5) in {None, stub(b"five")}
    assert await stubs.get(name("k"), 6) in {None, stub(b"six")}


async def what_nobody_put_is_not_there(stubs: Stubs) -> None:
    await stubs.put(name("k"), 1, stub())
    assert await stubs.get(name("other"), 1) is None
    assert await stubs.get(ObjectName("mail2", "k"), 1) is None
    assert not await stubs.has(name("other"), 1)


async def what_is_dropped_is_gone_at_once(stubs: Stubs) -> None:
    await stubs.put(name("k"), 1, stub())
    stubs.drop(name("k"))
    stubs.drop(name("never there"))
    assert await stubs.get(name("k"), 1) is None
    assert not await stubs.has(name("k"), 1)
    await stubs.flush()
    assert await stubs.get(name("k"), 1) is None


async def what_is_put_after_a_drop_is_there(stubs: Stubs) -> None:
    await stubs.put(name("k"), 1, stub(b"one"))
    stubs.drop(name("k"))
    await stubs.put(name("k"), 2, stub(b"two"))
    assert await stubs.get(name("k"), 1) is None
    assert await stubs.get(name("k"), 2) in {None, stub(b"two")}


async def many_at_once_do_not_mix(stubs: Stubs) -> None:
    async def one(number: int) -> None:
        mine = stub(b"%d" % number * 100, b"t%d" % number)
        await stubs.put(name(f"{number % 20}"), number, mine)
        assert await stubs.get(name(f"{number % 20}"), number) in {None, mine}
        if number % 3 == 0:
            stubs.drop(name(f"{number % 20}"))

    await asyncio.gather(*(one(number) for number in range(100)))


async def room_is_bounded(stubs: Stubs) -> None:
    for number in range(60):
        batch = [stubs.put(name(f"{number}.{one}"), 1, stub(b"h" * 8192, b"t" * 1024)) for one in range(10)]
        await asyncio.gather(*batch)
        assert stubs.bytes_used <= ROOM * 1.1


async def it_goes_on_after_close(stubs: Stubs) -> None:
    await stubs.put(name("k"), 1, stub())
    await stubs.close()
    await stubs.close()
    assert await stubs.get(name("k"), 1) in {None, stub()}
    await stubs.put(name("k"), 2, stub())
    stubs.drop(name("k"))
    await stubs.flush()


PROMISES: tuple[Promise, ...] = (
    what_is_kept_is_what_was_put,
    empty_heads_and_tails_are_fine,
    a_stub_is_of_one_generation,
    what_nobody_put_is_not_there,
    what_is_dropped_is_gone_at_once,
    what_is_put_after_a_drop_is_there,
    many_at_once_do_not_mix,
    room_is_bounded,
    it_goes_on_after_close,
)


async def what_was_put_is_there(stubs: Stubs) -> None:
    for number in range(50):
        await stubs.put(name(f"{number}"), number, stub(b"%d" % number))
    for number in range(50):
        assert await stubs.get(name(f"{number}"), number) == stub(b"%d" % number)
        assert await stubs.has(name(f"{number}"), number)
    assert stubs.objects == 50
    assert stubs.bytes_used > 0
    stubs.drop(name("7"))
    await stubs.flush()
    assert stubs.objects == 49


async def what_was_used_last_stays_longest(stubs: Stubs) -> None:
    await stubs.put(name("used"), 1, stub(b"h" * 8192))
    await stubs.put(name("looked at"), 1, stub(b"h" * 8192))
    for number in range(200):
        await stubs.put(name(f"{number}"), 1, stub(b"h" * 8192))
        assert await stubs.get(name("used"), 1) is not None
        if number < 20:  # this would not save it
            assert await stubs.has(name("looked at"), 1)
            assert await stubs.peek(name("looked at"), 1) == stub(b"h" * 8192)
            assert await stubs.peek(name("looked at"), 2) is None
            places = [(name("looked at"), 2), (name("nobody"), 1), (name("looked at"), 1)]
            assert await stubs.peek_all(places) == [None, None, stub(b"h" * 8192)]
            await stubs.put(name("nobody"), 1, stub(b"h"))
            stubs.drop(name("nobody"))
            assert await stubs.peek_all(places[1:]) == [None, stub(b"h" * 8192)]
    assert not await stubs.has(name("looked at"), 1)
    assert await stubs.has(name("199"), 1)


async def it_keeps_about_as_much_as_fits(stubs: Stubs) -> None:
    for number in range(40):
        batch = [stubs.put(name(f"{number}.{one}"), 1, stub(b"h" * 8192, b"t" * 1024)) for one in range(10)]
        await asyncio.gather(*batch)
    assert stubs.bytes_used >= ROOM * 0.6
    assert stubs.objects >= ROOM * 0.4 // 9216


KEEPING: tuple[Promise, ...] = (
    what_was_put_is_there,
    what_was_used_last_stays_longest,
    it_keeps_about_as_much_as_fits,
)
