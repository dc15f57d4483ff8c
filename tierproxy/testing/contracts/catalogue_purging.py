"""What a catalogue does with purges: batches, pins, runs, rule versions, the state of the orders."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tierproxy.errors import NoSuchKey, StaleGeneration
from tierproxy.model import ObjectName
from tierproxy.ports import Catalogue
from tierproxy.purges import (
    REPAIR,
    Booking,
    Eviction,
    Move,
    PurgeRun,
    RuleRecord,
    RunKind,
    RunRule,
    RunState,
    Version,
)
from tierproxy.testing.contracts.catalogue_counting import stand
from tierproxy.testing.contracts.catalogue_rows import (
    MAIL,
    OTHER,
    Opening,
    dirty,
    drop,
    entry,
    put,
    removal,
    stored,
)
from tierproxy.traffic import DAY


def asked(**changes: object) -> PurgeRun:
    """A run that a command line wants."""
    return replace(PurgeRun(0, RunKind.RULES, RunState.ASKED, 100.0, author="ada", reason="why not"), **changes)  # type: ignore[arg-type]


class PurgesContract(Opening):
    """Batches of blobs that go."""

    async def test_a_batch_goes_and_says_who_did_it(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored())
            await catalogue.publish(stored(OTHER))
            run = await catalogue.add_run(asked())
            drops = [drop(stored()), drop(stored(OTHER), by="pressure")]
            assert await catalogue.drop_blobs(drops, at=9.0, booking=Booking(run.number)) == [True, True]
            assert catalogue.find(MAIL) == replace(stored().without_blob(), purged_at=9.0, purged_by="rule:old")
            assert (stand(catalogue).purged_run, stand(catalogue, OTHER).entry.purged_by) == (run.number, "pressure")
            assert (catalogue.totals().blobs, catalogue.totals().blob_bytes) == (0, 0)

    async def test_what_changed_is_dirty_or_is_pinned_stays(self) -> None:
        names = [ObjectName("mail", key) for key in "abcde"]
        rows = [stored(name, 2) for name in names]
        async with self.catalogue() as catalogue:
            for row in rows[:-1]:
                await catalogue.publish(row)
            await catalogue.publish(dirty(names[4], 2), job=put(names[4], 2))
            await catalogue.suspect(names[2], 2)
            await catalogue.pin(names[3], 10.0)
            wishes = [drop(rows[0], generation=1), drop(rows[1], blob="other"), *map(drop, rows[2:])]
            assert await catalogue.drop_blobs([*wishes, drop(stored(OTHER))], at=9.0) == [False] * 6
            assert catalogue.totals().blobs == 5
            assert await catalogue.records(0) == []
            assert await catalogue.drop_blobs([drop(rows[3])], at=10.0) == [True]

    async def test_a_blob_goes_once(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored())
            assert await catalogue.drop_blobs([drop(stored()), drop(stored())], at=9.0) == [True, False]
            assert await catalogue.records(0) == [RuleRecord("rule:old", 1, 4096)]

    async def test_purges_are_booked_by_reason_and_day(self) -> None:
        names = [ObjectName("mail", key) for key in "abc"]
        async with self.catalogue() as catalogue:
            for name, by, day in zip(names, ("rule:old", "rule:old", "pressure"), (1, 2, 2), strict=True):
                await catalogue.publish(stored(name))
                await catalogue.drop_blobs([drop(stored(name), by=by)], at=day * DAY)
            assert await catalogue.records(1) == [RuleRecord("pressure", 1, 4096), RuleRecord("rule:old", 2, 8192)]
            assert await catalogue.records(2) == [RuleRecord("pressure", 1, 4096), RuleRecord("rule:old", 1, 4096)]

    async def test_a_run_hears_how_far_it_has_come(self) -> None:
        names = [ObjectName("mail", key) for key in "abcd"]
        async with self.catalogue() as catalogue:
            for name in names:
                await catalogue.publish(stored(name))
            run = await catalogue.add_run(asked(state=RunState.RUNNING))
            gone = drop(stored(names[3]), generation=9)
            first = [drop(stored(names[0])), drop(stored(names[1])), gone]
            await catalogue.drop_blobs(first, at=9.0, booking=Booking(run.number, names[1], skipped=4))
            last = [drop(stored(names[2]), by="pressure", rule="new mail")]
            await catalogue.drop_blobs(last, at=9.0, booking=Booking(run.number))
            found = catalogue.run(run.number)
            assert found == replace(run, objects=3, bytes=12288, skipped=5, cursor=names[1])
            assert catalogue.run_rules(run.number) == [
                RunRule("pressure", "new mail", 1, 4096),
                RunRule("rule:old", "", 2, 8192),
            ]
            assert await catalogue.drop_blobs([], at=9.0, booking=Booking(run.number, names[3])) == []
            assert catalogue.run(run.number) == replace(found, cursor=names[3])

    async def test_a_repair_is_no_purge(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored())
            await catalogue.drop_blob(MAIL, 1, f"{MAIL.key}#1", by=REPAIR, at=9.0)
            assert await catalogue.records(0) == []
            await catalogue.fill(stored(blob="again"), expected=1)
            assert not stand(catalogue).main

    # the orders

    async def test_a_new_blob_begins_at_the_end_of_the_small_queue(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored(stored_at=5.0))
            found = stand(catalogue)
            assert (found.queued_at, found.visits, found.main) == (5.0, 0, False)
            await catalogue.publish(entry(OTHER))
            await catalogue.fill(stored(OTHER, stored_at=6.0), expected=1)
            assert (stand(catalogue, OTHER).queued_at, stand(catalogue, OTHER).main) == (6.0, False)

    async def test_what_was_purged_and_comes_back_is_in_the_main_queue(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored())
            run = await catalogue.add_run(asked())
            await catalogue.drop_blobs([drop(stored())], at=9.0, booking=Booking(run.number))
            assert not stand(catalogue).main
            await catalogue.fill(stored(blob="again", stored_at=12.0), expected=1)
            found = stand(catalogue)
            assert (found.main, found.queued_at, found.purged_run) == (True, 12.0, None)
            await catalogue.publish(stored(generation=2))
            assert not stand(catalogue).main

    async def test_a_row_that_keeps_its_blob_keeps_its_place(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(dirty(), job=put())
            await catalogue.requeue([Move(MAIL, 1, 2, True, 7.0)], Eviction("mail", 7.0, 0.5))
            await catalogue.uploaded(MAIL, 1, "alt1")
            await catalogue.learn(entry(), expected=1)
            found = stand(catalogue)
            assert (found.visits, found.main, found.queued_at) == (2, True, 7.0)

    async def test_requeueing_leaves_what_has_changed_and_remembers_the_hand(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored(generation=2))
            await catalogue.publish(entry(OTHER))
            moves = [Move(MAIL, 1, 3, True, 7.0), Move(OTHER, 1, 3, True, 7.0)]
            await catalogue.requeue(moves, Eviction("mail", 7.0, 0.5))
            assert (stand(catalogue).queued_at, stand(catalogue, OTHER).visits) == (1002.0, 0)
            assert catalogue.eviction("mail") == Eviction("mail", 7.0, 0.5)
            assert catalogue.eviction("") == Eviction("")
            await catalogue.requeue([], Eviction("mail", 8.0, 1.5))
            assert catalogue.eviction("mail") == Eviction("mail", 8.0, 1.5)

    # pins

    async def test_a_pin_ends_or_is_taken_away(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored())
            await catalogue.pin(MAIL, math.inf)
            assert stand(catalogue).pinned_until == math.inf
            assert await catalogue.drop_blobs([drop(stored())], at=1e12) == [False]
            await catalogue.publish(stored(generation=2))
            assert stand(catalogue).pinned_until == math.inf
            await catalogue.pin(MAIL, None)
            assert stand(catalogue).pinned_until is None
            assert await catalogue.drop_blobs([drop(stored(generation=2))], at=9.0) == [True]

    async def test_what_is_not_there_cannot_be_pinned_and_a_delete_ends_a_pin(self) -> None:
        async with self.catalogue() as catalogue:
            with pytest.raises(NoSuchKey):
                await catalogue.pin(MAIL, 1.0)
            await catalogue.publish(stored())
            await catalogue.pin(MAIL, math.inf)
            await catalogue.tombstone(MAIL, 2, removal(generation=2))
            with pytest.raises(NoSuchKey):
                await catalogue.pin(MAIL, 1.0)
            await catalogue.publish(stored(generation=3))
            assert stand(catalogue).pinned_until is None

    # words of requests

    async def test_a_requests_word_for_owner_and_folder_stays_until_another(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored(owner="ada", folder=None))
            await catalogue.publish(stored(generation=2, owner=None, folder="inbox"))
            assert owned(catalogue) == ("ada", "inbox")
            await catalogue.fill(stored(generation=3, owner=None, folder=None), expected=2)
            await catalogue.tombstone(MAIL, 4, removal(generation=4))
            await catalogue.publish(stored(generation=5, owner="bob", folder=None))
            assert owned(catalogue) == ("bob", "inbox")


class RunsContract(Opening):
    """Runs and versions: records that a command line and the node share."""

    async def test_a_run_is_found_as_it_was_added(self) -> None:
        full = PurgeRun(
            0, RunKind.OPERATOR, RunState.WAITING, 1.5, 7, "large", "mail", "a/", "ada", "why", True, False, 2.5, 3.5,
            4, 5, 0, 0, 8, MAIL, "note",
        )  # fmt: skip
        async with self.catalogue() as catalogue:
            added = await catalogue.add_run(full)
            assert added == replace(full, number=1)
            assert catalogue.run(1) == added
            assert catalogue.run(2) is None
            assert catalogue.run_rules(1) == []

    async def test_runs_are_listed_newest_first_and_open_ones_oldest_first(self) -> None:
        async with self.catalogue() as catalogue:
            for state in (RunState.ASKED, RunState.DONE, RunState.WAITING, RunState.FAILED, RunState.RUNNING):
                await catalogue.add_run(asked(state=state))
            assert [run.number for run in catalogue.runs(3)] == [5, 4, 3]
            assert [run.number for run in catalogue.runs(9, open_only=True)] == [1, 3, 5]
            assert [run.number for run in catalogue.runs(2, open_only=True)] == [1, 3]

    async def test_a_run_is_saved_in_the_state_it_is_expected_in(self) -> None:
        async with self.catalogue() as catalogue:
            run = await catalogue.add_run(asked())
            begun = replace(
                run, state=RunState.RUNNING, rules=3, started_at=110.0, planned_objects=4, planned_bytes=5, note="on"
            )
            assert await catalogue.save_run(begun, expected=RunState.ASKED) == begun
            with pytest.raises(StaleGeneration):
                await catalogue.save_run(begun, expected=RunState.ASKED)
            assert catalogue.run(run.number) == begun

    async def test_saving_leaves_progress_the_wish_to_cancel_and_a_confirmation(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored())
            run = await catalogue.add_run(asked(state=RunState.RUNNING))
            await catalogue.drop_blobs([drop(stored())], at=9.0, booking=Booking(run.number, MAIL))
            await catalogue.cancel_run(run.number)
            await catalogue.confirm_run(run.number)
            saved = await catalogue.save_run(replace(run, state=RunState.DONE, ended_at=9.5), expected=RunState.RUNNING)
            assert (saved.objects, saved.bytes, saved.cursor, saved.cancel, saved.confirmed, saved.ended_at) == (
                1, 4096, MAIL, True, True, 9.5,
            )  # fmt: skip

    async def test_a_wish_to_cancel_ends_what_has_not_begun(self) -> None:
        async with self.catalogue() as catalogue:
            for state in (RunState.ASKED, RunState.WAITING, RunState.RUNNING, RunState.DONE):
                await catalogue.add_run(asked(state=state))
            found = [await catalogue.cancel_run(number, at=200.0) for number in range(1, 6)]
            assert [run and (run.state, run.cancel, run.ended_at) for run in found] == [
                (RunState.CANCELLED, True, 200.0), (RunState.CANCELLED, True, 200.0), (RunState.RUNNING, True, None),
                None, None,
            ]  # fmt: skip

    async def test_a_waiting_run_is_confirmed_and_waits_for_the_node(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.add_run(asked(state=RunState.WAITING))
            await catalogue.add_run(asked(state=RunState.DONE))
            found = await catalogue.confirm_run(1)
            assert found is not None
            assert (found.state, found.confirmed) == (RunState.WAITING, True)
            assert await catalogue.confirm_run(2) is None

    async def test_records_of_old_runs_go(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored())
            for state, ended_at in ((RunState.DONE, 200.0), (RunState.ASKED, None), (RunState.FAILED, 400.0)):
                await catalogue.add_run(asked(state=state, ended_at=ended_at))
            await catalogue.drop_blobs([drop(stored())], at=9.0, booking=Booking(1))
            assert await catalogue.prune_runs(300.0) == 1
            assert await catalogue.prune_runs(300.0) == 0
            assert [run.number for run in catalogue.runs(9)] == [3, 2]
            assert catalogue.run_rules(1) == []

    async def test_versions_are_numbered_together_and_listed_by_kind(self) -> None:
        first = Version(0, "live", 10.0, "file", "changed", "[[rule]]")
        async with self.catalogue() as catalogue:
            assert await catalogue.add_version(first) == replace(first, number=1)
            await catalogue.add_version(replace(first, kind="shadow"))
            await catalogue.add_version(replace(first, text="", live_at=11.0))
            await catalogue.version_live(1, 12.0)
            assert catalogue.version(1) == replace(first, number=1, live_at=12.0)
            assert [(one.number, one.live_at) for one in catalogue.versions("live", 9)] == [(3, 11.0), (1, 12.0)]
            assert [one.number for one in catalogue.versions("live", 1)] == [3]
            assert [one.number for one in catalogue.versions("shadow", 9)] == [2]
            assert catalogue.version(0) is None


def owned(catalogue: Catalogue) -> tuple[str | None, str | None]:
    found = stand(catalogue).entry
    return found.owner, found.folder
