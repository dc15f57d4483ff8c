"""The invariants see what is wrong: each is broken once."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pytest

from tierproxy.catalogue.connection import catalogue_file
from tierproxy.model import Headers, ObjectName, Part, Upload
from tierproxy.offload import ThreadPool
from tierproxy.testing.ground import BUCKET, Ground, ground
from tierproxy.testing.invariants import check_invariants, leaks


@dataclass
class Sums:
    used: int
    reserved: int = 0

    def footprint(self, bucket: str = "") -> int:
        """Of every bucket the same: these tests have one."""
        return self.used


async def _check(found: Ground, sums: Sums | None = None, *, crashed: bool = False) -> None:
    await check_invariants(found.catalogue, found.disk, sums, root=found.root, crashed=crashed)


async def test_a_sound_data_directory_passes(tmp_path: Path) -> None:
    async with ground(tmp_path) as found:
        await found.clean("clean", bytes(700_000))
        await found.dirty("dirty")
        await _check(found, Sums(found.catalogue.totals().blob_bytes))


@pytest.mark.parametrize("damage", ["truncate", "flip", "zero", "vanish"])
@pytest.mark.parametrize("crashed", [False, True])
async def test_a_row_without_its_bytes_is_wrong_even_after_a_crash(tmp_path: Path, damage: str, crashed: bool) -> None:
    async with ground(tmp_path) as found:
        entry = await found.clean("k")
        getattr(found, damage)(entry.blob)
        with pytest.raises(AssertionError, match=f"{BUCKET}/k"):
            await _check(found, crashed=crashed)


async def test_a_file_without_a_row_is_wrong_unless_there_was_a_crash(tmp_path: Path) -> None:
    async with ground(tmp_path) as found:
        await found.blob(found.label("k", b"x"), b"x")
        await found.part()
        await _check(found, crashed=True)
        with pytest.raises(AssertionError, match=r"blob .* has no row"):
            await _check(found)


async def test_a_part_row_without_its_file_is_wrong(tmp_path: Path) -> None:
    async with ground(tmp_path) as found:
        await found.catalogue.add_upload(Upload("u", ObjectName(BUCKET, "k"), Headers(), 0.0))
        await found.catalogue.add_part("u", Part(1, 6, "e", "f" * 32, 0.0))
        with pytest.raises(AssertionError, match=r"part f+ is not on disk"):
            await _check(found, crashed=True)


async def test_a_staged_file_is_wrong(tmp_path: Path) -> None:
    async with ground(tmp_path) as found:
        staged = found.disk.stage()
        await staged.write(bytes(2_000_000))
        with pytest.raises(AssertionError, match="still staged"):
            await _check(found)
        await staged.close()
        await _check(found)


async def test_a_budget_that_does_not_add_up_is_wrong(tmp_path: Path) -> None:
    async with ground(tmp_path) as found:
        entry = await found.clean("k")
        with pytest.raises(AssertionError, match="bytes in use"):
            await _check(found, Sums(entry.blob_bytes - 1))
        with pytest.raises(AssertionError, match="still reserved"):
            await _check(found, Sums(entry.blob_bytes, reserved=1))


async def test_a_dirty_row_without_a_job_is_wrong(tmp_path: Path) -> None:
    async with ground(tmp_path) as found:
        await found.dirty("k")
        outside = sqlite3.connect(catalogue_file(tmp_path))
        outside.execute("DELETE FROM job")
        outside.commit()
        outside.close()
        with pytest.raises(AssertionError, match="catalogue: dirty entry"):
            await _check(found)


async def test_a_row_with_a_wrong_footprint_is_wrong(tmp_path: Path) -> None:
    async with ground(tmp_path) as found:
        await found.clean("k")
        outside = sqlite3.connect(catalogue_file(tmp_path))
        outside.execute("UPDATE entry SET blob_bytes = 8192")
        outside.commit()
        outside.close()
        with pytest.raises(AssertionError, match="occupies 4096 bytes, the row says 8192"):
            await _check(found)


def test_a_descriptor_left_open_is_a_leak(tmp_path: Path) -> None:
    path = tmp_path / "left"
    with pytest.raises(AssertionError, match=r"descriptor of .*left"), leaks():
        fd = os.open(path, os.O_CREAT | os.O_RDONLY)
    os.close(fd)


async def test_a_thread_left_running_is_a_leak() -> None:
    pool = ThreadPool("left", 1)
    with pytest.raises(AssertionError, match="thread tierproxy-left"), leaks():
        await pool.run(int)
    await pool.close()


async def test_a_task_left_running_is_a_leak() -> None:
    with pytest.raises(AssertionError, match="task left"), leaks():
        task = asyncio.create_task(asyncio.sleep(60), name="left")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_a_block_that_fails_by_itself_is_not_blamed_for_leaks() -> None:
    with pytest.raises(ZeroDivisionError), leaks():
        raise ZeroDivisionError
