"""The crash kit forgets what a power failure forgets, and nothing else."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tierproxy.disk.fsio import Files
from tierproxy.errors import DiskUnavailable, OutOfSpace
from tierproxy.testing.crash import CrashFiles, FaultyFiles, SimulatedCrash


def write(files: Files, path: Path, content: bytes, *, sync: bool = True) -> None:
    fd = files.create(path)
    try:
        files.write_at(fd, content, 0)
        if sync:
            files.fsync(fd)
    finally:
        os.close(fd)


def tree(root: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(root)): None if path.is_dir() else path.read_bytes() for path in root.rglob("*")}


def test_a_synced_file_with_a_synced_name_stays(tmp_path: Path) -> None:
    files = CrashFiles()
    write(files, tmp_path / "a", b"content")
    files.fsync_dir(tmp_path)
    files.power_cut(tmp_path)
    assert tree(tmp_path) == {"a": b"content"}


def test_a_name_without_a_directory_fsync_vanishes(tmp_path: Path) -> None:
    files = CrashFiles()
    write(files, tmp_path / "a", b"content")
    files.power_cut(tmp_path)
    assert tree(tmp_path) == {}


def test_content_without_an_fsync_is_cut_or_zeroed(tmp_path: Path) -> None:
    outcomes = set()
    for seed in range(40):
        root = tmp_path / str(seed)
        root.mkdir()
        files = CrashFiles()
        write(files, root / "a", b"content", sync=False)
        files.fsync_dir(root)
        files.power_cut(root, seed)
        outcomes.add((root / "a").read_bytes())
    assert bytes(7) in outcomes
    assert b"" in outcomes
    assert any(len(outcome) == 7 and outcome[:1] == b"c" for outcome in outcomes)


def test_content_written_after_the_last_fsync_may_be_the_old(tmp_path: Path) -> None:
    files = CrashFiles()
    fd = files.create(tmp_path / "a")
    files.write_at(fd, b"old", 0)
    files.fsync(fd)
    files.fsync_dir(tmp_path)
    files.write_at(fd, b"newer", 0)
    os.close(fd)
    files.power_cut(tmp_path, 1)
    assert tree(tmp_path)["a"] in {b"old", b"", b"n" + bytes(4), b"newer"[:3]} | {
        b"newer"[:cut] + bytes(pad) for cut in range(6) for pad in (0, 5 - cut)
    }


def test_an_unsynced_unlink_brings_the_file_back(tmp_path: Path) -> None:
    (tmp_path / "before").write_bytes(b"was here")
    files = CrashFiles()
    write(files, tmp_path / "a", b"content")
    files.fsync_dir(tmp_path)
    files.unlink(tmp_path / "a")
    files.unlink(tmp_path / "before")
    files.power_cut(tmp_path)
    assert tree(tmp_path) == {"a": b"content", "before": b"was here"}


def test_a_synced_unlink_is_for_good(tmp_path: Path) -> None:
    files = CrashFiles()
    write(files, tmp_path / "a", b"content")
    files.fsync_dir(tmp_path)
    files.unlink(tmp_path / "a")
    files.fsync_dir(tmp_path)
    files.power_cut(tmp_path)
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("old_is_durable", [True, False])
def test_an_unsynced_rename_leaves_the_old_name_if_that_was_durable(tmp_path: Path, old_is_durable: bool) -> None:
    for name in ("from", "to"):
        (tmp_path / name).mkdir()
    files = CrashFiles()
    write(files, tmp_path / "from/a", b"content")
    if old_is_durable:
        files.fsync_dir(tmp_path / "from")
    files.rename(tmp_path / "from/a", tmp_path / "to/b")
    files.power_cut(tmp_path)
    there: dict[str, bytes | None] = {"from/a": b"content"} if old_is_durable else {}
    assert tree(tmp_path) == {"from": None, "to": None} | there


def test_a_rename_with_a_synced_target_directory_holds(tmp_path: Path) -> None:
    for name in ("from", "to"):
        (tmp_path / name).mkdir()
    files = CrashFiles()
    write(files, tmp_path / "from/a", b"content")
    files.rename(tmp_path / "from/a", tmp_path / "to/b")
    files.fsync_dir(tmp_path / "to")
    files.power_cut(tmp_path)
    assert tree(tmp_path) == {"from": None, "to": None, "to/b": b"content"}


def test_a_directory_without_its_name_takes_everything_in_it_along(tmp_path: Path) -> None:
    files = CrashFiles()
    files.mkdir(tmp_path / "new")
    files.mkdir(tmp_path / "new/deep")
    write(files, tmp_path / "new/deep/a", b"content")
    files.fsync_dir(tmp_path / "new/deep")
    files.fsync_dir(tmp_path / "new")
    files.power_cut(tmp_path)
    assert tree(tmp_path) == {}


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "catalogue").write_bytes(b"1")
    files = CrashFiles()
    write(files, tmp_path / "a", b"content")
    (tmp_path / "catalogue").write_bytes(b"2")
    (tmp_path / "catalogue-wal").write_bytes(b"3")
    files.power_cut(tmp_path)
    assert tree(tmp_path) == {"catalogue": b"2", "catalogue-wal": b"3"}


def test_what_is_not_durable_may_survive_all_the_same(tmp_path: Path) -> None:
    outcomes = set()
    for seed in range(20):
        root = tmp_path / str(seed)
        root.mkdir()
        files = CrashFiles()
        write(files, root / "a", b"content")
        files.power_cut(root, seed, keep=0.5)
        outcomes.add(str(tree(root)))
    assert outcomes == {"{}", "{'a': b'content'}"}


def test_a_machine_that_is_off_does_nothing(tmp_path: Path) -> None:
    files = CrashFiles(2)
    fd = files.create(tmp_path / "a")
    with pytest.raises(SimulatedCrash):
        files.write_at(fd, b"content", 0)
    os.close(fd)
    with pytest.raises(SimulatedCrash):
        files.unlink(tmp_path / "a")
    assert tree(tmp_path) == {"a": b""}  # as kill -9 leaves it
    assert files.kinds == ["create", "write_at"]


def test_a_torn_write_leaves_half(tmp_path: Path) -> None:
    files = CrashFiles(2, torn=True)
    fd = files.create(tmp_path / "a")
    with pytest.raises(SimulatedCrash):
        files.write_at(fd, b"12345678", 0)
    os.close(fd)
    assert tree(tmp_path) == {"a": b"1234"}


def test_the_nth_call_of_a_kind_fails(tmp_path: Path) -> None:
    files = FaultyFiles("create", errno.ENOSPC, nth=2)
    write(files, tmp_path / "a", b"1")
    with pytest.raises(OutOfSpace):
        files.create(tmp_path / "b")
    write(files, tmp_path / "b", b"2")
    assert files.calls["create"] == 3


def test_a_lasting_fault_lasts(tmp_path: Path) -> None:
    files = FaultyFiles(code=errno.EROFS, nth=2, lasting=True)
    files.mkdir(tmp_path / "a")
    for _ in range(2):
        with pytest.raises(DiskUnavailable):
            files.mkdir(tmp_path / "b")
