"""Answers that are computed in the background and kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from tierproxy.admin.kept import Keeper
from tierproxy.admin.services import Desk
from tierproxy.admin.snapshots import GOOD_FOR, OLDEST, SAVED, TIMES, Snapshots
from tierproxy.catalogue import CatalogueReader
from tierproxy.disk.fsio import Files
from tierproxy.errors import DiskUnavailable, NoSuchBucket, TierproxyError
from tierproxy.testing.clock import VirtualClock
from tierproxy.wire.base import Document

T = TypeVar("T")
QUESTION = ("stats", "age")


class Counted(Document):
    """What a look finds, as a document."""

    number: int


@dataclass
class SlowDesk:
    """A desk whose looks take ``takes`` seconds of virtual time. ``looks``: how many; ``most``: at once."""

    clock: VirtualClock
    takes: float = 1.0
    looks: int = 0
    running: int = 0
    most: int = 0
    hurried: int = 0
    errors: list[Exception] = field(default_factory=list)

    async def ask(self, look: Callable[[CatalogueReader], T]) -> T:
        self.looks += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.clock.sleep(self.takes)
        finally:
            self.running -= 1
        if self.errors:
            raise self.errors.pop()
        return look(cast(CatalogueReader, self))

    async def run(self, call: Callable[..., T], *args: Any) -> T:
        """What needs no catalogue takes no time."""
        return call(*args)

    def hurry(self) -> None:
        """As the reader that is looked at."""
        self.hurried += 1


@dataclass
class Trial:
    """``number`` is what a look finds, ``counted``: as a document."""

    clock: VirtualClock
    desk: SlowDesk
    snapshots: Snapshots
    number: int = 0
    counted: bool = False

    def look(self, _: CatalogueReader) -> Any:
        return Counted(number=self.number) if self.counted else self.number

    def ask(self, question: Any = QUESTION, *, fresh: bool = False) -> asyncio.Task[Any]:
        return asyncio.create_task(self.snapshots.ask(question, self.look, fresh=fresh))

    async def answered(self, question: Any = QUESTION, *, fresh: bool = False) -> Any:
        """With all the time it needs."""
        task = self.ask(question, fresh=fresh)
        await self.clock.advance(self.desk.takes * 2 + 0.001)
        return task.result()

    async def at_once(self, question: Any = QUESTION) -> Any:
        """Without any time."""
        task = self.ask(question)
        await self.clock.settle()
        assert task.done(), "it has to wait"
        return task.result()


@asynccontextmanager
async def trial(most: int = 64) -> AsyncIterator[Trial]:
    clock = VirtualClock()
    desk = SlowDesk(clock)
    one = Trial(clock, desk, Snapshots(cast(Desk, desk), clock, most))
    try:
        yield one
    finally:
        await one.snapshots.close()


@asynccontextmanager
async def running(one: Trial) -> AsyncIterator[None]:
    """With the background work of a node."""
    work = asyncio.create_task(one.snapshots.run())
    await one.clock.settle()
    try:
        yield
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def test_everybody_who_asks_first_waits_for_the_same_look() -> None:
    async with trial() as one:
        tasks = [one.ask() for _ in range(5)]
        await one.clock.settle()
        assert not any(task.done() for task in tasks)
        await one.clock.advance(1)
        assert [task.result() for task in tasks] == [0] * 5
        assert one.desk.looks == 1


async def test_a_value_is_good_for_a_while() -> None:
    async with trial() as one:
        await one.answered()
        one.number = 1
        await one.clock.advance(GOOD_FOR - 3)
        assert await one.at_once() == 0
        assert one.desk.looks == 1


async def test_what_took_long_is_good_for_longer() -> None:
    async with trial() as one:
        one.desk.takes = 5.0
        await one.answered()
        await one.clock.advance(TIMES * 5 - 15)
        assert await one.at_once() == 0
        assert one.desk.looks == 1
        await one.clock.advance(30)
        assert await one.at_once() == 0
        assert one.desk.looks == 2


async def test_nothing_is_good_for_ever() -> None:
    async with trial() as one:
        one.desk.takes = 100.0
        await one.answered()
        await one.clock.advance(OLDEST)
        assert await one.at_once() == 0
        assert one.desk.looks == 2


async def test_an_old_value_is_answered_while_the_next_is_computed() -> None:
    async with trial() as one:
        await one.answered()
        one.number = 1
        await one.clock.advance(100)
        assert await one.at_once() == 0
        assert await one.at_once() == 0
        assert one.desk.looks == 2
        await one.clock.advance(1)
        assert await one.at_once() == 1
        assert one.desk.looks == 2


async def test_a_change_makes_its_questions_old_and_no_others() -> None:
    async with trial() as one:
        await one.answered()
        await one.answered(("rules", "live"))
        one.number = 1
        one.snapshots.changed("rules")
        assert await one.at_once() == 0
        assert await one.at_once(("rules", "live")) == 0
        await one.clock.advance(1)
        assert await one.at_once(("rules", "live")) == 1
        assert await one.at_once() == 0


async def test_a_look_that_a_change_overtook_is_old_when_it_ends() -> None:
    async with trial() as one:
        task = one.ask()
        await one.clock.advance(0.5)
        one.snapshots.changed()
        await one.clock.advance(0.6)
        assert task.result() == 0
        one.number = 1
        assert await one.at_once() == 0
        await one.clock.advance(1)
        assert await one.at_once() == 1


async def test_who_wants_it_as_it_is_now_waits_for_a_look_that_begins_now() -> None:
    async with trial() as one:
        first = one.ask()
        await one.clock.advance(0.5)
        fresh = one.ask(fresh=True)
        one.number = 1
        await one.clock.advance(0.6)
        assert first.result() == 1
        assert not fresh.done()
        one.number = 2
        await one.clock.advance(1)
        assert fresh.result() == 2
        assert one.desk.looks == 2


async def test_a_look_that_fails_is_told_and_tried_again() -> None:
    async with trial() as one:
        one.desk.errors.append(DiskUnavailable("broken"))
        tasks = [one.ask(), one.ask()]
        await one.clock.advance(1)
        for task in tasks:
            with pytest.raises(DiskUnavailable, match="broken"):
                task.result()
        assert await one.answered() == 0
        assert one.desk.looks == 2


@pytest.mark.parametrize(
    ("error", "warned"), [(DiskUnavailable("broken"), True), (NoSuchBucket("there is no bucket 'mial'"), False)]
)
async def test_the_log_warns_of_failures_and_not_of_names_that_are_not_known(
    error: TierproxyError, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with trial() as one:
        one.desk.errors.append(error)
        task = one.ask()
        await one.clock.advance(1)
        assert task.exception() is error
    assert any(record.levelname == "WARNING" for record in caplog.records) is warned


async def test_a_value_whose_renewal_failed_is_not_answered_for_ever() -> None:
    async with trial() as one:
        await one.answered()
        await one.clock.advance(100)
        one.desk.errors.append(DiskUnavailable("broken"))
        assert await one.at_once() == 0
        await one.clock.advance(1)
        one.number = 1
        assert await one.answered() == 1


async def test_different_questions_take_turns() -> None:
    async with trial() as one:
        tasks = [one.ask(("stats", number)) for number in range(4)]
        await one.clock.advance(5)
        assert all(task.done() for task in tasks)
        assert (one.desk.looks, one.desk.most) == (4, 1)


async def test_the_number_of_questions_is_bounded() -> None:
    async with trial(most=3) as one:
        for number in range(10):
            await one.answered(("stats", number))
        assert "3 questions" in repr(one.snapshots)
        assert await one.at_once(("stats", 9)) == 0
        assert one.desk.looks == 10


async def test_only_looks_that_somebody_waits_for_are_hurried() -> None:
    async with trial() as one:
        await one.answered()
        assert one.desk.hurried == 1
        await one.clock.advance(100)
        await one.answered()
        assert (one.desk.looks, one.desk.hurried) == (2, 1)
        await one.answered(fresh=True)
        assert one.desk.hurried == 2


async def test_what_is_expected_is_there_when_somebody_asks() -> None:
    async with trial() as one:
        one.snapshots.expect(QUESTION, lambda _: one.number)
        async with running(one):
            await one.clock.advance(2)
            assert await one.at_once() == 0
        assert (one.desk.looks, one.desk.hurried) == (1, 0)


async def test_a_node_that_starts_again_shows_what_was_counted_before_until_it_has_looked(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, "stats", Counted, Files())
    for number in (1, 2):
        async with trial() as one:
            one.number, one.counted = number, True
            one.snapshots.expect(QUESTION, one.look, keeper)
            async with running(one):
                if number == 2:
                    assert await one.at_once() == Counted(number=1)
                await one.clock.advance(2)
                assert await one.at_once() == Counted(number=number)
                assert one.desk.looks == 1
    assert keeper.read() == Counted(number=2)


async def test_what_says_nothing_about_this_node_any_more_is_not_shown(tmp_path: Path) -> None:
    Keeper(tmp_path, "stats", Counted, Files()).write(Counted(number=1))
    keeper = Keeper(tmp_path, "stats", Counted, Files(), good=lambda value: value.number != 1)
    async with trial() as one:
        one.snapshots.expect(QUESTION, lambda _: Counted(number=2), keeper)
        async with running(one):
            asked = one.ask()
            await one.clock.settle()
            assert not asked.done()
            await one.clock.advance(2)
            assert asked.result() == Counted(number=2)


async def test_what_is_shown_at_the_next_start_is_saved_now_and_then_and_at_the_end(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path, "stats", Counted, Files())
    async with trial() as one:
        one.counted = True
        one.snapshots.expect(QUESTION, one.look, keeper)
        async with running(one):
            await one.clock.advance(2)
            assert keeper.read() == Counted(number=0)
            one.number = 1
            await one.answered(fresh=True)
            assert keeper.read() == Counted(number=0)
            await one.clock.advance(SAVED)
            assert keeper.read() == Counted(number=1)
            one.number = 2
            await one.answered(fresh=True)
    assert keeper.read() == Counted(number=2)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"number": "many"}'])
def test_a_file_that_nobody_understands_is_no_value(tmp_path: Path, text: str) -> None:
    keeper = Keeper(tmp_path, "stats", Counted, Files())
    keeper.write(Counted(number=1))
    [file] = tmp_path.rglob("stats.json")
    assert file.stat().st_mode & 0o077 == 0
    file.write_text(text)
    assert keeper.read() is None


def test_a_disk_that_takes_nothing_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "looks").write_text("not a folder")
    keeper = Keeper(tmp_path, "stats", Counted, Files())
    keeper.write(Counted(number=1))
    assert keeper.read() is None


async def test_who_leaves_stops_nobody_else() -> None:
    async with trial() as one:
        leaver, stayer = one.ask(), one.ask()
        await one.clock.settle()
        leaver.cancel()
        await one.clock.advance(1)
        assert stayer.result() == 0


async def test_closing_ends_what_is_computed() -> None:
    async with trial() as one:
        task = one.ask()
        await one.clock.settle()
        await one.snapshots.close()
        with pytest.raises(asyncio.CancelledError):
            await task
