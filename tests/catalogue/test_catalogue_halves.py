"""Changes of many rows happen whole or not at all; a shadow that is cut off while it is copied is none."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from tierproxy.catalogue import SqliteCatalogue, shadow
from tierproxy.errors import OutOfSpace
from tierproxy.model import ObjectName
from tierproxy.purges import Booking, PurgeRun, RunKind, RunState
from tierproxy.testing.contracts.catalogue_rows import MAIL, OTHER, counted, drop, entry, read, sqlite_catalogue, stored
from tierproxy.testing.crash import SimulatedCrash
from tierproxy.testing.faulty_catalogue import FaultyCatalogue
from tierproxy.traffic import Correction, Regret


def broken(table: str, when: str) -> str:
    """A trigger that fails the statement that reaches it."""
    return f"CREATE TRIGGER broken BEFORE {when} ON {table} BEGIN SELECT raise(ABORT, 'planned'); END"


async def execute(catalogue: SqliteCatalogue, sql: str) -> None:
    await catalogue._database.change(lambda connection: connection.execute(sql).rowcount)


def everything(catalogue: SqliteCatalogue) -> list[list[object]]:
    tables = ("entry", "read_day", "rollup", "rule_day", "purge_run", "purge_run_rule", "eviction", "shadow", "total")
    return [list(catalogue._database.reads.rows(f"SELECT * FROM {table}")) for table in tables]


@pytest.mark.parametrize("table", ["read_day", "rollup", "rule_day"])
async def test_a_flush_that_fails_half_way_counts_nothing(table: str, tmp_path: Path) -> None:
    regret = Regret(MAIL, "rule:old", 5.0, 1.0)
    flush = counted(
        read(), read(OTHER), corrections=(Correction(MAIL, 2000.0),), regrets=(regret,), increments={"a": 1}
    )
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(stored())
        await catalogue.publish(stored(OTHER))
        before = everything(catalogue)
        await execute(catalogue, broken(table, "INSERT"))
        with pytest.raises(Exception, match="planned"):
            await catalogue.count(flush)
        assert everything(catalogue) == before
        await execute(catalogue, "DROP TRIGGER broken")
        await catalogue.count(flush)
        assert everything(catalogue) != before
        assert await catalogue.check() == []


@pytest.mark.parametrize(("table", "when"), [("rule_day", "INSERT"), ("purge_run", "UPDATE"), ("total", "UPDATE")])
async def test_a_batch_that_fails_half_way_purges_nothing(table: str, when: str, tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(stored())
        await catalogue.publish(stored(OTHER))
        run = await catalogue.add_run(PurgeRun(0, RunKind.RULES, RunState.RUNNING, 1.0))
        before = everything(catalogue)
        await execute(catalogue, broken(table, when))
        drops, booking = [drop(stored()), drop(stored(OTHER))], Booking(run.number, OTHER)
        with pytest.raises(Exception, match="planned"):
            await catalogue.drop_blobs(drops, at=9.0, booking=booking)
        assert everything(catalogue) == before
        await execute(catalogue, "DROP TRIGGER broken")
        assert await catalogue.drop_blobs(drops, at=9.0, booking=booking) == [True, True]
        assert await catalogue.check() == []


async def test_a_flush_onto_a_full_disk_counts_nothing(tmp_path: Path) -> None:
    names = [ObjectName("mail", f"key-{number}") for number in range(2000)]
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.insert_listed([entry(name, headers=None) for name in names])
        before = everything(catalogue)
        await catalogue._database.change(lambda connection: limit_pages(connection, 1))
        with pytest.raises(OutOfSpace):
            await catalogue.count(counted(*(read(name) for name in names)))
        assert everything(catalogue) == before
        await catalogue._database.change(lambda connection: limit_pages(connection, 2**30))
        await catalogue.count(counted(read(names[0])))


def limit_pages(connection: sqlite3.Connection, pages: int) -> None:
    connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()


@pytest.mark.parametrize("durable", [False, True])
async def test_a_crash_loses_a_flush_or_keeps_it_whole(durable: bool, tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(stored())
        faulty = FaultyCatalogue(catalogue)
        (faulty.crash_after if durable else faulty.crash_before)(1)
        with pytest.raises(SimulatedCrash):
            await faulty.port.count(counted(read(), increments={"a": 1}))
    async with sqlite_catalogue(tmp_path) as catalogue:
        found = catalogue.standing(MAIL)
        assert found is not None
        assert (found.entry.reads, len(found.days), len(await catalogue.rollups(60, 0, 1e9))) == (durable,) * 3


# ------------------------------------------------------------ the shadow


async def test_changes_go_on_while_a_shadow_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [ObjectName("mail", f"key-{number:02}") for number in range(20)]
    monkeypatch.setattr(shadow, "COPIED", 3)
    async with sqlite_catalogue(tmp_path) as catalogue:
        for name in names:
            await catalogue.publish(stored(name))
        before = catalogue.commits
        begun = asyncio.create_task(catalogue.begin_shadow(1500.0))
        while catalogue.commits < before + 5:
            await asyncio.sleep(0)
        await catalogue.publish(stored(names[0], 2, etag="new", blob_bytes=8192))
        await catalogue.publish(stored(names[-1], 2, etag="new", blob_bytes=8192))
        await catalogue.forget(names[1], 1)
        await begun
        found = await catalogue.shadow()
        assert found is not None
        assert (found.shadow_objects, found.shadow_bytes) == (found.live_objects, found.live_bytes)
        assert (found.live_objects, found.live_bytes) == (19, 17 * 4096 + 2 * 8192)
        assert await catalogue.check() == []


async def test_a_shadow_that_is_cut_off_while_it_is_copied_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(stored())
        monkeypatch.setattr(shadow, "COPY", "crash")
        with pytest.raises(Exception, match="crash"):
            await catalogue.begin_shadow(1500.0)
        monkeypatch.undo()
        assert await catalogue.shadow() is None
        await catalogue.publish(stored(OTHER))
        await catalogue.count(counted(read()))
        assert await catalogue.check() == []
    async with sqlite_catalogue(tmp_path) as catalogue:
        assert await catalogue.shadow() is None
        await catalogue.begin_shadow(1600.0)
        found = await catalogue.shadow()
        assert found is not None
        assert found.shadow_objects == 2


async def test_a_shadow_outlives_a_restart(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(stored())
        await catalogue.begin_shadow(1500.0)
        await catalogue.shadow_drop([drop(stored())], at=1600.0)
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.count(counted(read(at=1700.0)))
        found = await catalogue.shadow()
        assert found is not None
        assert (found.since, found.shadow_misses) == (1500.0, 1)


async def test_a_fill_leaves_what_the_shadow_has_as_old_as_it_is(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(stored(stored_at=1000.0))
        await catalogue.begin_shadow(1500.0)
        await catalogue.drop_blobs([drop(stored())], at=1600.0)
        await catalogue.fill(stored(blob="again", stored_at=1700.0), expected=1)
        assert catalogue._database.reads.rows("SELECT stored_at, purged_at FROM shadow") == [(1000.0, None)]
