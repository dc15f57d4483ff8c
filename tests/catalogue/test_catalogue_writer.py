"""Group commit, durability, and what happens when the database does not want to."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tierproxy.catalogue import SqliteCatalogue, catalogue_file
from tierproxy.errors import DiskUnavailable, OutOfSpace, StaleGeneration
from tierproxy.model import ListRequest, ObjectName
from tierproxy.testing.contracts.catalogue_rows import MAIL, OTHER, dirty, entry, put, sqlite_catalogue, stored


def names(count: int) -> list[ObjectName]:
    return [ObjectName("mail", f"key-{number}") for number in range(count)]


@asynccontextmanager
async def writer_held(catalogue: SqliteCatalogue) -> AsyncIterator[None]:
    """Inside, changes queue up; they are committed together at the end."""
    begun, free = threading.Event(), threading.Event()

    def hold(_connection: sqlite3.Connection) -> None:
        begun.set()
        free.wait(60)

    held = catalogue._database.writer.post(hold)
    assert begun.wait(60)
    try:
        yield
        await asyncio.sleep(0)
    finally:
        free.set()
        held.result(60)


async def test_changes_that_wait_together_are_committed_together(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        before = catalogue.commits
        async with writer_held(catalogue):
            tasks = [asyncio.create_task(catalogue.publish(stored(name))) for name in names(50)]
        await asyncio.gather(*tasks)
        assert catalogue.commits - before == 2
        assert catalogue.totals().objects == 50


async def test_a_change_that_fails_hurts_no_other_of_its_batch(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(stored(OTHER, 9))
        async with writer_held(catalogue):
            first = asyncio.create_task(catalogue.publish(dirty(), job=put()))
            failing = asyncio.create_task(catalogue.publish(dirty(OTHER, 8), job=put(OTHER, 8)))
            same_blob = asyncio.create_task(catalogue.publish(stored(ObjectName("mail", "x"), blob=f"{OTHER.key}#9")))
            last = asyncio.create_task(catalogue.uploaded(MAIL, 1, "alt"))
        await asyncio.gather(first, last)
        with pytest.raises(StaleGeneration):
            await failing
        with pytest.raises(DiskUnavailable):
            await same_blob
        assert catalogue.find(MAIL) == stored(alt_etag="alt")
        assert catalogue.totals().objects == 2
        assert await catalogue.check() == []


async def test_a_change_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    def half(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO bucket VALUES ('half', 1, 1, 1)")
        raise StaleGeneration

    async with sqlite_catalogue(tmp_path) as catalogue:
        with pytest.raises(StaleGeneration):
            await catalogue._database.change(half)
        assert catalogue.bucket("half") is None


async def test_changes_happen_in_the_order_they_are_asked_for(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        tasks = [asyncio.create_task(catalogue.publish(stored(generation=number))) for number in range(1, 101)]
        replaced = await asyncio.gather(*tasks)
        assert [old and old.generation for old in replaced] == [None, *range(1, 100)]


async def test_a_cancelled_waiter_hears_of_it_when_the_change_has_happened(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        async with writer_held(catalogue):
            task = asyncio.create_task(catalogue.publish(stored()))
            await asyncio.sleep(0)
            task.cancel()
            for _ in range(5):
                await asyncio.sleep(0)
            task.cancel()
            for _ in range(5):
                await asyncio.sleep(0)
            assert not task.done()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert catalogue.find(MAIL) == stored()


async def test_a_cancelled_waiter_of_a_change_that_fails_is_just_cancelled(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        async with writer_held(catalogue):
            task = asyncio.create_task(catalogue.forget(MAIL, 1))
            await asyncio.sleep(0)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_closing_commits_what_is_waiting(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        async with writer_held(catalogue):
            tasks = [asyncio.create_task(catalogue.publish(stored(name))) for name in names(20)]
            await asyncio.sleep(0)
            closing = asyncio.create_task(catalogue.close())
            await asyncio.sleep(0)
            late = asyncio.create_task(catalogue.publish(stored()))
        await asyncio.gather(*tasks, closing)
        with pytest.raises(DiskUnavailable, match="closed"):
            await late
    async with sqlite_catalogue(tmp_path) as catalogue:
        assert catalogue.totals().objects == 20


async def test_closing_leaves_no_log_beside_the_database(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(stored())
    assert [path.name for path in catalogue_file(tmp_path).parent.iterdir()] == ["catalogue.sqlite"]


async def test_a_full_disk_is_out_of_space_and_the_catalogue_goes_on(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(stored())
        await catalogue._database.change(lambda connection: _limit_pages(connection, 1))
        tasks = [asyncio.create_task(catalogue.publish(stored(name))) for name in names(2000)]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert OutOfSpace in {type(result) for result in results} <= {OutOfSpace, type(None)}
        assert catalogue.totals().objects == 1 + results.count(None)
        await catalogue._database.change(lambda connection: _limit_pages(connection, 2**30))
        await catalogue.publish(stored(OTHER))
        assert catalogue.find(MAIL) is not None
        assert await catalogue.check() == []


def _limit_pages(connection: sqlite3.Connection, pages: int) -> None:
    connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()


def _disk_full(connection: sqlite3.Connection) -> None:
    """SQLite's own answer to ENOSPC in the middle of a statement: it may give up the whole transaction."""
    connection.execute("ROLLBACK")
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    raise error


async def test_when_the_transaction_is_lost_every_change_of_it_has_failed(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        async with writer_held(catalogue):
            first = asyncio.create_task(catalogue.publish(stored()))
            await asyncio.sleep(0)
            lost = catalogue._database.writer.post(_disk_full)
            last = asyncio.create_task(catalogue.publish(stored(OTHER)))
        results = await asyncio.gather(first, asyncio.wrap_future(lost), last, return_exceptions=True)
        assert [type(result) for result in results] == [OutOfSpace] * 3
        assert catalogue.totals().objects == 0
        await catalogue.publish(stored())


async def test_a_closed_catalogue_leaves_no_thread_and_no_descriptor(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.page(ListRequest("mail"))
    await asyncio.get_running_loop().shutdown_default_executor()
    assert [thread.name for thread in threading.enumerate() if "catalogue" in thread.name] == []
    held = [os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    assert [target for target in held if "catalogue.sqlite" in target] == []


async def test_a_foreign_writer_only_delays_a_change(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        foreign = sqlite3.connect(catalogue_file(tmp_path), isolation_level=None)
        foreign.execute("BEGIN IMMEDIATE")
        task = asyncio.create_task(catalogue.publish(stored()))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not task.done()
        assert catalogue.find(MAIL) is None
        foreign.execute("COMMIT")
        foreign.close()
        await task
        assert catalogue.find(MAIL) == stored()


async def test_a_foreign_writer_that_does_not_end_fails_the_change(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue._database.change(lambda connection: connection.execute("PRAGMA busy_timeout = 20").fetchall())
        foreign = sqlite3.connect(catalogue_file(tmp_path), isolation_level=None)
        foreign.execute("BEGIN IMMEDIATE")
        with pytest.raises(DiskUnavailable) as refused:
            await catalogue.publish(stored())
        assert "write lock" in refused.value.hint
        foreign.close()
        await catalogue.publish(stored())


async def test_the_connection_is_durable(tmp_path: Path) -> None:
    def pragma(connection: sqlite3.Connection, name: str) -> object:
        return connection.execute(f"PRAGMA {name}").fetchall()[0][0]

    async with sqlite_catalogue(tmp_path) as catalogue:
        change = catalogue._database.change
        assert await change(lambda connection: pragma(connection, "journal_mode")) == "wal"
        assert await change(lambda connection: pragma(connection, "synchronous")) == 2
        assert await change(lambda connection: pragma(connection, "busy_timeout")) == 5000
        assert await change(lambda connection: pragma(connection, "foreign_keys")) == 1


WRITE_UNTIL_KILLED = """
import asyncio, sys
from dataclasses import replace
from pathlib import Path
from tierproxy.model import ListRequest, ObjectName
from tierproxy.testing.contracts.catalogue_rows import dirty, put, sqlite_catalogue

async def write(catalogue, worker):
    for number in range(100_000):
        name = ObjectName("mail", f"{worker}/{number}")
        generation = catalogue.next_generation()
        await catalogue.publish(dirty(name, generation), job=put(name, generation))
        print(name.key, generation, flush=True)

async def main():
    async with sqlite_catalogue(Path(sys.argv[1]), generation_block=50) as catalogue:
        await asyncio.gather(*(write(catalogue, worker) for worker in range(8)))

asyncio.run(main())
"""


async def test_everything_awaited_survives_a_kill(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITE_UNTIL_KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(300)]
        os.kill(child.pid, signal.SIGKILL)
        lines += child.stdout.read().splitlines(keepends=True)
    told = dict(line.split() for line in lines if line.endswith("\n"))
    assert len(told) >= 300
    async with sqlite_catalogue(tmp_path) as catalogue:
        found = {key: catalogue.find(ObjectName("mail", key)) for key in told}
        assert {key: str(row and row.generation) for key, row in found.items()} == told
        assert catalogue.next_generation() > max(map(int, told.values()))
        assert await catalogue.check() == []


async def test_an_unreadable_database_is_disk_unavailable(tmp_path: Path) -> None:
    file = catalogue_file(tmp_path)
    file.parent.mkdir()
    file.write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(DiskUnavailable) as refused:
        async with sqlite_catalogue(tmp_path):
            pass
    assert "catalogue rebuild" in refused.value.hint


async def test_look_ups_of_a_closed_catalogue_are_disk_unavailable(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(entry())
    with pytest.raises(DiskUnavailable):
        catalogue.find(MAIL)
