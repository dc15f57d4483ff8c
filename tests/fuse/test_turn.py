"""Coroutines that are begun where they are made."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar, copy_context
from typing import Any

import pytest

from tierproxy.fuse.turn import Waiting, rest, step

NAME: ContextVar[str] = ContextVar("name", default="nobody")


async def at_once() -> str:
    return "answer"


def begin(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """As a callback of the loop does: outside of tasks."""
    loop = asyncio.get_running_loop()
    result = loop.create_future()

    def called() -> None:
        try:
            result.set_result(step(loop, coroutine, copy_context()))
        except Exception as error:
            result.set_exception(error)

    loop.call_soon(called)
    return result


def as_task(waiting: Waiting) -> asyncio.Task[Any]:
    async def end() -> Any:
        return await rest(waiting)

    return asyncio.get_running_loop().create_task(end(), context=waiting.context)


async def test_what_does_not_wait_needs_no_task() -> None:
    assert await begin(at_once()) == "answer"


async def test_what_it_raises_is_raised() -> None:
    async def fails() -> None:
        raise OSError(5, "no")

    with pytest.raises(OSError, match="no"):
        await begin(fails())


async def test_what_waits_goes_on_as_a_task() -> None:
    gate: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def waits() -> str:
        await asyncio.sleep(0)
        return await gate

    waiting = await begin(waits())
    task = as_task(waiting)
    gate.set_result("later")
    assert await task == "later"


async def test_a_future_that_failed_meanwhile_is_raised_inside() -> None:
    gate: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def waits() -> str:
        try:
            return await gate
        except ValueError:
            return "caught"

    task = as_task(await begin(waits()))
    gate.set_exception(ValueError())
    assert await task == "caught"


async def test_a_cancelled_task_cancels_what_waits() -> None:
    seen = []

    async def waits() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    task = as_task(await begin(waits()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cancelled"]


async def test_a_timeout_that_began_in_the_first_step_ends_the_rest() -> None:
    async def waits() -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.get_running_loop().create_future()
        except TimeoutError:
            return "timed out"
        return "?"

    assert await as_task(await begin(waits())) == "timed out"


async def test_a_timeout_that_is_over_before_the_rest_begins_ends_it_all_the_same() -> None:
    async def waits() -> str:
        try:
            async with asyncio.timeout(0):
                await asyncio.get_running_loop().create_future()
        except TimeoutError:
            return "timed out"
        return "?"

    assert await as_task(await begin(waits())) == "timed out"


async def test_a_task_group_that_began_in_the_first_step_ends_with_its_first_failure() -> None:
    async def fails() -> None:
        raise ValueError("one of them")

    async def waits() -> str:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fails())
                group.create_task(asyncio.sleep(3600))
        except* ValueError:
            pass
        else:
            return "?"
        return "failed"

    assert await as_task(await begin(waits())) == "failed"


async def test_variables_of_a_context_stay_with_it() -> None:
    async def names() -> str:
        NAME.set("somebody")
        await asyncio.sleep(0)
        return NAME.get()

    assert await as_task(await begin(names())) == "somebody"
    assert NAME.get() == "nobody"
