"""A catalogue that cannot write: nothing is acknowledged, nothing leaks, and rows never lie about alt."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.errors import DiskError, DiskUnavailable, NoSuchKey, OutOfSpace
from tierproxy.model import Ack, State
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.faulty_catalogue import FaultyCatalogue
from tierproxy.testing.rig import Rig, rig
from tierproxy.wiring import Doors

from .test_trouble_disk import BODIES, NO_MEMORY, PATIENT, in_alt

# ---------------------------------------------------------------- the catalogue cannot write


@asynccontextmanager
async def with_catalogue(root: Path) -> AsyncIterator[tuple[Rig, FaultyAlt, FaultyCatalogue]]:
    alt, catalogues = FaultyAlt(MemoryAlt()), list[FaultyCatalogue]()

    def wrap(doors: Doors) -> Doors:
        catalogues.append(FaultyCatalogue(doors.catalogue))
        return replace(doors, catalogue=catalogues[0].port)

    async with rig(root, alt=alt, queue=PATIENT, memory=NO_MEMORY, wrap=wrap) as r:
        await r.idle()
        yield r, alt, catalogues[0]


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("ack", list(Ack))
@pytest.mark.parametrize("old", [None, b"old"], ids=["new", "overwrite"])
async def test_a_write_whose_commit_fails_is_not_acknowledged_and_leaks_nothing(
    tmp_path: Path, old: bytes | None, ack: Ack, nth: int
) -> None:
    async with with_catalogue(tmp_path) as (r, alt, catalogue):
        if old is not None:
            await r.put("u.1", old)
            await r.idle()
        catalogue.fail(catalogue.changes + nth, OutOfSpace("database full"))
        try:
            await r.put("u.1", b"new", ack=ack)
            allowed: set[bytes | None] = {b"new"}
        except DiskError:
            allowed = {old, b"new"}
        got: bytes | None = None
        try:
            got = await r.get("u.1")
        except NoSuchKey:
            got = None
        assert got in allowed
        await r.idle()
        await r.check()
        if old is not None and r.row("u.1").state is State.CLEAN:  # type: ignore[union-attr]
            assert in_alt(alt, "u.1") == got


@BODIES
async def test_a_fill_whose_commit_fails_leaks_nothing(tmp_path: Path, body: bytes) -> None:
    async with with_catalogue(tmp_path) as (r, _alt, catalogue):
        await r.put("u.1", body)
        await r.purge()
        catalogue.fail(catalogue.changes + 1, OutOfSpace("database full"))
        assert await r.get("u.1") == body
        await r.idle()
        assert r.parts.space.used == 0
        assert await r.get("u.1") == body


async def test_a_delete_whose_tombstone_fails_changes_nothing(tmp_path: Path) -> None:
    async with with_catalogue(tmp_path) as (r, alt, catalogue):
        await r.put("u.1", b"a mail")
        await r.idle()
        catalogue.fail(catalogue.changes + 1, DiskUnavailable("database"))
        with pytest.raises(DiskUnavailable):
            await r.delete("u.1")
        assert await r.get("u.1") == b"a mail"
        assert in_alt(alt, "u.1") == b"a mail"
