"""Long reads stand aside while others want the processor. All time here is virtual."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tierproxy.catalogue import open_reader
from tierproxy.catalogue.database import Reads
from tierproxy.catalogue.turns import SHARE, Ending, Turns, rest
from tierproxy.clock import late_seconds
from tierproxy.errors import DiskUnavailable
from tierproxy.model import ObjectName
from tierproxy.offload import ThreadPool
from tierproxy.purges import Scope
from tierproxy.rules.model import Order, RuleSet
from tierproxy.testing.contracts.catalogue_planning import NOW
from tierproxy.testing.contracts.catalogue_rows import sqlite_catalogue, stored

PAGE = 0.015  #: seconds of a processor


class Machine:
    """One processor; ``others``: seconds they have it for each second of ours."""

    def __init__(self, others: float) -> None:
        self.others = others
        self.spent = self.late = self.rested = 0.0

    def turns(self) -> Turns:
        return Turns(self._wait, spent=lambda: self.spent, late=lambda: self.late)

    def pages(self, count: int) -> Iterator[int]:
        for number in range(count):
            self.spent += PAGE
            self.late += PAGE * self.others
            yield number

    @property
    def share(self) -> float:
        return self.spent / (self.spent + self.late + self.rested)

    def _wait(self, seconds: float) -> None:
        self.rested += seconds


@pytest.mark.parametrize("others", [0.0, 0.005, 0.015])
def test_work_on_a_machine_with_something_left_does_not_rest(others: float) -> None:
    machine = Machine(others)
    assert list(machine.turns().each(machine.pages(100))) == list(range(100))
    assert machine.rested == 0


@pytest.mark.parametrize("others", [0.6, 1.0, 3.0])
def test_work_that_is_kept_waiting_takes_its_share_and_no_more(others: float) -> None:
    machine = Machine(others)
    list(machine.turns().each(machine.pages(100)))
    assert machine.share == pytest.approx(SHARE)


def test_the_longer_a_page_waited_the_longer_others_go_first() -> None:
    rests = [rest(PAGE, PAGE * others) for others in (0.02, 0.03, 0.1, 0.3)]
    assert rests == sorted(set(rests))


def test_a_page_that_waited_longer_than_its_rest_goes_on_at_once() -> None:
    assert rest(PAGE, 100 * PAGE) == 0


def test_finding_the_next_page_is_work_too() -> None:
    """Pages that cost only to be found: nothing is done with them."""
    machine = Machine(1.0)
    list(machine.turns().each(machine.pages(1)))
    assert machine.rested == pytest.approx(PAGE * (1 / SHARE - 2))


def test_work_that_rests_can_be_ended() -> None:
    ending = Ending()
    ending.wait(0)
    ending.end()
    with pytest.raises(DiskUnavailable):
        ending.wait(3600)


def test_work_that_never_rests_is_ended_between_pages() -> None:
    ending = Ending()
    turns = Turns(ending.wait, spent=lambda: 0.0, late=lambda: 0.0).each(range(10))
    assert next(turns) == 0
    assert next(turns) == 1
    ending.end()
    with pytest.raises(DiskUnavailable):
        next(turns)


async def test_pressure_does_not_wait_for_a_survey_that_rests(tmp_path: Path) -> None:
    """The thread of surveys is held; pages for pressure come all the same."""
    gate = threading.Event()
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(stored(ObjectName("mail", "a"), 1))
        database, held = catalogue._database, threading.Event()

        def hold() -> None:
            held.set()
            gate.wait()

        holding = asyncio.create_task(database.surveys.call(hold))
        await database.pool.call(held.wait)
        try:
            async with asyncio.timeout(60):
                assert len(await catalogue.pressed(Scope(RuleSet(), NOW), Order.LRU, 10)) == 1
        finally:
            gate.set()
            await holding


async def test_closing_ends_a_survey_that_rests(tmp_path: Path) -> None:
    resting = threading.Event()

    async with sqlite_catalogue(tmp_path) as catalogue:
        database = catalogue._database

        def rests(_reads: Reads) -> None:
            resting.set()
            database.ending.wait(3600)

        survey = asyncio.create_task(database.surveys.run(rests))
        await database.pool.call(resting.wait)
        async with asyncio.timeout(60):
            await catalogue.close()
        with pytest.raises(DiskUnavailable):
            await survey


async def test_a_reader_that_is_interrupted_ends_its_survey(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(stored(ObjectName("mail", "a"), 1))
        with open_reader(tmp_path) as reader:
            reader.survey(Scope(RuleSet(), NOW))
            reader.interrupt()
            with pytest.raises(DiskUnavailable):
                reader.survey(Scope(RuleSet(), NOW))


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
async def test_a_command_line_looks_while_nobody_else_wants_the_processor() -> None:
    threads = ThreadPool("looks", 1, nice=1, last=True)
    try:
        assert await threads.run(os.sched_getscheduler, 0) == os.SCHED_IDLE
        assert await threads.run(late_seconds) >= 0
    finally:
        await threads.close()
    assert os.sched_getscheduler(0) != os.SCHED_IDLE
