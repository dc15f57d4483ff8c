"""Threads for people who do not wait for ever."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tierproxy.disk.fsio import translated
from tierproxy.errors import BlobMissing, DiskHangs, DiskUnavailable, OutOfSpace
from tierproxy.offload import WatchedPool
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.invariants import leaks

PATIENCE = 10.0


class Stand:
    """A call that returns when it is told to."""

    def __init__(self) -> None:
        self.began = threading.Semaphore(0)
        self._going = threading.Event()

    def __call__(self) -> str:
        self.began.release()
        self._going.wait()
        return "at last"

    def go(self) -> None:
        self._going.set()

    async def standing(self) -> None:
        while not self.began.acquire(blocking=False):
            await asyncio.sleep(0.001)


@asynccontextmanager
async def pool(size: int = 2, slow: float = 2.0) -> AsyncIterator[tuple[WatchedPool, VirtualClock]]:
    clock = VirtualClock()
    one = WatchedPool("test", size, clock, patience=PATIENCE, slow=slow)
    with leaks():
        try:
            yield one, clock
        finally:
            await one.close()


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.001)


def later(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    return asyncio.get_running_loop().create_task(work)


def fails(error: BaseException) -> None:
    raise error


def kernel(code: int) -> DiskUnavailable:
    """As ``disk_errors`` raises it."""
    try:
        try:
            raise OSError(code, os.strerror(code))
        except OSError as error:
            raise translated(error, "read") from error
    except DiskUnavailable as error:
        return error


async def test_results_and_errors_come_back() -> None:
    async with pool() as (threads, _clock):
        assert await threads.run(lambda a, b: a + b, 1, 2) == 3
        with pytest.raises(ZeroDivisionError):
            await threads.run(lambda: 1 // 0)
        names = {await threads.run(lambda: threading.current_thread().name) for _ in range(5)}
        assert names == {"tierproxy-test_0"}, "one thread is enough for one at a time"


async def test_as_many_calls_run_together_as_there_are_threads() -> None:
    async with pool(2) as (threads, _clock):
        stands = [Stand() for _ in range(3)]
        calls = [later(threads.run(stand)) for stand in stands]
        await stands[0].standing()
        await stands[1].standing()
        assert not stands[2].began.acquire(blocking=False)
        stands[0].go()
        await stands[2].standing()
        for stand in stands:
            stand.go()
        assert await asyncio.gather(*calls) == ["at last"] * 3


async def test_a_call_that_was_cancelled_before_it_began_is_not_made() -> None:
    async with pool(1) as (threads, _clock):
        stand, made = Stand(), list[int]()
        first = later(threads.run(stand))
        await stand.standing()
        second = later(threads.run(made.append, 1))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        stand.go()
        await first
        await threads.run(made.append, 2)
        assert made == [2]


async def test_nobody_waits_longer_than_the_patience_for_a_call_that_hangs() -> None:
    async with pool() as (threads, clock):
        told = list[str]()
        threads.on_hang = told.append
        stand = Stand()
        call = later(threads.run(stand))
        await stand.standing()
        await clock.advance(PATIENCE - 0.1)
        assert not call.done()
        await clock.advance(1.5)
        with pytest.raises(DiskHangs):
            await call
        assert len(told) == threads.stuck == 1
        stand.go()
        await until(lambda: not threads.stuck)


async def test_a_thread_that_is_lost_to_a_call_is_replaced_and_ends_when_it_comes_back() -> None:
    async with pool(1) as (threads, clock):
        stand = Stand()
        call = later(threads.run(stand))
        await stand.standing()
        behind = later(threads.run(lambda: "no worse for it"))
        await clock.advance(PATIENCE / 2)
        await asyncio.sleep(0)
        late = later(threads.run(lambda: "neither this"))
        await clock.advance(PATIENCE / 2 + 1.5)
        with pytest.raises(DiskHangs):
            await call
        assert await late == "neither this"
        assert isinstance((await asyncio.gather(behind, return_exceptions=True))[0], (str, DiskHangs))
        async with asyncio.timeout(60):
            assert await threads.run(lambda: "nor those who come now") == "nor those who come now"
        stand.go()
        await until(lambda: not threads.stuck)
        assert await threads.run(lambda: "well") == "well"


async def test_what_waits_for_a_thread_too_long_is_given_up_and_never_begun() -> None:
    async with pool(1) as (threads, clock):
        told, made = list[str](), list[int]()
        threads.on_hang = told.append
        stand = Stand()
        first = later(threads.run(stand))
        await stand.standing()
        second = later(threads.run(made.append, 1))
        await asyncio.sleep(0)
        assert threads.under_way == 2
        await clock.advance(PATIENCE + 1.5)
        outcomes = await asyncio.gather(first, second, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [DiskHangs, DiskHangs]
        assert len(told) == 1, "only the first hangs"
        stand.go()
        await until(lambda: not threads.stuck)
        await threads.run(lambda: None)
        assert made == []


async def test_a_thread_that_replaces_a_lost_one_begins_nothing_that_has_waited_too_long() -> None:
    async with pool(1) as (threads, clock):
        stand, made = Stand(), list[int]()
        first = later(threads.run(stand))
        await stand.standing()
        waiting = [later(threads.run(made.append, number)) for number in range(20)]
        await asyncio.sleep(0)
        begun = list[int]()
        start = threads._start_thread

        def replace() -> None:
            begun.append(threads.under_way)
            start()

        threads._start_thread = replace  # type: ignore[method-assign]
        await clock.advance(PATIENCE + 1.5)
        outcomes = await asyncio.gather(first, *waiting, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {DiskHangs}
        assert begun == [], "there was nothing left to begin"
        stand.go()
        await until(lambda: not threads.stuck)
        assert made == []


async def test_the_number_of_calls_that_hang_is_bounded_and_then_who_asks_is_told_at_once() -> None:
    async with pool(2) as (threads, clock):
        stands = list[Stand]()
        for _ in range(2):
            fresh = [Stand(), Stand()]
            stands += fresh
            calls = [later(threads.run(stand)) for stand in fresh]
            for stand in fresh:
                await stand.standing()
            await clock.advance(PATIENCE + 1.5)
            await asyncio.gather(*calls, return_exceptions=True)
        assert threads.stuck == 4
        with pytest.raises(DiskHangs):
            await threads.run(lambda: None)
        told = list[BaseException]()
        threads.begin(lambda: None, told.append)
        assert [type(error) for error in told] == [DiskHangs]
        stands[0].go()
        await until(lambda: threads.stuck == 3)
        assert await threads.run(lambda: "one came back") == "one came back"
        for stand in stands:
            stand.go()
        await until(lambda: not threads.stuck)


async def test_work_nobody_waits_for_is_told_when_it_is_late() -> None:
    async with pool() as (threads, clock):
        stand, told = Stand(), list[BaseException]()
        threads.begin(lambda: (stand(), None)[1], told.append)
        await stand.standing()
        await clock.advance(PATIENCE + 1.5)
        assert [type(error) for error in told] == [DiskHangs]
        stand.go()
        await until(lambda: not threads.stuck)


async def test_a_long_piece_of_work_that_gets_on_is_not_taken_for_a_call_that_hangs() -> None:
    async with pool() as (threads, clock):
        steps = [Stand() for _ in range(4)]

        def work() -> str:
            for step in steps:
                threads.pulse()
                step()
            return "done"

        call = later(threads.run(work))
        for step in steps:
            await step.standing()
            await clock.advance(PATIENCE * 0.8)
            step.go()
        assert await call == "done"
        assert threads.taken() == (1, 1, "slow")


async def test_only_what_the_kernel_says_of_the_disk_counts_against_it() -> None:
    async with pool() as (threads, _clock):
        for error in (
            DiskUnavailable("the file is closed"), kernel(errno.EMFILE), OutOfSpace("full"), BlobMissing("gone"),
            ValueError("a defect"),
        ):  # fmt: skip
            with pytest.raises(type(error)):
                await threads.run(fails, error)
        assert threads.taken() == (5, 0, "")
        for code in (errno.EIO, errno.EROFS):
            with pytest.raises(DiskUnavailable):
                await threads.run(fails, kernel(code))
        threads.note(kernel(errno.EIO))
        assert threads.taken() == (3, 3, "read: Input/output error")
        assert threads.taken() == (0, 0, "")


async def test_a_slow_call_counts_and_is_waited_for() -> None:
    async with pool(slow=2.0) as (threads, clock):
        for seconds, slow in ((1.9, 0), (2.1, 1)):
            stand = Stand()
            call = later(threads.run(stand))
            await stand.standing()
            await clock.advance(seconds)
            stand.go()
            assert await call == "at last"
            assert threads.taken()[:2] == (1, slow)


async def test_every_call_is_followed_by_a_look_and_no_look_by_another() -> None:
    async with pool() as (threads, clock):
        looks = list[int]()
        threads.on_look = lambda: looks.append(1)
        await threads.run(lambda: None)
        await clock.advance(1.5)
        assert len(looks) == 1
        await clock.advance(100)
        assert len(looks) == 1
        assert clock.sleeping == 0


async def test_closing_waits_for_calls_but_not_for_those_that_hang() -> None:
    clock = VirtualClock()
    threads = WatchedPool("test", 2, clock, patience=PATIENCE)
    lost, slow = Stand(), Stand()
    call = later(threads.run(lost))
    await lost.standing()
    await clock.advance(PATIENCE + 1.5)
    await asyncio.gather(call, return_exceptions=True)
    running = later(threads.run(slow))
    await slow.standing()
    closing = later(threads.close())
    await asyncio.sleep(0.01)
    assert not closing.done()
    slow.go()
    await closing
    assert await running == "at last"
    with pytest.raises(RuntimeError):
        await threads.run(lambda: None)
    lost.go()
    await until(lambda: not any(thread.name.startswith("tierproxy-test") for thread in threading.enumerate()))
