"""A reader that outlives nodes."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tierproxy.catalogue import catalogue_file
from tierproxy.disk.fsio import Files
from tierproxy.near.beside import NearBeside
from tierproxy.near.versions import VersionTable, withdraw
from tierproxy.ports import Standing
from tierproxy.testing.rig import name, rig


def found(near: NearBeside, key: str) -> Standing:
    standing = near.find(name(key))
    assert standing is not None
    return standing


def kill(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on a table ends as the kernel ends it."""

    def gone(table: VersionTable) -> None:
        if not table._closed:
            table._unmap()

    monkeypatch.setattr(VersionTable, "close", gone)


async def test_no_node_was_ever_there(tmp_path: Path) -> None:
    near = NearBeside(tmp_path / "none")
    assert near.find(name("k")) is None
    assert near.table is None
    near.close()


async def test_what_stood_under_one_node_does_not_under_the_next(tmp_path: Path) -> None:
    near = NearBeside(tmp_path)
    async with rig(tmp_path, shared=True) as node:
        await node.put("k", b"old")
        await node.drained()
        old, alt = found(near, "k"), node.alt
    assert not near.stands(old)
    assert near.find(name("k")) is None
    async with rig(tmp_path, alt=alt, shared=True) as node:
        assert not near.stands(old)
        await node.put("k", b"new")
        assert near.load(found(near, "k")) == b"new"
        assert not near.stands(old)
    near.close()


async def test_while_a_killed_node_is_away_what_it_left_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    near = NearBeside(tmp_path)
    async with rig(tmp_path, shared=True) as node:
        await node.put("k", b"old")
        await node.drained()
        alt = node.alt
        standing = found(near, "k")
        kill(monkeypatch)
    assert near.stands(standing)
    assert near.load(found(near, "k")) == b"old"
    monkeypatch.undo()
    async with rig(tmp_path, alt=alt, shared=True) as node:
        assert not near.stands(standing)
        await node.delete("k")
        assert near.find(name("k")) is None
    near.close()


async def test_a_catalogue_that_was_made_anew_is_opened_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after `tierproxy catalogue rebuild`: the old file still has the old rows, for who has it open."""
    near = NearBeside(tmp_path)
    async with rig(tmp_path, shared=True, check=False) as node:
        await node.put("k", b"old")
        await node.drained()
        alt = node.alt
        found(near, "k")
        kill(monkeypatch)
    monkeypatch.undo()
    withdraw(tmp_path, Files())
    for file in catalogue_file(tmp_path).parent.iterdir():
        file.unlink()
    (tmp_path / "committed").unlink(missing_ok=True)
    for blob in (tmp_path / "blobs").glob("*/*/*"):
        blob.unlink()
    async with rig(tmp_path, alt=alt, shared=True, check=False) as node:
        assert node.row("k") is None
        assert near.find(name("k")) is None
    near.close()


async def test_checkpoints_and_a_new_log_are_no_trouble(tmp_path: Path) -> None:
    near = NearBeside(tmp_path)
    async with rig(tmp_path, shared=True) as node:
        writer = sqlite3.connect(catalogue_file(tmp_path), isolation_level=None)
        for number in range(6):
            await node.put("k", b"%d" % number)
            assert near.load(found(near, "k")) == b"%d" % number
            mode = ("PASSIVE", "RESTART", "TRUNCATE")[number % 3]
            assert writer.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()[0] == 0  # nobody holds it up
            assert near.load(found(near, "k")) == b"%d" % number
        writer.close()
    near.close()


async def test_a_bucket_that_is_not_complete_is_the_nodes_to_answer_for(tmp_path: Path) -> None:
    near = NearBeside(tmp_path)
    async with rig(tmp_path, shared=True) as node:
        await node.put("k", b"old")
        standing = found(near, "k")
        await node.parts.catalogue.complete_bucket("mail", False)
        assert not near.stands(standing)
        assert near.find(name("k")) is None
        await node.parts.catalogue.complete_bucket("mail", True)
        assert near.find(name("k")) is not None
    near.close()


async def test_a_reload_makes_everything_be_asked_again(tmp_path: Path) -> None:
    near = NearBeside(tmp_path)
    async with rig(tmp_path, shared=True) as node:
        await node.put("k", b"old")
        standing = found(near, "k")
        node.node.reload(node.parts.config)
        assert not near.stands(standing)
        await node.idle()
    near.close()


async def test_a_catalogue_that_cannot_be_opened_is_the_nodes_trouble(tmp_path: Path) -> None:
    async with rig(tmp_path, shared=True) as node:
        await node.put("k", b"old")
        hidden = tmp_path / "catalogue" / "elsewhere"
        catalogue_file(tmp_path).rename(hidden)
        near = NearBeside(tmp_path)
        assert near.find(name("k")) is None
        hidden.replace(catalogue_file(tmp_path))
        assert near.find(name("k")) is not None
        near.close()
