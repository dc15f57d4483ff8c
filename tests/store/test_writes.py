"""The way of a write from its last byte to its row: one thread job, one turn of the catalogue, one look back."""

from __future__ import annotations

import errno
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.disk.fsio import Files
from tierproxy.errors import DiskUnavailable
from tierproxy.model import Ack, State, Tier
from tierproxy.testing.crash import FaultyFiles
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.rig import Rig, rig

BODY = b"a mail" * 100


class Watched(Files):
    """Notes which calls were made, and by which thread."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def call(self, kind: str, function: Callable[..., Any], *args: object) -> Any:
        self.calls.append((kind, threading.current_thread().name))
        return super().call(kind, function, *args)


@asynccontextmanager
async def held_back(root: Path, files: Files | None = None) -> AsyncIterator[tuple[Rig, FaultyAlt]]:
    """A node whose alt is down: what is acknowledged by the disk stays there."""
    alt = FaultyAlt(MemoryAlt())
    async with rig(root, alt=alt, files=files) as r:
        await r.put("first", BODY)  # its directory is there
        alt.down()
        yield r, alt
        alt.heal()


async def test_a_small_body_is_named_and_made_durable_by_one_thread(tmp_path: Path) -> None:
    files = Watched()
    async with held_back(tmp_path, files) as (r, _alt):
        files.calls.clear()
        await r.put("u.1", BODY, ack=Ack.DISK)
        made = [kind for kind, thread in files.calls if thread.startswith("tierproxy-blobs")]
        assert made == ["create", "write_at", "rename", "fsync", "fsync_dir"]
        assert len({thread for kind, thread in files.calls if kind in made}) == 1


async def test_the_thread_that_made_a_blob_durable_commits_its_row(tmp_path: Path) -> None:
    seen: list[str] = []
    async with held_back(tmp_path) as (r, _alt):
        writer = r.parts.catalogue._inner._database.writer  # type: ignore[attr-defined]
        commit = writer._commit

        def watched(batch: list[Any]) -> None:
            seen.append(threading.current_thread().name)
            commit(batch)

        writer._commit = watched
        await r.put("u.1", BODY, ack=Ack.DISK)
        assert seen[0].startswith("tierproxy-blobs")


async def test_a_row_waits_for_the_fsyncs_of_its_blob(tmp_path: Path) -> None:
    """Whatever fails on the disk, no row tells of the write, and none of its bytes stays."""
    for kind in ("create", "write_at", "rename", "fsync", "fsync_dir"):
        files = FaultyFiles()
        async with held_back(tmp_path / kind, files) as (r, _alt):
            before = r.parts.space.used
            files.kind, files.code, files.nth = kind, errno.EIO, files.calls[kind] + 1
            with pytest.raises(DiskUnavailable):
                await r.put("u.1", BODY, ack=Ack.DISK)
            await r.idle()
            assert r.row("u.1") is None
            assert (r.parts.space.used, r.parts.space.reserved) == (before, 0)
            await r.put("u.1", BODY, ack=Ack.DISK)
            assert await r.get("u.1") == BODY


@pytest.mark.parametrize("ack", [Ack.DISK, Ack.BOTH])
async def test_a_new_mail_is_in_memory_at_once(tmp_path: Path, ack: Ack) -> None:
    async with rig(tmp_path) as r:
        await r.put("u.1", BODY, ack=ack, remembered=True)
        assert await r.read("u.1") == (Tier.MEMORY, BODY)
        await r.put("u.1", b"another", ack=ack, remembered=True)
        assert await r.read("u.1") == (Tier.MEMORY, b"another")
        await r.delete("u.1")
        assert r.parts.hot.objects == 0


async def test_what_only_alt_has_is_not_in_memory(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.put("u.1", BODY, ack=Ack.ALT, remembered=True)
        assert r.parts.hot.objects == 0


async def test_memory_hears_of_the_upload(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.put("u.1", BODY, ack=Ack.DISK, remembered=True)
        await r.drained()
        reading = await r.parts.store.open(r.row("u.1").name)  # type: ignore[union-attr]
        assert (reading.tier, reading.entry.state, reading.entry.tiers) == (Tier.MEMORY, State.CLEAN, ("disk", "alt"))
        await reading.close()
