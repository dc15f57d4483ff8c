"""Defects that a review of records, the shadow and the migration found, and what it doubted."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tierproxy.catalogue import shadow
from tierproxy.model import ObjectName
from tierproxy.purges import RuleRecord
from tierproxy.testing.contracts.catalogue_counting import stand
from tierproxy.testing.contracts.catalogue_rows import (
    MAIL,
    OTHER,
    counted,
    drop,
    entry,
    machine,
    read,
    sqlite_catalogue,
    stored,
)
from tierproxy.traffic import DAY, Correction, Regret

# ---------------------------------------------------------------- regrets that are taken back


@pytest.mark.parametrize("flushes", [1, 2])
async def test_a_regret_can_become_a_machines(tmp_path: Path, flushes: int) -> None:
    booked = Regret(MAIL, "rule:old", 5.0 * DAY, 3601.0)
    kept = Regret(OTHER, "rule:old", 5.0 * DAY, 10.0)
    corrected = Regret(MAIL, "rule:old", 5.0 * DAY, 3601.0, machine=True, corrected=True)
    async with sqlite_catalogue(tmp_path) as catalogue:
        if flushes == 1:
            await catalogue.count(counted(regrets=(corrected, booked, kept)))
        else:
            await catalogue.count(counted(regrets=(booked, kept)))
            await catalogue.count(counted(regrets=(corrected,)))
        found = RuleRecord("rule:old", regrets=1, machine_regrets=1, seconds=10.0, soon=(1, 0, 0, 0, 0))
        assert await catalogue.records(0) == [found]


async def test_a_correction_of_a_regret_that_was_never_booked_goes_below_nothing(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.count(counted(regrets=(Regret(MAIL, "rule:old", 5.0, 1.0, machine=True, corrected=True),)))
        assert await catalogue.records(0) == []


# ---------------------------------------------------------------- last reads


async def test_two_reads_of_one_flush_are_both_remembered(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(stored())
        await catalogue.count(counted(read(reads=2, at=2500.0, previous_read_at=2400.0)))
        await catalogue.count(counted(corrections=(Correction(MAIL, 2500.0),)))
        assert (stand(catalogue).entry.reads, stand(catalogue).entry.last_read_at) == (1, 2400.0)


async def test_an_earlier_correction_is_not_gone_back_to(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(stored())
        for at in (2000.0, 2500.0):
            await catalogue.count(counted(read(at=at)))
        await catalogue.count(counted(corrections=(Correction(MAIL, 2000.0),)))
        await catalogue.count(counted(corrections=(Correction(MAIL, 2500.0),)))
        assert (stand(catalogue).entry.reads, stand(catalogue).entry.last_read_at) == (0, None)


async def test_a_correction_of_an_earlier_day_takes_nothing_from_a_later_one(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(stored())
        await catalogue.count(counted(read(at=DAY + 1.0)))
        await catalogue.count(counted(corrections=(Correction(MAIL, DAY - 1.0),)))
        assert (stand(catalogue).entry.reads, stand(catalogue).days) == (1, ((1, 1, 0),))
        assert await catalogue.check() == []


async def test_a_miss_is_no_visit_and_its_correction_takes_none(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(stored(stored_at=100.0))
        await catalogue.count(counted(read(reads=2, at=2000.0, misses=1)))
        assert stand(catalogue).visits == 1
        await catalogue.count(counted(corrections=(Correction(MAIL, 1999.0, hit=False),)))
        assert stand(catalogue).visits == 1


async def test_new_content_from_alt_has_not_been_purged(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(stored())
        await catalogue.drop_blobs([drop(stored())], at=1600.0)
        await catalogue.learn(entry(MAIL, 2, etag="other", alt_etag="other"), expected=1)
        row = catalogue.find(MAIL)
        assert row is not None
        assert (row.purged_at, row.purged_by) == (None, None)


# ---------------------------------------------------------------- the shadow


async def test_a_machines_read_brings_nothing_to_the_shadows_disk(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(stored())
        await catalogue.begin_shadow(1500.0)
        await catalogue.shadow_drop([drop(stored())], at=1600.0)
        await catalogue.count(counted(machine(at=1700.0), at=1700.0))
        found = await catalogue.shadow()
        assert found is not None
        assert (found.shadow_objects, found.shadow_misses) == (0, 1)
        await catalogue.count(counted(read(at=1800.0), at=1800.0))
        found = await catalogue.shadow()
        assert found is not None
        assert (found.shadow_objects, found.shadow_misses) == (1, 2)
        assert (found.shadow["rule:old"].regrets, found.shadow["rule:old"].machine_regrets) == (1, 1)


async def test_a_read_before_the_shadows_purge_that_is_booked_after_it_is_no_miss(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(stored())
        await catalogue.begin_shadow(1500.0)
        await catalogue.shadow_drop([drop(stored())], at=1600.5)
        await catalogue.count(counted(read(at=1600.2), at=1601.0))
        found = await catalogue.shadow()
        assert found is not None
        assert (found.reads, found.shadow_misses, found.shadow_objects) == (1, 0, 0)


async def test_reads_on_both_sides_of_midnight_are_one_miss_of_the_shadow(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(stored())
        await catalogue.begin_shadow(1500.0)
        await catalogue.shadow_drop([drop(stored())], at=1600.0)
        await catalogue.count(counted(read(at=DAY - 0.1), read(at=DAY + 0.1), at=DAY + 0.2))
        found = await catalogue.shadow()
        assert found is not None
        assert (found.reads, found.shadow_misses) == (2, 1)


async def test_a_regret_that_is_taken_back_is_no_second_miss(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(stored())
        await catalogue.begin_shadow(1500.0)
        await catalogue.drop_blobs([drop(stored())], at=1600.0)
        await catalogue.count(counted(read(at=1700.0), regrets=(Regret(MAIL, "rule:old", 1700.0, 100.0),)))
        back = Regret(MAIL, "rule:old", 1700.0, 100.0, machine=True, corrected=True)
        await catalogue.count(counted(corrections=(Correction(MAIL, 1700.0, hit=False),), regrets=(back,)))
        found = await catalogue.shadow()
        assert found is not None
        assert (found.live_misses, found.shadow_misses) == (1, 0)


async def test_a_shadow_that_is_ended_half_way_is_none_and_breaks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "COPIED", 2)
    names = [ObjectName("mail", f"u.{number}") for number in range(7)]
    async with sqlite_catalogue(tmp_path) as catalogue:
        for name in names:
            await catalogue.publish(stored(name))
        await catalogue.begin_shadow(1500.0)
        clear = shadow._clear
        left = [2]

        def cut_off(connection: sqlite3.Connection) -> bool:
            left[0] -= 1
            if left[0] < 0:
                raise RuntimeError("cut off")
            return clear(connection)

        monkeypatch.setattr(shadow, "_clear", cut_off)
        with pytest.raises(Exception, match="cut off"):
            await catalogue.end_shadow()
        monkeypatch.setattr(shadow, "_clear", clear)
    async with sqlite_catalogue(tmp_path) as catalogue:
        assert await catalogue.shadow() is None
        assert await catalogue.check() == []
        await catalogue.end_shadow()
        assert await catalogue.check() == []
        assert catalogue._database.reads.rows("SELECT count(*) FROM shadow") == [(0,)]
        assert catalogue._database.reads.rows("SELECT value FROM fact WHERE name = 'shadow'") == [(0,)]
