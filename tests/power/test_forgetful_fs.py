"""The forgetful file system, really mounted: real system calls, a real SQLite, and what is left of them."""

from __future__ import annotations

import mmap
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.fuse.world import needs_fuse
from tierproxy.testing.children import mounted
from tierproxy.testing.forgetful_disk import DROPPED, KILLED, SECTOR, Cut
from tierproxy.testing.forgetful_fs import CommandFailed, Forgetful, forgetful

pytestmark = needs_fuse


@pytest.fixture(scope="module")
def mounted_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forgetful]:
    with forgetful(tmp_path_factory.mktemp("forgetful")) as fs:
        yield fs
    assert not mounted(fs.point)


@pytest.fixture
def fs(mounted_disk: Forgetful) -> Forgetful:
    mounted_disk.wipe()
    return mounted_disk


def left(fs: Forgetful, room: Path, cut: Cut = DROPPED, at: int | None = None) -> dict[str, bytes]:
    into = room / f"left-{len(list(room.iterdir()))}"
    fs.leave(cut, into, at)
    return {str(path.relative_to(into)): path.read_bytes() for path in sorted(into.rglob("*")) if path.is_file()}


def write(path: Path, data: bytes, *, sync: bool = False, flags: int = 0, offset: int = 0) -> None:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o600)
    try:
        os.pwrite(fd, data, offset)
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def test_programs_see_what_they_wrote_and_a_power_cut_takes_what_was_not_fsynced(fs: Forgetful, tmp_path: Path) -> None:
    (fs.point / "x").mkdir()
    write(fs.point / "x" / "a", b"kept", sync=True)
    write(fs.point / "x" / "b", b"forgotten")
    sync_directory(fs.point / "x")
    sync_directory(fs.point)
    write(fs.point / "c", b"forgotten", sync=True)
    assert (fs.point / "x" / "b").read_bytes() == b"forgotten"
    assert sorted(os.listdir(fs.point)) == ["c", "x"]
    assert left(fs, tmp_path) == {"x/a": b"kept", "x/b": b""}
    assert left(fs, tmp_path, KILLED) == {"c": b"forgotten", "x/a": b"kept", "x/b": b"forgotten"}


def test_each_call_that_changes_something_is_one_operation(fs: Forgetful) -> None:
    write(fs.point / "a", b"1", sync=True)
    os.truncate(fs.point / "a", 0)
    os.rename(fs.point / "a", fs.point / "b")
    (fs.point / "x").mkdir()
    (fs.point / "x").rmdir()
    sync_directory(fs.point)
    (fs.point / "b").read_bytes()
    write(fs.point / "b", b"", flags=os.O_TRUNC)
    os.unlink(fs.point / "b")
    assert fs.kinds() == [
        ("create", "a"), ("write", "a"), ("fsync", "a"), ("truncate", "a"), ("rename", "b"), ("mkdir", "x"),
        ("rmdir", "x"), ("fsync_dir", ""), ("unlink", "b"),
    ]  # fmt: skip
    assert fs.count() == 9


def test_an_fdatasync_makes_content_and_size_durable(fs: Forgetful, tmp_path: Path) -> None:
    write(fs.point / "a", b"1")
    sync_directory(fs.point)
    fd = os.open(fs.point / "a", os.O_WRONLY)
    try:
        os.pwrite(fd, b"23", 1)
        os.fdatasync(fd)
    finally:
        os.close(fd)
    assert left(fs, tmp_path) == {"a": b"123"}


def test_a_write_after_the_fsync_is_torn_and_what_was_before_is_not(fs: Forgetful, tmp_path: Path) -> None:
    write(fs.point / "a", b"0" * 100 * SECTOR, sync=True)
    sync_directory(fs.point)
    write(fs.point / "a", b"1" * 50 * SECTOR, offset=50 * SECTOR)
    found = left(fs, tmp_path, Cut(0.5, SECTOR, seed=3))["a"]
    assert found[: 50 * SECTOR] == b"0" * 50 * SECTOR
    assert set(found[50 * SECTOR :]) == set(b"01")


def test_files_can_be_mapped_and_shared(fs: Forgetful) -> None:
    """SQLite keeps the index of its log so."""
    write(fs.point / "c-shm", bytes(mmap.PAGESIZE))
    fd = os.open(fs.point / "c-shm", os.O_RDWR)
    try:
        with mmap.mmap(fd, mmap.PAGESIZE) as one, mmap.mmap(fd, mmap.PAGESIZE) as other:
            one[:5] = b"hello"
            assert other[:5] == b"hello"
    finally:
        os.close(fd)


STOPS = """
import os, sys
os.mkdir("before")
print("made", flush=True)
sys.stdin.readline()
try:
    os.mkdir("hangs")
except OSError as error:
    print(error.errno, flush=True)
"""


def test_the_machine_stops_at_an_operation_and_whoever_hangs_there_can_be_killed(fs: Forgetful) -> None:
    command = [sys.executable, "-c", STOPS]
    with subprocess.Popen(command, cwd=fs.point, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin
        assert child.stdout
        assert child.stdout.readline() == "made\n"
        sync_directory(fs.point)
        with pytest.raises(CommandFailed):
            fs.stopped(0.01)
        fs.stop(fs.count() + 1)
        child.stdin.write("go\n")
        child.stdin.flush()
        fs.stopped()
        child.send_signal(signal.SIGKILL)
        fs.fail(DROPPED)
        child.stdin.close()
        assert child.wait(60) == -signal.SIGKILL
    assert os.listdir(fs.point) == ["before"]
    (fs.point / "after").mkdir()
    assert fs.kinds() == [("mkdir", "after")]


def database(path: Path, synchronous: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("CREATE TABLE IF NOT EXISTS row (number INTEGER PRIMARY KEY, text TEXT)")
    return connection


def numbers(root: Path) -> list[int]:
    with closing(sqlite3.connect(root / "c")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [number for (number,) in connection.execute("SELECT number FROM row ORDER BY number")]


def committed(fs: Forgetful, synchronous: str) -> list[int]:
    """Twenty commits on a SQLite with a log; how many operations there were after each."""
    sync_directory(fs.point)
    with closing(database(fs.point / "c", synchronous)) as connection:
        fs.settle()
        counts = []
        for number in range(20):
            connection.execute("INSERT INTO row VALUES (?, ?)", (number, "x" * 3000))
            counts.append(fs.count())
        with closing(sqlite3.connect(fs.point / "c")) as reader:
            assert reader.execute("SELECT count(*) FROM row").fetchone() == (20,)
    return counts


def test_what_sqlite_has_committed_in_full_survives_every_cut_after_it(fs: Forgetful, tmp_path: Path) -> None:
    counts = committed(fs, "FULL")
    for number, cut in enumerate([DROPPED, Cut(0.5, SECTOR, seed=1), Cut(0.7, seed=2), Cut(ordered=True, seed=3)]):
        for at in range(0, fs.count(), 7):
            fs.leave(cut, root := tmp_path / f"{number}-{at}", at)
            found = numbers(root)
            assert found == list(range(len(found))), "a later commit without an earlier one"
            assert len(found) >= sum(count <= at for count in counts)


def test_what_sqlite_has_committed_without_fsync_is_lost(fs: Forgetful, tmp_path: Path) -> None:
    counts = committed(fs, "NORMAL")
    fs.leave(DROPPED, tmp_path / "left", counts[-1])
    assert numbers(tmp_path / "left") == []
