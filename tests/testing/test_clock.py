"""The virtual clock and the gate: what other tests stand on."""

from __future__ import annotations

import asyncio
import time

import pytest

from tierproxy.testing.clock import EPOCH, VirtualClock
from tierproxy.testing.gate import Gate, Sequencer


async def _note(clock: VirtualClock, seconds: float, seen: list[float]) -> None:
    await clock.sleep(seconds)
    seen.append(clock.monotonic())


async def test_sleepers_wake_in_the_order_of_their_times() -> None:
    clock, seen = VirtualClock(), list[float]()
    tasks = [asyncio.create_task(_note(clock, seconds, seen)) for seconds in (3, 1, 2)]
    await clock.advance(10)
    assert seen == [1, 2, 3]
    assert clock.monotonic() == 10
    assert clock.now() == EPOCH + 10
    await asyncio.gather(*tasks)


async def test_nobody_wakes_before_their_time() -> None:
    clock, seen = VirtualClock(), list[float]()
    task = asyncio.create_task(_note(clock, 5, seen))
    await clock.advance(4.5)
    assert seen == []
    assert clock.sleeping == 1
    await clock.advance(0.5)
    assert seen == [5]
    await task


async def test_a_task_that_sleeps_again_while_time_passes_keeps_its_rhythm() -> None:
    clock, seen = VirtualClock(), list[float]()

    async def rhythm() -> None:
        for _ in range(4):
            await _note(clock, 2, seen)

    task = asyncio.create_task(rhythm())
    await clock.advance(7)
    assert seen == [2, 4, 6]
    await clock.advance(1)
    await task
    assert seen == [2, 4, 6, 8]


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    clock, seen = VirtualClock(), list[float]()
    task = asyncio.create_task(_note(clock, 1, seen))
    await clock.settle()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await clock.advance(2)
    assert seen == []
    assert clock.sleeping == 0


async def test_a_jump_of_the_wall_clock_wakes_nobody_and_leaves_monotonic_time_alone() -> None:
    clock, seen = VirtualClock(), list[float]()
    task = asyncio.create_task(_note(clock, 5, seen))
    await clock.settle()
    clock.jump_wall(-3600)
    await clock.settle()
    assert clock.now() == EPOCH - 3600
    assert clock.monotonic() == 0
    assert seen == []
    await clock.advance(5)
    await task


async def test_a_sleep_of_nothing_lets_others_run() -> None:
    clock, seen = VirtualClock(), list[str]()

    async def other() -> None:
        seen.append("other")

    task = asyncio.create_task(other())
    await clock.sleep(0)
    assert seen == ["other"]
    await task


async def test_autojump_moves_an_idle_loop_to_the_next_sleeper() -> None:
    clock = VirtualClock(autojump=0.001)
    await clock.sleep(3600)
    await clock.sleep(60)
    assert clock.monotonic() == 3660


async def test_autojump_does_not_jump_while_held() -> None:
    clock, seen = VirtualClock(autojump=0.001), list[float]()
    with clock.hold():
        task = asyncio.create_task(_note(clock, 1, seen))
        await asyncio.get_running_loop().run_in_executor(None, time.sleep, 0.05)
        assert seen == []
    await task
    assert seen == [1]


async def test_autojump_does_not_jump_while_a_task_keeps_the_loop_busy() -> None:
    clock, seen = VirtualClock(autojump=0.001), list[float]()
    task = asyncio.create_task(_note(clock, 1, seen))
    stop = time.monotonic() + 0.02
    while time.monotonic() < stop:
        await asyncio.sleep(0)
    assert seen == []
    await task


async def test_a_gate_holds_those_who_come_until_it_opens() -> None:
    gate, seen = Gate(), list[int]()

    async def walker(number: int) -> None:
        await gate.passage()
        seen.append(number)

    tasks = [asyncio.create_task(walker(number)) for number in range(3)]
    await gate.reached(3)
    assert seen == []
    assert gate.waiting == 3
    gate.open()
    await asyncio.gather(*tasks)
    assert seen == [0, 1, 2]
    await gate.passage()
    assert gate.arrivals == 4


async def test_a_gate_lets_as_many_through_as_it_was_told() -> None:
    gate, seen = Gate(), list[int]()

    async def walker(number: int) -> None:
        await gate.passage()
        seen.append(number)

    gate.allow(1)
    tasks = [asyncio.create_task(walker(number)) for number in range(3)]
    await gate.reached(3)
    await VirtualClock().settle()
    assert seen == [0]
    gate.allow(1)
    await VirtualClock().settle()
    assert seen == [0, 1]
    gate.open()
    await asyncio.gather(*tasks)


async def test_a_guarded_call_waits_at_the_gate() -> None:
    gate = Gate()

    async def double(number: int) -> int:
        return 2 * number

    task = asyncio.create_task(_awaited(gate.guard(double)(21)))
    await gate.reached()
    assert not task.done()
    gate.open()
    assert await task == 42


async def _awaited(call: object) -> object:
    return await call  # type: ignore[misc]


async def test_a_sequence_runs_its_steps_in_the_order_of_their_numbers() -> None:
    step, seen = Sequencer(), list[int]()

    async def take(position: int) -> None:
        async with step(position):
            seen.append(position)

    await asyncio.gather(*(take(position) for position in (2, 0, 3, 1)))
    assert seen == [0, 1, 2, 3]


def test_a_step_before_its_turn_waits() -> None:
    async def early() -> None:
        step = Sequencer()
        async with asyncio.timeout(0.01):
            async with step(1):
                pass

    with pytest.raises(TimeoutError):
        asyncio.run(early())
