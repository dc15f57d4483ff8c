"""The log of a running node keeps up, rotates, and never hurts anybody."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.history.rigs import events, names, numbers, open_below, read_event
from tierproxy.config.sections import HistorySection
from tierproxy.config.values import Duration, Size
from tierproxy.disk.fsio import Files
from tierproxy.history.log import ALARM, HistoryWriter, NoHistory
from tierproxy.history.reading import open_history
from tierproxy.store.alarms import AlarmBoard
from tierproxy.testing.clock import EPOCH, VirtualClock
from tierproxy.testing.crash import FaultyFiles

T = TypeVar("T")


class Here:
    """``tierproxy.ports.Offload`` without threads: virtual time goes on when the work is done."""

    async def run(self, call: Callable[..., T], *args: Any) -> T:
        return call(*args)

    async def close(self) -> None:
        pass


class Running:
    def __init__(self, root: Path, files: Files, settings: HistorySection, buffer: int) -> None:
        self.clock = VirtualClock()
        self.alarms = AlarmBoard()
        self.log = HistoryWriter(
            root / "history", files=files, threads=Here(), clock=self.clock, alarms=self.alarms, settings=settings,
            node="here", buffer=buffer,
        )  # fmt: skip

    def note(self, first: int, count: int) -> None:
        for event in events(first, count):
            self.log.note(event)


@asynccontextmanager
async def running(
    root: Path, files: Files | None = None, *, buffer: int = 1000, **options: Any
) -> AsyncIterator[Running]:
    import asyncio

    one = Running(root, files or Files(), HistorySection(**options), buffer)
    task = asyncio.create_task(one.log.run())
    await one.clock.settle()
    try:
        yield one
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await one.log.stop()
        assert open_below(root) == []


async def test_events_are_on_disk_after_a_second(tmp_path: Path) -> None:
    async with running(tmp_path) as one:
        one.note(0, 3)
        assert not (tmp_path / "history").exists()
        await one.clock.advance(1)
        assert numbers(tmp_path) == [0, 1, 2]
        assert names(tmp_path) == [".journal"]


async def test_an_event_that_happened_many_times_is_that_many_lines(tmp_path: Path) -> None:
    async with running(tmp_path, segment_events=1100) as one:
        one.log.note(read_event(0))
        one.log.note(read_event(1), 999)
        one.log.note(read_event(2), 0)
        assert one.log.waiting == 1000
        one.log.note(read_event(3), 2)
        assert (one.log.waiting, one.log.dropped) == (1000, 0)
        await one.clock.advance(1)
        assert one.log.dropped == 2
        assert numbers(tmp_path) == [0, *[1] * 999]
        one.log.note(read_event(4), 100)
        await one.clock.advance(2)
        assert names(tmp_path) == [".parquet"]
        assert numbers(tmp_path) == [0, *[1] * 999, *[4] * 100]


async def test_what_is_in_memory_is_written_at_the_end(tmp_path: Path) -> None:
    async with running(tmp_path) as one:
        one.note(0, 3)
    assert numbers(tmp_path) == [0, 1, 2]


async def test_a_long_journal_becomes_a_segment(tmp_path: Path) -> None:
    async with running(tmp_path, segment_events=5) as one:
        for second in range(4):
            one.note(second * 3, 3)
            await one.clock.advance(1)
        await one.clock.advance(1)
        assert names(tmp_path) == [".parquet", ".parquet"]
        assert numbers(tmp_path) == list(range(12))


async def test_an_old_journal_becomes_a_segment(tmp_path: Path) -> None:
    async with running(tmp_path, segment_age=Duration(100)) as one:
        one.note(0, 1)
        await one.clock.advance(99)
        assert names(tmp_path) == [".journal"]
        await one.clock.advance(3)
        assert names(tmp_path) == [".parquet"]
        one.note(1, 1)
        await one.clock.advance(1)
        assert names(tmp_path) == [".journal", ".parquet"]


async def test_new_limits_hold_for_the_open_journal(tmp_path: Path) -> None:
    async with running(tmp_path, segment_age=Duration(100)) as one:
        one.note(0, 1)
        await one.clock.advance(10)
        one.log.reload(HistorySection(segment_age=Duration(5)))
        await one.clock.advance(2)
        assert names(tmp_path) == [".parquet"]


async def test_the_next_start_makes_a_segment_of_what_the_last_one_left(tmp_path: Path) -> None:
    async with running(tmp_path) as one:
        one.note(0, 3)
    assert names(tmp_path) == [".journal"]
    async with running(tmp_path) as two:
        assert names(tmp_path) == [".parquet"]
        two.note(3, 2)
        await two.clock.advance(1)
        assert numbers(tmp_path) == [0, 1, 2, 3, 4]


async def test_a_wall_clock_that_goes_back_loses_nothing(tmp_path: Path) -> None:
    async with running(tmp_path, segment_events=1) as one:
        for number in range(3):
            one.note(number, 1)
            await one.clock.advance(1)
            one.clock.jump_wall(EPOCH - one.clock.now())
        await one.clock.advance(1)
        assert numbers(tmp_path) == [0, 1, 2]


async def test_beyond_the_buffer_events_are_dropped_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path, buffer=10) as one:
        one.note(0, 25)
        await one.clock.advance(1)
        assert one.log.dropped == 15
        assert "history events dropped" in caplog.messages
        one.note(25, 5)
        await one.clock.advance(1)
        assert numbers(tmp_path) == [*range(10), *range(25, 30)]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("kind", ["mkdir", "create", "write_at"])
async def test_a_disk_that_fails_costs_events_and_an_alarm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str, code: int
) -> None:
    caplog.set_level("INFO")
    files = FaultyFiles(kind, code, lasting=True)
    async with running(tmp_path, files) as one:
        one.note(0, 3)
        await one.clock.advance(2)
        assert one.log.dropped == 3
        assert one.alarms.active() == [(ALARM, str(tmp_path / "history"))]
        files.code = 0
        one.note(3, 3)
        await one.clock.advance(1)
        assert one.alarms.active() == []
        assert "alarm cleared" in caplog.messages
        assert numbers(tmp_path) == [3, 4, 5]


async def test_half_a_line_of_a_failed_write_is_gone_after_the_next(tmp_path: Path) -> None:
    class Half(FaultyFiles):
        """Writes half of it, then the disk is full."""

        full = False

        def write_at(self, fd: int, data: bytes | bytearray | memoryview, offset: int) -> None:
            super().write_at(fd, data[: len(data) // 2] if self.full else data, offset)
            if self.full:
                from tierproxy.errors import OutOfSpace

                raise OutOfSpace

    files = Half()
    async with running(tmp_path, files) as one:
        for number, full in enumerate([False, True, False]):
            files.full = full
            one.note(number * 10, 10 if number < 2 else 1)
            await one.clock.advance(1)
        history = open_history(tmp_path)
        assert [event["key"] for event in history.events()] == [
            event.name.key for event in events(0, 10) + events(20, 1)
        ]
        assert history.skipped == []


async def test_a_segment_that_cannot_be_written_is_tried_again(tmp_path: Path) -> None:
    files = FaultyFiles("rename", errno.ENOSPC, lasting=True)
    async with running(tmp_path, files, segment_events=1) as one:
        one.note(0, 3)
        await one.clock.advance(3)
        assert one.alarms.active() != []
        assert numbers(tmp_path) == [0, 1, 2]
        files.code = 0
        await one.clock.advance(61)
        assert one.alarms.active() == []
        assert names(tmp_path) == [".parquet"]
        assert numbers(tmp_path) == [0, 1, 2]


async def test_old_segments_go_while_the_node_runs(tmp_path: Path) -> None:
    async with running(tmp_path, segment_events=1, max_age=Duration(600)) as one:
        one.note(0, 1)
        await one.clock.advance(500)
        assert numbers(tmp_path) == [0]
        one.log.note(read_event(500))
        await one.clock.advance(200)
        assert numbers(tmp_path) == [500]


async def test_beyond_the_bytes_the_oldest_segments_go(tmp_path: Path) -> None:
    async with running(tmp_path, segment_events=1, max_bytes=Size(2**20)) as one:
        for number in range(4):
            one.note(number, 1)
            await one.clock.advance(2)
        size = next((tmp_path / "history").glob("*.parquet")).stat().st_size
        one.log.reload(HistorySection(segment_events=1, max_bytes=Size(size * 2 + size // 2)))
        await one.clock.advance(61)
        assert numbers(tmp_path) == [2, 3]


async def test_no_history_keeps_nothing() -> None:
    nothing = NoHistory()
    nothing.note(read_event(1))
    nothing.reload(HistorySection())
    await nothing.run()
    await nothing.stop()
