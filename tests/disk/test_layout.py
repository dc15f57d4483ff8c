"""The data directory, its names and its lock."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tierproxy.disk.fsio import Files
from tierproxy.disk.layout import DataDirectory, FanOut, new_name
from tierproxy.disk.lock import DataLock
from tierproxy.errors import ConfigError
from tierproxy.testing.crash import FaultyFiles

ZEROS = bytes(10)


def test_a_name_is_milliseconds_and_chance() -> None:
    assert new_name(1_700_000_000.5, lambda count: b"\xab" * count) == "018bcfe569f4" + "ab" * 10


def test_names_sort_by_time() -> None:
    names = [new_name(second / 7, os.urandom) for second in range(1, 10**10, 10**8)]
    assert names == sorted(names)


def test_blobs_of_one_minute_share_a_directory(tmp_path: Path) -> None:
    paths = DataDirectory(tmp_path)
    start = (0x018B_CFE5 << 16) / 1000
    directories = [paths.blob(new_name(start + second, lambda _: ZEROS)).parent for second in (0, 30, 65.5, 65.6)]
    assert directories[0] == directories[1] == directories[2] == tmp_path / "blobs/cf/e5"
    assert directories[3] == tmp_path / "blobs/cf/e6"


def test_a_new_directory_is_fsynced_into_its_parent_once(tmp_path: Path) -> None:
    files = FaultyFiles()
    paths = DataDirectory(tmp_path / "a/b")
    paths.make(files)
    assert (files.calls["mkdir"], files.calls["fsync_dir"]) == (7, 3)
    fan_out = FanOut(paths.blobs, files)
    before = files.calls["fsync_dir"]
    for _ in range(3):
        fan_out.ensure(paths.blobs / "cf/e5")
    fan_out.ensure(paths.blobs / "cf/e6")
    assert files.calls["fsync_dir"] - before == 3


def test_one_process_owns_a_data_directory(tmp_path: Path) -> None:
    lock = DataLock.take(tmp_path / "data", Files())
    code = (
        "import sys; from pathlib import Path; from tierproxy.disk.lock import DataLock\n"
        "from tierproxy.disk.fsio import Files; from tierproxy.errors import ConfigError\n"
        "try: DataLock.take(Path(sys.argv[1]), Files()).release()\n"
        "except ConfigError as error: print(error.hint)"
    )
    second = [sys.executable, "-c", code, str(tmp_path / "data")]
    assert f"process {os.getpid()}," in subprocess.run(second, capture_output=True, text=True, check=True).stdout
    lock.release()
    lock.release()
    assert subprocess.run(second, capture_output=True, text=True, check=True).stdout == ""


def test_a_lock_that_is_taken_says_so_and_leaks_nothing(tmp_path: Path) -> None:
    lock = DataLock.take(tmp_path, Files())
    before = os.listdir("/proc/self/fd")
    with pytest.raises(ConfigError, match="in use"):
        DataLock.take(tmp_path, Files())
    assert os.listdir("/proc/self/fd") == before
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    lock.release()


def test_a_data_directory_that_cannot_be_made_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be used"):
        DataLock.take(tmp_path / "file" / "data", Files())
