"""Room kept back for the catalogue (decision 36): the file, and the writer that lives on it."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.catalogue.test_catalogue_writer import names, writer_held
from tierproxy.catalogue import CatalogueReserve, SqliteCatalogue
from tierproxy.catalogue.connection import LOG_PAGES
from tierproxy.catalogue.reserve import SLICES, ample
from tierproxy.catalogue.writer import FEW_PAGES
from tierproxy.disk.fsio import Files
from tierproxy.errors import DiskUnavailable, OutOfSpace, StaleGeneration
from tierproxy.testing.contracts.catalogue_rows import MAIL, sqlite_catalogue, stored
from tierproxy.testing.crash import CrashFiles, FaultyFiles, SimulatedCrash

MIB = 2**20
SIZE = 2 * MIB
SLICE = SIZE // SLICES


class Full(Files):
    """``code`` is what the kernel says of the next calls that take room."""

    def __init__(self) -> None:
        self.code = 0

    def call(self, kind: str, function: Callable[..., Any], *args: Any) -> Any:
        if self.code and kind == "allocate":
            raise OSError(self.code, os.strerror(self.code))
        return super().call(kind, function, *args)


def opened(data: Path, files: Files | None = None, size: int | None = SIZE) -> CatalogueReserve:
    (data / "catalogue").mkdir(exist_ok=True)
    reserve = CatalogueReserve(data, files or Files(), size)
    reserve.open()
    return reserve


def file_of(data: Path) -> Path:
    return data / "catalogue/reserve"


def no_room() -> sqlite3.Error:
    return failed(sqlite3.SQLITE_FULL)


def failed(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("as SQLite says")
    error.sqlite_errorcode = code
    return error


# ---------------------------------------------------------------- the file


def test_its_size_suits_the_file_system() -> None:
    assert ample(10**12) == 32 * MIB
    assert ample(10**9) == 10**9 // 100 // (SLICES * 4096) * (SLICES * 4096)
    assert ample(64 * MIB) == 4 * MIB
    assert ample(16 * MIB) == 2 * MIB
    assert ample(0) == 0


def test_it_is_really_there_and_its_owners_alone(tmp_path: Path) -> None:
    reserve = opened(tmp_path)
    found = file_of(tmp_path).stat()
    assert found.st_size == found.st_blocks * 512 == SIZE == reserve.left == reserve.size
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert not reserve.short
    assert not reserve.low
    assert reserve.shared
    reserve.close()


def test_it_is_let_go_by_slices_and_taken_back(tmp_path: Path) -> None:
    reserve, told = opened(tmp_path), list[int]()
    reserve.on_given = lambda: told.append(reserve.left)
    for given in range(1, SLICES + 1):
        assert reserve.relieves(no_room())
        assert file_of(tmp_path).stat().st_size == reserve.left == SIZE - given * SLICE
        assert reserve.short
        assert reserve.low is (reserve.left <= SIZE // 4)
    assert not reserve.relieves(no_room())
    assert told == [SIZE - given * SLICE for given in range(1, SLICES + 1)]
    assert reserve.regain()
    assert not reserve.short
    assert not reserve.low
    assert file_of(tmp_path).stat().st_blocks * 512 == SIZE
    reserve.close()


def test_what_was_let_go_is_short_at_the_next_start_until_there_is_room(tmp_path: Path) -> None:
    reserve, files = opened(tmp_path), Full()
    assert reserve.relieves(no_room())
    reserve.close()
    files.code = errno.EDQUOT
    reserve = opened(tmp_path, files, SIZE * 2)  # an earlier version's, say: it may have been smaller
    assert reserve.short
    assert not reserve.relieves(no_room()) or reserve.left < SIZE
    files.code = 0
    assert reserve.regain()
    assert reserve.left == 2 * SIZE
    reserve.close()


def test_a_longer_file_is_cut(tmp_path: Path) -> None:
    """A crash between the trial of room and its end; or it was made on a larger file system."""
    opened(tmp_path).close()
    os.truncate(file_of(tmp_path), SIZE * 3)
    reserve = opened(tmp_path)
    assert file_of(tmp_path).stat().st_size == reserve.left == SIZE
    reserve.close()


def test_a_copy_with_holes_is_not_taken_for_room(tmp_path: Path) -> None:
    (tmp_path / "catalogue").mkdir()
    with file_of(tmp_path).open("wb") as file:
        file.truncate(SIZE)
    files = Full()
    files.code = errno.ENOSPC
    reserve = opened(tmp_path, files)
    assert reserve.left == 0
    assert reserve.short
    assert not reserve.low  # the file system has room, whatever it says of this
    reserve.close()


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EIO, errno.EROFS])
def test_a_file_system_that_cannot_allocate_has_no_reserve_and_is_never_short(tmp_path: Path, code: int) -> None:
    files = Full()
    files.code = code
    reserve = opened(tmp_path, files)
    assert (reserve.size, reserve.short, reserve.low) == (0, False, False)
    assert not reserve.relieves(no_room())
    reserve.close()


def test_what_an_io_error_means_is_found_out_by_trying(tmp_path: Path) -> None:
    files = Full()
    reserve = opened(tmp_path, files)
    for code in (sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_CANTOPEN):
        for said, lacking in ((0, False), (errno.EIO, False), (errno.ENOSPC, True), (errno.EDQUOT, True)):
            files.code = said
            assert reserve.lacking(failed(code)) is lacking
            assert file_of(tmp_path).stat().st_size == reserve.left == SIZE
    for other in (failed(sqlite3.SQLITE_CORRUPT), failed(sqlite3.SQLITE_BUSY), ValueError("no"), OutOfSpace("no")):
        assert not reserve.lacking(other)
    reserve.close()


@pytest.mark.parametrize("kind", ["truncate", "fsync"])
def test_a_disk_that_does_not_even_take_room_back_is_no_relief(tmp_path: Path, kind: str) -> None:
    opened(tmp_path).close()
    files = FaultyFiles(kind, errno.EIO, lasting=True)
    reserve = opened(tmp_path, files)
    assert not reserve.relieves(no_room())
    reserve.close()


@pytest.mark.parametrize("power", [False, True], ids=["killed", "power cut"])
def test_a_crash_at_any_step_leaves_a_file_whose_length_is_true(tmp_path: Path, power: bool) -> None:
    crash_at, over = 1, False
    while not over:
        data = tmp_path / str(crash_at)
        data.mkdir()
        files = CrashFiles(crash_at)
        reserve = CatalogueReserve(data, files, SIZE)
        with suppress(SimulatedCrash):
            files.mkdir(data / "catalogue")
            reserve.open()
            for _ in range(3):
                reserve.relieves(no_room())
            reserve.regain()
            over = True
        reserve.close()
        if power:
            files.power_cut(data, seed=crash_at, keep=0.5)
        length = file_of(data).stat().st_size if file_of(data).exists() else 0
        assert length <= SIZE + SIZE // 4
        again = opened(data)
        assert again.left == file_of(data).stat().st_size == SIZE
        again.close()
        crash_at += 1
    assert crash_at > 10


# ---------------------------------------------------------------- the writer


class Cramped:
    """A catalogue that may have as many pages more as ``room`` says; each slice let go is room for ``slice`` more."""

    def __init__(self, catalogue: SqliteCatalogue, reserve: CatalogueReserve, room: int, slice: int) -> None:  # noqa: A002
        self.connection = catalogue._database.writer._connection
        self.pages = self.count() + room
        self.slice = slice
        self.limit()
        reserve.on_given = self.more

    def count(self) -> int:
        return int(self.connection.execute("PRAGMA page_count").fetchone()[0])

    def limit(self) -> None:
        self.connection.execute(f"PRAGMA max_page_count = {self.pages}").fetchall()

    def more(self) -> None:
        self.pages += self.slice
        self.limit()

    def checkpointed(self) -> int:
        return int(self.connection.execute("PRAGMA wal_autocheckpoint").fetchone()[0])


@asynccontextmanager
async def catalogue_on(
    data: Path, files: Files | None = None
) -> AsyncIterator[tuple[SqliteCatalogue, CatalogueReserve]]:  # fmt: skip
    reserve = opened(data, files)
    try:
        async with sqlite_catalogue(data, reserve=reserve) as catalogue:
            yield catalogue, reserve
    finally:
        reserve.close()


def rows(count: int) -> list[Any]:
    return [stored(name) for name in names(count)]


@pytest.mark.parametrize("together", [1, 50])
async def test_a_commit_that_finds_no_room_is_made_when_some_was_let_go(tmp_path: Path, together: int) -> None:
    async with catalogue_on(tmp_path) as (catalogue, reserve):
        cramped = Cramped(catalogue, reserve, room=0, slice=4)
        for start in range(0, 100, together):
            async with writer_held(catalogue):
                tasks = [asyncio.create_task(catalogue.publish(row)) for row in rows(100)[start : start + together]]
            await asyncio.gather(*tasks)
        assert catalogue.totals().objects == 100
        assert reserve.short
        assert cramped.checkpointed() == FEW_PAGES
        assert reserve.regain()
        await catalogue.publish(stored(MAIL))
        assert cramped.checkpointed() == LOG_PAGES


async def test_a_change_that_fails_by_itself_fails_also_beside_one_that_finds_no_room(tmp_path: Path) -> None:
    async with catalogue_on(tmp_path) as (catalogue, reserve):
        await catalogue.publish(stored(MAIL, 9))
        Cramped(catalogue, reserve, room=0, slice=8)
        async with writer_held(catalogue):
            wrong = asyncio.create_task(catalogue.suspect(MAIL, 8))
            tasks = [asyncio.create_task(catalogue.publish(row)) for row in rows(60)]
        await asyncio.gather(*tasks)
        with pytest.raises(StaleGeneration):
            await wrong
        assert catalogue.totals().objects == 61
        assert reserve.short


async def test_when_nothing_is_left_the_change_is_refused_and_undone(tmp_path: Path) -> None:
    async with catalogue_on(tmp_path) as (catalogue, reserve):
        cramped = Cramped(catalogue, reserve, room=0, slice=0)
        refused = 0
        for row in rows(100):
            try:
                await catalogue.publish(row)
            except OutOfSpace:
                refused += 1
        assert refused
        assert reserve.left == 0
        assert catalogue.totals().objects == 100 - refused
        cramped.slice = 50
        cramped.more()
        await catalogue.publish(stored(MAIL))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
async def test_an_io_error_that_is_want_of_room_is_one(tmp_path: Path, code: int) -> None:
    files = Full()
    async with catalogue_on(tmp_path, files) as (catalogue, reserve):
        tries = list[int]()

        def quota(_connection: sqlite3.Connection) -> str:
            files.code = code if len(tries) < 2 else 0
            tries.append(reserve.left)
            if files.code:
                raise failed(sqlite3.SQLITE_IOERR_WRITE)
            return "done"

        assert await catalogue._database.change(quota) == "done"
        assert tries == [SIZE, SIZE - SLICE, SIZE - 2 * SLICE]


async def test_an_io_error_that_is_none_lets_nothing_go(tmp_path: Path) -> None:
    async with catalogue_on(tmp_path) as (catalogue, reserve):

        def dying(_connection: sqlite3.Connection) -> None:
            raise failed(sqlite3.SQLITE_IOERR_WRITE)

        with pytest.raises(DiskUnavailable):
            await catalogue._database.change(dying)
        assert reserve.left == SIZE
