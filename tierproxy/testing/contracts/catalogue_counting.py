"""What a catalogue does with counts: reads, day bins, corrections, regrets, rollups, the shadow."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tierproxy.errors import StaleGeneration
from tierproxy.model import ObjectName
from tierproxy.ports import Catalogue
from tierproxy.purges import REPAIR, Eviction, RuleRecord, Standing
from tierproxy.testing.contracts.catalogue_rows import (
    MAIL,
    OTHER,
    Opening,
    counted,
    dirty,
    drop,
    entry,
    machine,
    put,
    read,
    removal,
    stored,
)
from tierproxy.traffic import DAY, Correction, Counts, Regret, Rollup

NOTHING = RuleRecord("")


def stand(catalogue: Catalogue, name: ObjectName = MAIL) -> Standing:
    found = catalogue.standing(name)
    assert found is not None
    return found


class CountingContract(Opening):
    """Reads of people and of machines."""

    async def test_reads_add_up_and_the_last_read_never_goes_back(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(entry())
            await catalogue.count(counted(read(reads=2, at=50.0)))
            await catalogue.count(counted(read(at=40.0)))
            await catalogue.count(Counts(60.0))
            found = stand(catalogue).entry
            assert (found.reads, found.last_read_at) == (3, 50.0)

    async def test_machines_are_counted_apart(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored())
            await catalogue.count(counted(machine(reads=5)))
            await catalogue.count(counted(read(reads=2, at=2000.0, machine_reads=1)))
            found = stand(catalogue)
            assert (found.entry.reads, found.machine_reads, found.entry.last_read_at) == (2, 6, 2000.0)
            assert found.days == ((0, 2, 6),)

    async def test_reads_by_machines_alone_leave_the_last_read_and_the_visits(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored())
            before = stand(catalogue)
            await catalogue.count(counted(machine(reads=5)))
            assert stand(catalogue) == replace(before, machine_reads=5, days=((0, 0, 5),))

    async def test_days_are_counted_apart(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(entry())
            await catalogue.count(counted(read(reads=2, at=DAY - 1.0), read(at=DAY + 1.0)))
            await catalogue.count(counted(read(reads=4, at=DAY + 9.0), machine(at=7.0 * DAY)))
            found = stand(catalogue)
            assert found.days == ((0, 2, 0), (1, 5, 0), (7, 0, 1))
            assert (found.entry.reads, found.entry.last_read_at) == (7, DAY + 9.0)

    async def test_a_name_without_a_row_is_ignored(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(entry())
            await catalogue.count(counted(read(OTHER), machine(OTHER), read(), increments={"reads.person": 2}))
            assert catalogue.find(OTHER) is None
            assert stand(catalogue).entry.reads == 1
            assert [rollup.counters for rollup in await catalogue.rollups(60, 0, 1e9)] == [{"reads.person": 2}]

    async def test_counts_and_days_are_the_keys_history_and_go_with_the_row(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored())
            await catalogue.count(counted(read()))
            await catalogue.publish(dirty(generation=2), job=put(generation=2))
            assert stand(catalogue).days == ((0, 1, 0),)
            await catalogue.tombstone(MAIL, 3, removal(generation=3))
            await catalogue.publish(stored(generation=4))
            assert (stand(catalogue).entry.reads, stand(catalogue).days) == (1, ((0, 1, 0),))
            await catalogue.forget(MAIL, 4)
            await catalogue.publish(stored(generation=5))
            assert (stand(catalogue).entry.reads, stand(catalogue).days) == (0, ())

    async def test_owner_and_folder_of_a_read_fill_in_what_the_row_does_not_know(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(entry(owner="ada"))
            await catalogue.count(counted(read(owner="bob", folder="inbox")))
            await catalogue.count(counted(machine(), read(folder="trash")))
            found = stand(catalogue).entry
            assert (found.owner, found.folder) == ("ada", "inbox")

    async def test_visits_are_reads_after_the_blob_was_stored(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored(stored_at=100.0))
            await catalogue.count(counted(read(at=100.0)))
            assert stand(catalogue).visits == 0
            await catalogue.count(counted(read(at=101.0)))
            assert stand(catalogue).visits == 1
            await catalogue.count(counted(read(reads=9, at=102.0)))
            assert stand(catalogue).visits == 3
            await catalogue.publish(stored(generation=2))
            assert stand(catalogue).visits == 0
            await catalogue.publish(entry(generation=3))
            await catalogue.count(counted(read(at=3000.0)))
            assert stand(catalogue).visits == 0

    async def test_worth_is_reads_for_their_size_over_the_inflation(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored(size=4096))
            assert stand(catalogue).worth == 0.25
            await catalogue.requeue([], Eviction("", inflation=2.0))
            await catalogue.count(counted(read(reads=2)))
            assert stand(catalogue).worth == 2.5
            await catalogue.publish(stored(OTHER, size=10))
            assert stand(catalogue, OTHER).worth == 3.0

    # corrections

    async def test_a_corrected_read_is_a_machines(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored())
            await catalogue.count(counted(read(at=2000.0)))
            before = stand(catalogue)
            await catalogue.count(counted(read(at=2500.0)))
            await catalogue.count(counted(corrections=(Correction(MAIL, 2500.0),)))
            assert stand(catalogue) == replace(before, machine_reads=1, days=((0, 1, 1),))

    async def test_a_read_of_the_same_flush_can_be_corrected(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored())
            await catalogue.count(counted(read(at=2000.0), corrections=(Correction(MAIL, 2000.0),)))
            found = stand(catalogue)
            assert (found.entry.reads, found.machine_reads, found.entry.last_read_at) == (0, 1, None)

    async def test_a_correction_of_an_earlier_read_leaves_the_last(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored())
            for at in (2000.0, 2500.0, 2400.0):
                await catalogue.count(counted(read(at=at)))
            await catalogue.count(counted(corrections=(Correction(MAIL, 2400.0),)))
            assert (stand(catalogue).entry.reads, stand(catalogue).entry.last_read_at) == (2, 2500.0)
            await catalogue.count(counted(corrections=(Correction(MAIL, 2500.0),)))
            assert (stand(catalogue).entry.reads, stand(catalogue).entry.last_read_at) == (1, 2000.0)

    async def test_corrections_go_below_nothing_nowhere(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(entry())
            await catalogue.count(counted(read(at=2000.0)))
            wrong = (Correction(MAIL, 2000.0), Correction(MAIL, 1999.0), Correction(OTHER, 1.0), Correction(MAIL, 1e7))
            await catalogue.count(counted(corrections=wrong))
            found = stand(catalogue)
            assert (found.entry.reads, found.machine_reads, found.days) == (0, 1, ((0, 0, 1),))

    # rollups, records, pruning

    async def test_increments_are_summed_by_minute_and_hour(self) -> None:
        async with self.catalogue() as catalogue:
            for at, hits in ((7199.0, 1), (7200.0, 2), (7259.9, 3), (7260.0, 4)):
                await catalogue.count(Counts(at, increments={"gets.hits.disk": hits, "reads.person": 1}))
            minutes = await catalogue.rollups(60, 0, 1e9)
            assert [(one.at, one.span, one.counters["gets.hits.disk"]) for one in minutes] == [
                (7140, 60, 1), (7200, 60, 5), (7260, 60, 4),
            ]  # fmt: skip
            assert minutes[1] == Rollup(7200, 60, {"gets.hits.disk": 5, "reads.person": 2})
            assert [one.at for one in await catalogue.rollups(60, 7200, 7260)] == [7200]
            hours = await catalogue.rollups(3600, 0, 1e9)
            assert [(one.at, one.counters["gets.hits.disk"]) for one in hours] == [(3600, 1), (7200, 9)]

    async def test_regrets_are_booked_on_who_purged_and_the_day_of_the_read(self) -> None:
        regrets = (
            Regret(MAIL, "rule:old", 5.0 * DAY, 3600.0),
            Regret(MAIL, "rule:old", 5.0 * DAY, 3601.0),
            Regret(OTHER, "rule:old", 5.0 * DAY, 31.0 * DAY),
            Regret(MAIL, "rule:old", 6.0 * DAY, 9.0, machine=True),
            Regret(MAIL, "pressure", 4.0 * DAY, 7.0 * DAY),
            Regret(MAIL, REPAIR, 5.0 * DAY, 1.0),
        )
        async with self.catalogue() as catalogue:
            await catalogue.count(counted(regrets=regrets))
            pressure = RuleRecord("pressure", regrets=1, seconds=7.0 * DAY, soon=(0, 0, 1, 0, 0))
            old = RuleRecord("rule:old", 0, 0, 3, 1, 7201.0 + 31 * DAY, (1, 1, 0, 0, 1))
            assert await catalogue.records(0) == [pressure, old]
            assert await catalogue.records(5) == [old]
            assert await catalogue.records(6) == [RuleRecord("rule:old", machine_regrets=1)]

    async def test_old_counts_are_pruned(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(entry())
            for day in (1, 2, 3):
                regret = Regret(MAIL, "pressure", day * DAY, 1.0)
                reads = (read(at=day * DAY + 1.0),)
                await catalogue.count(Counts(day * DAY + 60.0, reads, regrets=(regret,), increments={"a": 1}))
            assert await catalogue.prune_counts(2, 3 * DAY) == 5
            assert await catalogue.prune_counts(2, 3 * DAY) == 0
            assert [day for day, _, _ in stand(catalogue).days] == [2, 3]
            assert [one.at // DAY for one in await catalogue.rollups(60, 0, 1e9)] == [3]
            assert [one.at // DAY for one in await catalogue.rollups(3600, 0, 1e9)] == [2, 3]
            assert [one.regrets for one in await catalogue.records(0)] == [2]
            assert stand(catalogue).entry.reads == 3

    async def test_who_named_the_rows_is_remembered(self) -> None:
        async with self.catalogue() as catalogue:
            assert catalogue.named_by() == 0
            await catalogue.name_by(2**63 - 1)
            assert catalogue.named_by() == 2**63 - 1

    async def test_rows_are_classified_again_a_page_at_a_time(self) -> None:
        names = [ObjectName("mail", key) for key in "abcde"]
        async with self.catalogue() as catalogue:
            for name in names:
                await catalogue.publish(entry(name))
            assert await catalogue.reclassify(None, 2) == names[1]
            assert await catalogue.reclassify(names[1], 2) == names[3]
            assert await catalogue.reclassify(names[3], 2) is None


class ShadowContract(Opening):
    """A second disk that exists in numbers only."""

    async def test_without_a_shadow_nothing_is_booked(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored())
            assert await catalogue.shadow() is None
            assert await catalogue.shadow_drop([drop(stored())], at=1.0) == [False]
            assert stand(catalogue).shadow is None

    async def test_the_shadow_begins_as_the_live_disk(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored())
            await catalogue.publish(entry(OTHER))
            await catalogue.begin_shadow(1500.0)
            found = await catalogue.shadow()
            assert found is not None
            assert (found.since, found.live_objects, found.live_bytes) == (1500.0, 1, 4096)
            assert (found.shadow_objects, found.shadow_bytes) == (1, 4096)
            assert (stand(catalogue).shadow, stand(catalogue, OTHER).shadow) == (True, False)
            await catalogue.end_shadow()
            assert await catalogue.shadow() is None

    async def test_what_the_shadow_purges_stays_on_the_real_disk(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored())
            await catalogue.begin_shadow(1500.0)
            assert await catalogue.shadow_drop([drop(stored()), drop(stored(OTHER))], at=1600.0) == [True, False]
            assert await catalogue.shadow_drop([drop(stored())], at=1700.0) == [False]
            assert catalogue.find(MAIL) == stored()
            assert (stand(catalogue).shadow, stand(catalogue).shadow_by) == (False, "rule:old")
            found = await catalogue.shadow()
            assert found is not None
            assert (found.shadow_objects, found.shadow_bytes, found.live_objects) == (0, 0, 1)
            assert found.shadow == {"rule:old": RuleRecord("rule:old", 1, 4096)}
            assert (found.live, await catalogue.records(0)) == ({}, [])

    async def test_the_shadow_drops_nothing_that_is_dirty_pinned_or_another(self) -> None:
        unsent = dirty(OTHER)
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored(generation=2))
            await catalogue.publish(unsent, job=put(OTHER))
            await catalogue.pin(MAIL, 1700.0)
            await catalogue.begin_shadow(1500.0)
            wishes = [drop(stored(generation=1)), drop(stored(generation=2)), drop(unsent)]
            assert await catalogue.shadow_drop(wishes, at=1600.0) == [False, False, False]
            assert await catalogue.shadow_drop(wishes, at=1700.0) == [False, True, False]

    async def test_the_shadow_is_compared_over_the_days_that_are_asked_for(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored())
            await catalogue.begin_shadow(1500.0)
            await catalogue.shadow_drop([drop(stored())], at=1600.0)
            await catalogue.count(counted(read(at=1700.0), at=1701.0))
            later = 3 * DAY + 5.0
            await catalogue.shadow_drop([drop(stored())], at=later)
            regret = Regret(MAIL, "rule:old", later + 1, 100.0)
            await catalogue.count(counted(read(at=later + 1), regrets=(regret,), at=later + 2))
            every, lately, none = [await catalogue.shadow(day) for day in (0, 3, 4)]
            assert every is not None
            assert lately is not None
            assert none is not None
            assert [(one.reads, one.live_misses, one.shadow_misses) for one in (every, lately, none)] == [
                (2, 1, 2), (1, 1, 1), (0, 0, 0),
            ]  # fmt: skip
            assert [one.shadow.get("rule:old", NOTHING).objects for one in (every, lately, none)] == [2, 1, 0]
            assert {one.since for one in (every, lately, none)} == {1500.0}
            await catalogue.end_shadow()
            await catalogue.begin_shadow(later)
            again = await catalogue.shadow()
            assert again is not None
            assert (again.reads, again.shadow_misses) == (0, 0)

    async def test_what_live_purges_stays_on_the_shadow_disk(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored())
            await catalogue.begin_shadow(1500.0)
            await catalogue.drop_blobs([drop(stored())], at=1600.0)
            assert stand(catalogue).shadow is True
            regret = Regret(MAIL, "rule:old", 1700.0, 100.0)
            await catalogue.count(counted(read(at=1700.0), regrets=(regret,), at=1701.0))
            found = await catalogue.shadow()
            assert found is not None
            assert (found.reads, found.live_misses, found.shadow_misses) == (1, 1, 0)
            assert found.live["rule:old"].regrets == 1
            assert found.shadow == {}

    async def test_a_hit_that_the_shadow_would_have_missed_is_its_regret(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored())
            await catalogue.begin_shadow(1500.0)
            await catalogue.shadow_drop([drop(stored())], at=1600.0)
            await catalogue.count(counted(read(reads=2, at=1700.0), machine(OTHER)))
            await catalogue.count(counted(read(at=1800.0)))
            found = await catalogue.shadow()
            assert found is not None
            assert (found.reads, found.live_misses, found.shadow_misses) == (4, 0, 1)
            assert found.shadow["rule:old"] == RuleRecord("rule:old", 1, 4096, 1, 0, 100.0, (1, 0, 0, 0, 0))
            assert stand(catalogue).shadow is True
            assert await catalogue.records(0) == []

    @pytest.mark.parametrize("filled_first", [True, False])
    async def test_a_read_that_both_miss_is_a_regret_of_both(self, filled_first: bool) -> None:
        regret = Regret(MAIL, "pressure", 1700.0, 50.0)
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored())
            await catalogue.begin_shadow(1500.0)
            await catalogue.shadow_drop([drop(stored())], at=1600.0)
            await catalogue.drop_blobs([drop(stored(), by="pressure")], at=1650.0)
            if filled_first:
                await catalogue.fill(stored(blob="again", stored_at=1701.0), expected=1)
            await catalogue.count(counted(read(at=1700.0), regrets=(regret,)))
            found = await catalogue.shadow()
            assert found is not None
            assert (found.reads, found.live_misses, found.shadow_misses) == (1, 1, 1)
            assert (found.live["pressure"].seconds, found.shadow["rule:old"].seconds) == (50.0, 100.0)
            assert stand(catalogue).shadow is True

    async def test_what_was_fetched_before_live_purged_it_is_no_regret_of_the_shadow(self) -> None:
        regret = Regret(MAIL, "pressure", 1700.0, 10.0)
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored())
            await catalogue.begin_shadow(1500.0)
            await catalogue.shadow_drop([drop(stored())], at=1600.0)
            await catalogue.drop_blobs([drop(stored())], at=1610.0)
            warmed = stored(blob="warm", stored_at=1650.0)
            await catalogue.fill(warmed, expected=1)
            await catalogue.drop_blobs([drop(warmed, by="pressure")], at=1690.0)
            await catalogue.count(counted(read(at=1700.0), regrets=(regret,)))
            found = await catalogue.shadow()
            assert found is not None
            assert (found.live_misses, found.shadow_misses) == (1, 0)

    async def test_new_content_is_on_both_disks_and_what_is_gone_on_neither(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored())
            await catalogue.begin_shadow(1500.0)
            await catalogue.shadow_drop([drop(stored())], at=1600.0)
            await catalogue.publish(dirty(generation=2, etag="new", blob_bytes=8192), job=put(generation=2))
            await catalogue.publish(stored(OTHER))
            found = await catalogue.shadow()
            assert found is not None
            assert (found.shadow_objects, found.shadow_bytes) == (2, 12288)
            await catalogue.tombstone(MAIL, 3, removal(generation=3))
            await catalogue.learn(entry(OTHER, 2, etag="other"), expected=1)
            found = await catalogue.shadow()
            assert found is not None
            assert (found.shadow_objects, found.live_objects) == (0, 0)
            await catalogue.forget(MAIL, 3)

    async def test_another_shadow_begins_anew(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored())
            await catalogue.begin_shadow(1500.0)
            await catalogue.shadow_drop([drop(stored())], at=1600.0)
            await catalogue.count(counted(read(at=1700.0)))
            await catalogue.begin_shadow(1800.0)
            found = await catalogue.shadow()
            assert found is not None
            assert (found.since, found.shadow_objects, found.reads, found.shadow_misses) == (1800.0, 1, 0, 0)
            assert found.shadow == {}

    async def test_an_overtaken_purge_is_stale_only_where_one_waits_for_it(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored(generation=2))
            with pytest.raises(StaleGeneration):
                await catalogue.drop_blob(MAIL, 1, f"{MAIL.key}#1", by=REPAIR, at=9.0)
            assert await catalogue.drop_blobs([drop(stored(generation=1))], at=9.0) == [False]
