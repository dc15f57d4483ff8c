"""Contenders measured side by side: short rounds, taken in turns, medians of all rounds."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

Operation = Callable[[int], Awaitable[None]]
"""One operation; the number is never used twice for the same contender."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of one contender: operations per second, and the median of their milliseconds. ``late``: what 99 of
    100 did not exceed, 0 where nobody asked."""

    rate: float
    milliseconds: float
    late: float = 0.0


async def _at_rest() -> None:
    """Nothing goes on after the measure."""


@dataclass
class Contender:
    """Something that can be measured. ``measure`` is given the number of the round and returns its sample; ``settle``
    waits until what it left to do is done, so that the next contender does not pay for it."""

    name: str
    measure: Callable[[int], Awaitable[Sample]]
    settle: Callable[[], Awaitable[None]] = _at_rest
    samples: list[Sample] = field(default_factory=list, init=False)

    @property
    def rate(self) -> float:
        return statistics.median(sample.rate for sample in self.samples)

    @property
    def milliseconds(self) -> float:
        return statistics.median(sample.milliseconds for sample in self.samples)


async def compare(contenders: Sequence[Contender], rounds: int, pause: float = 0.05) -> None:
    """Measure all, in turns (A B C C B A ...), so that what drifts on the machine drifts for all."""
    for number in range(rounds):
        for contender in contenders if number % 2 == 0 else reversed(contenders):
            contender.samples.append(await contender.measure(number))
            await contender.settle()
            await asyncio.sleep(pause)


async def until(reached: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait for what happens in the background. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not reached():
            await asyncio.sleep(0.02)


async def many(operation: Operation, first: int, concurrency: int, seconds: float, most: int = 10**9) -> Sample:
    """``concurrency`` loops of ``operation`` for ``seconds``, or ``most`` operations. ``first``: their first number."""
    taken: list[float] = []
    following = first
    begin = time.perf_counter()
    end = begin + seconds

    async def loop() -> None:
        nonlocal following
        while (now := time.perf_counter()) < end and following < first + most:
            number, following = following, following + 1
            await operation(number)
            taken.append(time.perf_counter() - now)

    await asyncio.gather(*(loop() for _ in range(concurrency)))
    return Sample(len(taken) / (time.perf_counter() - begin), statistics.median(taken) * 1000)


def rows(contenders: Sequence[Contender], reference: Contender) -> list[list[str]]:
    """Name, rate, ratio of rates, median, ratio of medians; the ratios are to ``reference``."""
    return [
        [
            one.name, f"{one.rate:,.0f}", f"{one.rate / reference.rate:.2f}", f"{one.milliseconds:.2f}",
            f"{one.milliseconds / reference.milliseconds:.2f}",
        ]
        for one in contenders
    ]  # fmt: skip


HEAD = ("contender", "op/s", "ratio", "median ms", "ratio")
