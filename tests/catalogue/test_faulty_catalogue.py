"""The fault-injecting catalogue does what its plan says."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from tierproxy.errors import DiskUnavailable
from tierproxy.ports import Catalogue
from tierproxy.testing.contracts.catalogue_rows import MAIL, OTHER, entry, sqlite_catalogue
from tierproxy.testing.crash import SimulatedCrash
from tierproxy.testing.faulty_catalogue import CHANGES, FaultyCatalogue
from tierproxy.traffic import Counts

READS = {
    "page", "dirty_page", "entries_in", "blob_page", "blobs_known", "keys_after", "check", "close",
    "rollups", "records", "shadow", "survey", "decided", "pressed", "ahead", "small_bytes", "stats",
    "gauges",
}  # fmt: skip


def test_every_change_of_the_port_is_counted() -> None:
    methods = {name for name, _ in inspect.getmembers(Catalogue, inspect.iscoroutinefunction)}
    assert methods - READS == CHANGES


async def test_a_planned_error_comes_once_and_nothing_happened(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as inner:
        faulty = FaultyCatalogue(inner)
        faulty.fail(2, DiskUnavailable("planned"))
        await faulty.port.publish(entry())
        with pytest.raises(DiskUnavailable, match="planned"):
            await faulty.port.publish(entry(OTHER))
        assert faulty.port.find(OTHER) is None
        await faulty.port.publish(entry(OTHER))
        assert faulty.history == ["publish"] * 3


async def test_after_a_crash_nothing_works(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as inner:
        faulty = FaultyCatalogue(inner)
        faulty.crash_before(1)
        with pytest.raises(SimulatedCrash):
            await faulty.port.publish(entry())
        with pytest.raises(SimulatedCrash):
            faulty.port.find(MAIL)
        with pytest.raises(SimulatedCrash):
            await faulty.port.count(Counts(1.0))
        with pytest.raises(SimulatedCrash):
            await faulty.port.close()
        assert faulty.crashed
        assert inner.find(MAIL) is None


async def test_a_crash_after_a_change_leaves_it_durable(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as inner:
        faulty = FaultyCatalogue(inner)
        faulty.crash_after(1, SimulatedCrash("mine"))
        with pytest.raises(SimulatedCrash, match="mine"):
            await faulty.port.publish(entry())
        assert inner.find(MAIL) == entry()
