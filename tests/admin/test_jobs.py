"""Jobs: one after the other, told of their progress, ended with the node, never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli.live import until
from tierproxy.admin import children
from tierproxy.admin.children import Children
from tierproxy.admin.jobs import KEPT, WAITING, Jobs, NoSuchJob, Tell, Work
from tierproxy.clock import SystemClock
from tierproxy.errors import Busy, ShuttingDown, StaleGeneration
from tierproxy.offload import ThreadPool
from tierproxy.wire.whatif import Job, Progress

PROGRAM = Path(__file__).with_name("program.py")


@dataclass
class Shop:
    jobs: Jobs
    children: Children

    def work(self, *arguments: object, wish: bytes = b"{}") -> Work:
        command = [sys.executable, str(PROGRAM), *map(str, arguments)]
        return lambda tell: self.children.run(command, wish, tell)

    def ask(self, *arguments: object, wish: bytes = b"{}") -> Job:
        return self.jobs.ask("simulate", "ada", self.work(*arguments, wish=wish))

    async def ended(self, job: Job) -> list[Job]:
        return [one async for one in self.jobs.follow(job.id)]


@asynccontextmanager
async def shop() -> AsyncIterator[Shop]:
    threads = ThreadPool("jobs", 1)
    made = Shop(Jobs(SystemClock()), Children(threads))
    try:
        yield made
    finally:
        await made.jobs.stop()
        await threads.close()


def gone(pid: int) -> bool:
    """Ended, and no zombie either."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def started(file: Path) -> int:
    """The process that a stand-in says it is."""
    await asyncio.to_thread(until, lambda: file.exists() and file.read_text() != "")
    return int(file.read_text())


async def nothing(_tell: Tell) -> dict[str, Any]:
    return {}


async def test_a_job_hands_its_wish_over_tells_progress_and_brings_the_result() -> None:
    async with shop() as made:
        job = made.ask("good", "--json", wish=b'{"days": 7}')
        assert job.state == "waiting"
        seen = await made.ended(job)
    assert seen[-1].state == "done"
    assert seen[-1].result == {"wish": {"days": 7}, "nice": min(os.nice(0) + 15, 19), "arguments": ["--json"]}
    assert seen[-1].progress == Progress(phase="counting", done=3, total=3, unit="events")
    assert "running" in {one.state for one in seen}
    assert seen[-1].started_at is not None
    assert seen[-1].ended_at is not None


async def test_a_wish_larger_than_a_pipe_arrives() -> None:
    async with shop() as made:
        text = "x" * 1_000_000
        [*_, last] = await made.ended(made.ask("good", wish=f'"{text}"'.encode()))
    assert last.result is not None
    assert last.result["wish"] == text


@pytest.mark.parametrize(
    ("what", "words"),
    [("wrong", "this cannot be used"), ("garbage", "no JSON"), ("large", "more than")],
)  # fmt: skip
async def test_a_child_without_a_result_is_a_failed_job_that_says_why(what: str, words: str) -> None:
    async with shop() as made:
        [*_, last] = await made.ended(made.ask(what))
    assert last.state == "failed"
    assert words in last.error
    assert last.result is None
    assert [fault.line for fault in last.faults] == ([3] if what == "wrong" else [])


async def test_a_program_that_is_not_there_is_a_failed_job() -> None:
    async with shop() as made:
        job = made.jobs.ask("curve", "ada", lambda tell: made.children.run(["/absent"], b"", tell))
        [*_, last] = await made.ended(job)
    assert last.state == "failed"
    assert "absent" in last.error


async def test_a_cancelled_job_ends_its_child(tmp_path: Path) -> None:
    async with shop() as made:
        job = made.ask("endless", tmp_path / "pid")
        pid = await started(tmp_path / "pid")
        assert not gone(pid)
        assert (await made.jobs.cancel(job.id)).state == "cancelled"
        assert gone(pid)
        with pytest.raises(StaleGeneration):
            await made.jobs.cancel(job.id)
        [*_, next_one] = await made.ended(made.ask("good"))
        assert next_one.state == "done", "the line is free again"


async def test_a_child_that_ignores_the_polite_signal_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "PATIENCE", 0.05)
    async with shop() as made:
        job = made.ask("stubborn", tmp_path / "pid")
        pid = await started(tmp_path / "pid")
        assert (await made.jobs.cancel(job.id)).state == "cancelled"
        assert gone(pid)


async def test_the_children_of_a_child_end_with_it(tmp_path: Path) -> None:
    async with shop() as made:
        job = made.ask("family", tmp_path / "pid")
        pid = await started(tmp_path / "pid")
        await made.jobs.cancel(job.id)
    await asyncio.to_thread(until, lambda: gone(pid) or _zombie(pid))


async def test_one_child_at_a_time_the_others_wait_and_can_be_cancelled(tmp_path: Path) -> None:
    async with shop() as made:
        first = made.ask("endless", tmp_path / "pid")
        second, third = made.ask("good"), made.ask("good")
        await started(tmp_path / "pid")
        assert [made.jobs.job(job.id).state for job in (first, second, third)] == ["running", "waiting", "waiting"]
        assert (await made.jobs.cancel(third.id)).state == "cancelled"
        await made.jobs.cancel(first.id)
        assert (await made.ended(second))[-1].state == "done"


async def test_a_stop_ends_what_runs_and_what_waits(tmp_path: Path) -> None:
    async with shop() as made:
        first, second = made.ask("endless", tmp_path / "pid"), made.ask("good")
        pid = await started(tmp_path / "pid")
        await made.jobs.stop()
        assert gone(pid)
        assert {made.jobs.job(job.id).state for job in (first, second)} == {"cancelled"}
        with pytest.raises(ShuttingDown):
            made.ask("good")


async def test_a_job_that_has_not_made_its_first_step_can_be_cancelled() -> None:
    async with shop() as made:
        job = made.jobs.ask("curve", "ada", nothing)
        assert (await made.jobs.cancel(job.id)).state == "cancelled"
        assert [one.state async for one in made.jobs.follow(job.id)] == ["cancelled"]


async def test_the_table_is_bounded() -> None:
    async with shop() as made:
        release = asyncio.Event()

        async def waits(_tell: Tell) -> dict[str, Any]:
            await release.wait()
            return {"long": "result"}

        first = made.jobs.ask("curve", "ada", waits)
        await asyncio.sleep(0)
        jobs = [made.jobs.ask("advise", "ada", waits) for _ in range(WAITING)]
        with pytest.raises(Busy):
            made.jobs.ask("advise", "ada", waits)
        release.set()
        for job in [first, *jobs]:
            await made.ended(job)
        for _ in range(KEPT):
            await made.ended(made.jobs.ask("warm", "ada", nothing, line="alt"))
        made.jobs.ask("warm", "ada", nothing, line="alt")
        with pytest.raises(NoSuchJob):
            made.jobs.job(first.id)
        assert len(made.jobs.jobs(1000)) == KEPT + 1
        assert made.jobs.jobs(3, "advise") == []
        assert all(one.result is None for one in made.jobs.jobs(1000))


async def test_a_defect_is_a_failed_job_and_the_next_one_has_its_turn(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_tell: Tell) -> dict[str, Any]:
        raise ZeroDivisionError

    async with shop() as made:
        [*_, last] = await made.ended(made.jobs.ask("curve", "ada", broken))
        assert last.state == "failed"
        assert "log" in last.error
        assert (await made.ended(made.jobs.ask("curve", "ada", nothing)))[-1].state == "done"
    assert "job broke" in caplog.text


NODE = """
import asyncio, sys
from tests.admin.test_jobs import shop
async def main():
    async with shop() as made:
        await made.ended(made.ask("endless", sys.argv[1]))
asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends the child")
async def test_a_child_dies_with_a_node_that_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    with subprocess.Popen([sys.executable, "-c", NODE, str(file)]) as node:
        try:
            pid = await started(file)
        finally:
            node.send_signal(signal.SIGKILL)
    await asyncio.to_thread(until, lambda: gone(pid) or _zombie(pid))


def _zombie(pid: int) -> bool:
    """Dead, and its new parent (the machine's first process) has not looked yet."""
    try:
        return "Z (zombie)" in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return True
