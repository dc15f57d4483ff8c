"""What every ``tierproxy.ports.Planning`` does: plans, standings and statistics of small catalogues."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tierproxy.model import ObjectName
from tierproxy.ports import Catalogue
from tierproxy.purges import Candidate, Drop, Place, RuleCount, Scope, Survey
from tierproxy.rules.model import (
    Action,
    ActionKind,
    Budget,
    Measure,
    NumberCondition,
    Operator,
    Order,
    Rule,
    RuleSet,
    TextCondition,
    Word,
)
from tierproxy.stats import Breakdown
from tierproxy.testing.contracts.catalogue_rows import Opening, dirty, put, removal, stored
from tierproxy.traffic import DAY, Counts, ReadCount

NOW = 20_800.0 * DAY
TODAY = int(NOW // DAY)
KEEP, PURGE = Action(ActionKind.KEEP), Action(ActionKind.PURGE)


def key_rule(pattern: str, action: Action) -> Rule:
    return Rule(f"{action.kind} {pattern}", (TextCondition(Word.KEY, (pattern,)),), action)


def idle_rule(days: float, action: Action) -> Rule:
    return Rule("idle", (NumberCondition(Measure.IDLE, Operator.GT, days * DAY),), action)


def mail(key: str) -> ObjectName:
    return ObjectName("mail", key)


class PlanningContract(Opening):
    """Plans."""

    async def test_a_survey_counts_what_each_rule_decides(self) -> None:
        rules = RuleSet((key_rule("keep/*", KEEP), key_rule("go/*", PURGE)))
        async with self.catalogue() as catalogue:
            await self._stored(catalogue, "keep/1", "go/1", "go/2", "other")
            await self._read(catalogue, "go/2", days_ago=3)
            await self._read(catalogue, "go/2", days_ago=20)
            survey = await catalogue.survey(Scope(rules, NOW))
            assert survey == Survey(
                (
                    RuleCount(0, 1, 4096),
                    RuleCount(1, 2, 8192, recent_objects=1, recent_bytes=4096, reads_7d=1, reads_30d=2),
                    RuleCount(None, 1, 4096),
                ),
                recent_bytes=4096,
            )

    async def test_dirty_pinned_and_young_blobs_are_no_candidates(self) -> None:
        rules = RuleSet((key_rule("*", PURGE),), budget=Budget(min_on_disk=60.0))
        async with self.catalogue() as catalogue:
            await self._stored(catalogue, "old", "pinned", "pin over")
            await catalogue.publish(dirty(mail("dirty"), 7), job=put(mail("dirty"), 7))
            await catalogue.publish(stored(mail("young"), 8, stored_at=NOW - 59.5))
            await catalogue.publish(stored(mail("grown"), 9, stored_at=NOW - 60))
            await catalogue.tombstone(mail("gone"), 10, removal(mail("gone"), 10))
            await catalogue.pin(mail("pinned"), NOW + 1)
            await catalogue.pin(mail("pin over"), NOW)
            scope = Scope(rules, NOW)
            assert (await self._keys(catalogue, scope)) == ["grown", "old", "pin over"]
            survey = await catalogue.survey(scope)
            assert (survey.dirty, survey.pinned, survey.young) == ((1, 4096), (1, 4096), (1, 4096))
            assert survey.of(0) == RuleCount(0, 3, 3 * 4096)

    async def test_what_a_pin_rule_decides_is_no_candidate_until_the_pin_has_run_out(self) -> None:
        pin = Rule("pin", (), Action(ActionKind.PIN, until=NOW + 10))
        rules = RuleSet((pin, key_rule("*", PURGE)))
        async with self.catalogue() as catalogue:
            await self._stored(catalogue, "a")
            for order in Order:
                for kept in (False, True):
                    assert await catalogue.pressed(Scope(rules, NOW), order, 10, kept=kept) == []
            assert (await catalogue.survey(Scope(rules, NOW))).pinned == (1, 4096)
            assert await self._keys(catalogue, Scope(rules, NOW + 10)) == ["a"]

    async def test_a_plan_keeps_to_its_bucket_prefix_and_rule(self) -> None:
        rules = RuleSet((key_rule("*1", PURGE), key_rule("*", PURGE)))
        async with self.catalogue() as catalogue:
            await self._stored(catalogue, "a/1", "a/2", "b/1")
            await catalogue.publish(stored(ObjectName("other", "a/1"), 20))
            scope = Scope(rules, NOW)
            assert await self._keys(catalogue, scope) == ["a/1", "a/2", "b/1", "a/1"]
            assert await self._keys(catalogue, replace(scope, bucket="mail")) == ["a/1", "a/2", "b/1"]
            assert await self._keys(catalogue, replace(scope, prefix="a/")) == ["a/1", "a/2", "a/1"]
            assert await self._keys(catalogue, replace(scope, bucket="mail", prefix="a/", rule=0)) == ["a/1"]
            after = ObjectName("mailbox", "")
            assert await catalogue.decided(replace(scope, bucket="mail"), after, 10) == []
            assert [one.name.bucket for one in await catalogue.decided(scope, after, 10)] == ["other"]

    async def test_under_pressure_rules_purge_first_and_the_undecided_go_by_last_read(self) -> None:
        rules = RuleSet((key_rule("keep/*", KEEP), key_rule("go/*", PURGE)))
        async with self.catalogue() as catalogue:
            await self._stored(catalogue, "go/2", "x", "keep/1", "y", "go/1", "z")
            await self._read(catalogue, "x", days_ago=1)
            scope = Scope(rules, NOW)
            page = await catalogue.pressed(scope, Order.LRU, 3)
            assert [(one.name.key, one.rank) for one in page[:2]] == [("go/1", -1.0), ("go/2", -1.0)]
            rest = await catalogue.pressed(scope, Order.LRU, 9, after=Place(page[-1].rank, page[-1].name))
            assert [one.name.key for one in (page + rest)[2:]] == ["y", "z", "x"]
            kept = await catalogue.pressed(scope, Order.LRU, 9, kept=True)
            assert [one.name.key for one in kept] == ["keep/1"]
            assert await catalogue.ahead(scope, Order.LRU, mail("z")) == (3, 3 * 4096)
            assert await catalogue.ahead(scope, Order.LRU, mail("keep/1")) is None

    async def test_the_queues_of_s3_fifo_are_walked_apart(self) -> None:
        async with self.catalogue() as catalogue:
            await catalogue.publish(stored(mail("back")))
            await catalogue.drop_blobs([Drop(mail("back"), 1, "back#1", 4096, "pressure")], at=1.0)
            await catalogue.fill(stored(mail("back"), 1, stored_at=3.0), expected=1)
            await catalogue.publish(stored(mail("new"), 2, stored_at=2.0, blob_bytes=8192))
            scope = Scope(RuleSet(), NOW)

            async def keys(main: bool | None) -> list[str]:
                return [one.name.key for one in await catalogue.pressed(scope, Order.S3_FIFO, 9, main=main)]

            assert (await keys(None), await keys(False), await keys(True)) == (["new", "back"], ["new"], ["back"])
            assert await catalogue.small_bytes("") == (8192, 12288)
            assert await catalogue.small_bytes("other") == (0, 0)

    async def test_a_shadow_plan_sees_the_shadow_disk(self) -> None:
        rules = RuleSet((key_rule("*", PURGE),))
        async with self.catalogue() as catalogue:
            await self._stored(catalogue, "a", "b")
            await catalogue.begin_shadow(NOW)
            first = (await catalogue.decided(Scope(rules, NOW, shadow=True), None, 1))[0]
            await catalogue.drop_blobs([_drop(first)], at=NOW)
            assert await self._keys(catalogue, Scope(rules, NOW)) == ["b"]
            assert await self._keys(catalogue, Scope(rules, NOW, shadow=True)) == ["a", "b"]
            standing = catalogue.standing(mail("a"))
            assert standing is not None
            assert standing.shadow is True
            await catalogue.end_shadow()
            assert await self._keys(catalogue, Scope(rules, NOW, shadow=True)) == []

    async def test_a_standing_is_everything_that_is_known(self) -> None:
        async with self.catalogue() as catalogue:
            assert catalogue.standing(mail("a")) is None
            await self._stored(catalogue, "a")
            await self._read(catalogue, "a", days_ago=2)
            await catalogue.count(Counts(NOW, (ReadCount(mail("a"), TODAY, machine_reads=4),)))
            await catalogue.pin(mail("a"), float("inf"))
            found = catalogue.standing(mail("a"))
            assert found is not None
            assert found.entry == catalogue.find(mail("a"))
            assert found.days == ((TODAY - 2, 1, 0), (TODAY, 0, 4))
            assert (found.machine_reads, found.pinned_until, found.shadow) == (4, float("inf"), None)
            assert (found.queued_at, found.visits, found.main) == (found.entry.stored_at, 1, False)

    async def test_statistics_say_how_often_mails_were_read(self) -> None:
        async with self.catalogue() as catalogue:
            for number in range(8):
                key = f"{number}"
                await catalogue.publish(
                    stored(mail(key), number + 1, written_at=NOW - number * DAY, owner="ab"[number % 2], size=1000)
                )
                for _ in range(number):
                    await self._read(catalogue, key, days_ago=0)
            await catalogue.tombstone(mail("gone"), 10, removal(mail("gone"), 10))
            ages = await catalogue.stats(Breakdown.AGE, bucket="", now=NOW)
            assert [(row.label, row.objects) for row in ages.rows[:3]] == [("< 1d", 1), ("1-7d", 6), ("7-30d", 1)]
            assert ages.total.by_reads == (1, 1, 1, 3, 2)
            assert (ages.total.bytes, ages.total.disk_bytes, ages.total.reads) == (8000, 8 * 4096, 28)
            owners = await catalogue.stats(Breakdown.OWNER, bucket="mail", now=NOW)
            assert [(row.label, row.objects, row.reads) for row in owners.rows] == [("a", 4, 12), ("b", 4, 16)]
            assert (await catalogue.stats(Breakdown.FOLDER, bucket="other", now=NOW)).rows == ()

    async def test_statistics_of_days_count_an_object_once_in_the_total(self) -> None:
        async with self.catalogue() as catalogue:
            await self._stored(catalogue, "a", "b")
            for key, days_ago in (("a", 0), ("a", 1), ("b", 1)):
                await self._read(catalogue, key, days_ago=days_ago)
            await catalogue.count(Counts(NOW, (ReadCount(mail("b"), TODAY - 1, machine_reads=2),)))
            found = await catalogue.stats(Breakdown.DAY, bucket="", now=NOW)
            assert [(row.label, row.objects, row.reads, row.machine_reads) for row in found.rows] == [
                ("2026-12-12", 2, 2, 2), ("2026-12-13", 1, 1, 0),
            ]  # fmt: skip
            assert (found.total.objects, found.total.reads, found.total.machine_reads) == (2, 3, 2)

    async def _stored(self, catalogue: Catalogue, *keys: str, **changes: Any) -> None:
        for generation, key in enumerate(keys, 1):
            await catalogue.publish(stored(mail(key), generation, **changes))

    async def _read(self, catalogue: Catalogue, key: str, *, days_ago: int) -> None:
        at = NOW - days_ago * DAY + 1
        await catalogue.count(Counts(at, (ReadCount(mail(key), int(at // DAY), reads=1, last_read_at=at),)))

    async def _keys(self, catalogue: Catalogue, scope: Scope) -> list[str]:
        """What rules purge, a name a page."""
        found: list[Candidate] = []
        while page := await catalogue.decided(scope, found[-1].name if found else None, 1):
            found += page
        return [one.name.key for one in found]


def _drop(candidate: Candidate) -> Drop:
    return Drop(candidate.name, candidate.generation, candidate.blob, candidate.blob_bytes, "rule:x")
