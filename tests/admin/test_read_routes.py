"""What the admin API answers of what there is: status, series, objects, queue, statistics."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.admin.served import ANN, BOB, OPERATOR_TOKEN, READER_TOKEN, Served, bearer, served
from tierproxy.admin.app import Site
from tierproxy.admin.routers.objects import objects_router
from tierproxy.admin.routers.queue import queue_router
from tierproxy.admin.routers.stats import stats_router
from tierproxy.admin.routers.status import status_router
from tierproxy.admin.services import Services
from tierproxy.admin.snapshots import Snapshots
from tierproxy.config.sections import StubsSection
from tierproxy.errors import AltUnavailable
from tierproxy.model import Entry, ObjectName
from tierproxy.store.health import ALARM
from tierproxy.testing.rig import BUCKET, Rig
from tierproxy.wire.objects import Account, MoveResult, ObjectPage, Queue
from tierproxy.wire.stats import Heat, StatsTable
from tierproxy.wire.status import Bucket, Costs, Series, Status


@dataclass
class Reads:
    """``operator`` and ``reader`` send their tokens."""

    served: Served
    operator: httpx.AsyncClient
    reader: httpx.AsyncClient

    @property
    def rig(self) -> Rig:
        return self.served.rig

    async def get(self, path: str, status: int = 200, **query: Any) -> Any:
        answer = await self.reader.get(f"/api{path}", params=query)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def post(self, path: str, status: int = 200, client: httpx.AsyncClient | None = None, **body: Any) -> Any:
        answer = await (client or self.operator).post(f"/api{path}", json=body)
        assert answer.status_code == status, answer.text
        return answer.json()


@asynccontextmanager
async def reads(root: Path, *, config_file: Path | None = None, **sections: Any) -> AsyncIterator[Reads]:
    """A served node with the routers of this test, and three mails: two of alice, one of bob."""
    kept: list[Snapshots] = []

    def site(_: Rig, services: Services) -> Site:
        services = replace(services, config_file=config_file)
        snapshots = Snapshots(services.desk, services.clock)
        kept.append(snapshots)
        return Site(
            api=(
                status_router(services), stats_router(services, snapshots), objects_router(services, snapshots),
                queue_router(services),
            )
        )  # fmt: skip

    async with (
        served(root, accounts=(ANN, BOB), make_site=site, sections=sections) as one,
        one.fresh(headers=bearer(OPERATOR_TOKEN)) as operator,
        one.fresh(headers=bearer(READER_TOKEN)) as reader,
    ):
        try:
            for key in ("alice/1", "alice/2", "bob/1"):
                await one.rig.put(key, key.encode() * 100)
            await one.rig.drained()
            yield Reads(one, operator, reader)
        finally:
            await kept[0].close()


async def down(*_: Any, **__: Any) -> str:
    raise AltUnavailable("alt is down")


def named(*keys: str) -> list[str]:
    return [f"{BUCKET}/{key}" for key in keys]


# ---------------------------------------------------------------- status


async def test_the_status_tells_what_the_first_screen_shows(tmp_path: Path) -> None:
    async with reads(tmp_path) as one:
        found = Status.model_validate(await one.get("/status"))
        assert found.node
        assert (found.safety.alt, found.safety.one_disk.objects) == ("ok", 0)
        assert {tier.tier: tier.objects for tier in found.tiers}["disk"] == 3
        assert {tier.tier: tier.bytes for tier in found.tiers}["alt"] == 700 + 700 + 500
        assert found.disk.used == one.rig.parts.space.used
        assert found.disk.peak == one.rig.parts.space.peak
        assert found.rules_about.startswith("no rule file")


async def test_an_alarm_and_its_facts_are_in_the_status(tmp_path: Path) -> None:
    async with reads(tmp_path) as one:
        one.rig.parts.alarms.set(ALARM, BUCKET, error=ValueError("refused"), tries=3)
        found = Status.model_validate(await one.get("/status"))
        assert found.safety.alt == "trouble"
        assert found.safety.alt_error == "refused"
        [alarm] = found.alarms
        assert (alarm.alarm, alarm.subject, alarm.facts) == (ALARM, BUCKET, {"error": "refused", "tries": 3})


async def test_the_state_of_both_tiers_is_in_the_status(tmp_path: Path) -> None:
    async with reads(tmp_path) as one:
        now = one.rig.parts.clock.monotonic()
        one.rig.parts.alt_health.silent(BUCKET, now, AltUnavailable("no route"))
        found = Status.model_validate(await one.get("/status"))
        assert [(tier.tier, tier.state) for tier in found.health] == [("disk", "normal"), ("alt", "down")]
        alt = found.health[1]
        assert (alt.subject, alt.reason) == (BUCKET, "reads: changes are down: no route; changes: no route")
        assert alt.changes
        assert found.workers is None


async def test_many_who_ask_for_the_status_cost_one_look_a_second(tmp_path: Path, monkeypatch: Any) -> None:
    looks = 0

    async with reads(tmp_path) as one:
        from tierproxy.desk import status as desk

        plain = desk.status

        def counted(*arguments: Any) -> Status:
            nonlocal looks
            looks += 1
            return plain(*arguments)

        monkeypatch.setattr(desk, "status", counted)
        await asyncio.gather(*(one.get("/status") for _ in range(10)))
        assert looks <= 2


async def test_status_events_go_on_until_the_reader_leaves(tmp_path: Path) -> None:
    async with reads(tmp_path) as one, one.reader.stream("GET", "/api/status/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.aiter_lines()
        seen = []
        async for line in lines:
            if line.startswith("data: "):
                seen.append(Status.model_validate(json.loads(line.removeprefix("data: "))))
                break
        await answer.aclose()
        assert seen[0].node


async def test_what_was_read_is_in_the_series_and_in_the_status(tmp_path: Path) -> None:
    async with reads(tmp_path) as one:
        for _ in range(4):
            await one.rig.get("alice/1")
        await one.rig.parts.tally.flush()
        for span in ("minute", "hour", "day"):
            series = Series.model_validate(await one.get("/series", span=span))
            assert sum(sum(point.gets.values()) for point in series.points) == 4
            assert sum(point.puts for point in series.points) == 3
            assert series.until - series.since in {3600, 7 * 86_400, 90 * 86_400}
        found = Status.model_validate(await one.get("/status"))
        assert found.speed.hits["hour"].gets == 4


async def test_series_of_another_time_have_no_points(tmp_path: Path) -> None:
    async with reads(tmp_path) as one:
        assert (await one.get("/series", since=0, until=3600))["points"] == []
        assert (await one.get("/series", since=3600, until=0))["points"] == []


async def test_buckets_say_where_they_lie(tmp_path: Path) -> None:
    async with reads(tmp_path) as one:
        [bucket] = [Bucket.model_validate(found) for found in await one.get("/buckets")]
        assert (bucket.name, bucket.objects, bucket.disk_objects) == (BUCKET, 3, 3)


async def test_costs_add_up_and_say_what_no_disk_would_cost(tmp_path: Path) -> None:
    sheet = (Path(__file__).parents[2] / "config" / "prices.toml").read_text()
    async with reads(tmp_path, config_file=tmp_path / "tierproxy.toml") as one:
        (tmp_path / "prices.toml").write_text(sheet)
        for _ in range(5):
            await one.rig.get("alice/1")
        await one.rig.parts.tally.flush()
        bill = Costs.model_validate(await one.get("/costs", days=1))
        assert bill.total == pytest.approx(sum(line.dollars for line in bill.lines))
        amounts = {line.what: line.amount for line in bill.lines}
        assert amounts["put requests"] == pytest.approx(3 * 30.4375 / bill.days, rel=0.01)
        assert "get requests" not in amounts
        assert amounts["disk"] == one.rig.parts.config.disk.max_bytes / 1e9
        assert bill.without_disk is not None
        assert bill.priced == "2025-06-01"
        (tmp_path / "prices.toml").write_text("[sheet]")
        await one.get("/costs", status=422)
        (tmp_path / "prices.toml").unlink()
        shipped = Costs.model_validate(await one.get("/costs", days=1))
        assert shipped.priced == bill.priced
        assert bill.sheet == str(tmp_path / "prices.toml")
        await one.get("/costs", status=422, days=0)


async def test_the_configuration_hides_its_secrets(tmp_path: Path) -> None:
    async with reads(tmp_path) as one:
        text = json.dumps(await one.get("/configuration"))
        assert "max_bytes" in text
        for account in (ANN, BOB):
            assert account.password not in text
            assert account.token not in text


# ---------------------------------------------------------------- objects


async def test_objects_come_in_pages(tmp_path: Path) -> None:
    async with reads(tmp_path) as one:
        first = ObjectPage.model_validate(await one.get("/objects", limit=2))
        assert [found.object for found in first.objects] == named("alice/1", "alice/2")
        assert first.next == f"{BUCKET}/alice/2"
        rest = ObjectPage.model_validate(await one.get("/objects", limit=2, after=first.next))
        assert ([found.object for found in rest.objects], rest.next) == (named("bob/1"), None)


async def test_objects_below_a_prefix_in_one_bucket_or_in_all(tmp_path: Path) -> None:
    async with reads(tmp_path) as one:
        for bucket in (BUCKET, ""):
            found = ObjectPage.model_validate(await one.get("/objects", bucket=bucket, prefix="bob"))
            assert [each.object for each in found.objects] == named("bob/1")
        await one.get("/objects", status=404, bucket="absent")


async def test_an_object_is_explained(tmp_path: Path) -> None:
    async with reads(tmp_path) as one:
        found = Account.model_validate(await one.get("/objects/explain", object=f"{BUCKET}/alice/1"))
        assert (found.tiers, found.fate) == (["disk", "alt"], "undecided")
        problem = await one.get("/objects/explain", status=404, object=f"{BUCKET}/absent")
        assert problem["code"] == "NoSuchKey"
        assert problem["hint"]


async def test_stubs_are_in_the_status_and_in_explanations(tmp_path: Path) -> None:
    async with reads(tmp_path, stubs=StubsSection()) as one:
        await one.rig.purge("alice/1")
        account = Account.model_validate(await one.get("/objects/explain", object=f"{BUCKET}/alice/1"))
        assert (account.tiers, account.stub) == (["alt"], True)
        account = Account.model_validate(await one.get("/objects/explain", object=f"{BUCKET}/bob/1"))
        assert (account.tiers, account.stub) == (["disk", "alt"], None)
        found = Status.model_validate(await one.get("/status"))
        (tier,) = [tier for tier in found.tiers if tier.tier == "stub"]
        assert (tier.objects, tier.max_bytes) == (1, 256 * 2**20)
        assert tier.bytes > 0


async def test_a_pin_is_listed_and_taken_back(tmp_path: Path) -> None:
    async with reads(tmp_path) as one:
        pinned = await one.post("/objects/pin", objects=named("alice/1"))
        assert pinned == {"pinned": named("alice/1"), "until": "forever", "not_on_disk": []}
        assert await one.get("/pins") == [{"name": f"{BUCKET}/alice/1", "until": "forever"}]
        assert (await one.get("/objects", prefix="alice/1"))["objects"][0]["pinned_until"] == "forever"
        await one.post("/objects/unpin", objects=named("alice/1"))
        assert await one.get("/pins") == []


async def test_a_wrong_pin_changes_nothing(tmp_path: Path) -> None:
    async with reads(tmp_path) as one:
        await one.post("/objects/pin", status=404, objects=named("alice/1", "absent"))
        await one.post("/objects/pin", status=400, objects=named("alice/1"), until=1.0)
        await one.post("/objects/pin", status=422, objects=[])
        await one.post("/objects/pin", status=422, objects=["nobucket"])
        await one.post("/objects/pin", status=422, objects=named("alice/1"), untill=1.0)
        assert await one.get("/pins") == []


async def test_objects_are_purged_by_name_unless_they_must_stay(tmp_path: Path) -> None:
    async with reads(tmp_path) as one:
        await one.post("/objects/pin", objects=named("alice/2"))
        answer = await one.post("/objects/purge", objects=named("alice/1", "alice/2", "absent"))
        gone, pinned, absent = MoveResult.model_validate(answer).objects
        assert gone.done
        assert gone.bytes > 0
        assert (pinned.done, pinned.why) == (False, "it is pinned")
        assert (absent.done, absent.why) == (False, "the catalogue knows no such object")
        row = one.rig.row("alice/1")
        assert row is not None
        assert (row.blob, row.purged_by) == (None, "operator")
        again = MoveResult.model_validate(await one.post("/objects/purge", objects=named("alice/1")))
        assert again.objects[0].why == "it is not on disk"


async def test_what_alt_does_not_have_is_not_purged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with reads(tmp_path) as one:
        monkeypatch.setattr(one.rig.alt, "put", down)
        await one.rig.put("carol/1", b"x")
        [stays] = MoveResult.model_validate(await one.post("/objects/purge", objects=named("carol/1"))).objects
        assert (stays.done, stays.why) == (False, "alt does not have it for certain")
        found = Status.model_validate(await one.get("/status"))
        assert found.safety.one_disk.objects == 1
        assert found.safety.oldest_at is not None


async def test_objects_are_fetched_by_name_and_nobody_read_them(tmp_path: Path) -> None:
    async with reads(tmp_path) as one:
        await one.post("/objects/purge", objects=named("alice/1"))
        answer = await one.post("/objects/fetch", objects=named("alice/1", "bob/1", "absent"))
        fetched, there, absent = MoveResult.model_validate(answer).objects
        assert (fetched.done, fetched.bytes) == (True, 700)
        assert (there.done, there.why) == (False, "it is on disk")
        assert not absent.done
        await one.rig.parts.tally.flush()
        found = Account.model_validate(await one.get("/objects/explain", object=f"{BUCKET}/alice/1"))
        assert (found.tiers, found.reads) == (["disk", "alt"], 0)


async def test_a_fetched_object_is_on_disk_when_the_answer_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with reads(tmp_path) as one:
        await one.post("/objects/purge", objects=named("alice/1"))
        fill = one.rig.parts.catalogue.fill

        async def slowly(entry: Entry, *, expected: int | None) -> Entry | None:
            for _ in range(100):
                await asyncio.sleep(0)
            return await fill(entry, expected=expected)

        monkeypatch.setattr(one.rig.parts.catalogue, "fill", slowly)
        [fetched] = MoveResult.model_validate(await one.post("/objects/fetch", objects=named("alice/1"))).objects
        assert fetched.done


# ---------------------------------------------------------------- queue


async def test_the_queue_shows_what_alt_lacks_and_hurries_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with reads(tmp_path) as one:
        assert Queue.model_validate(await one.get("/queue")).jobs == []
        monkeypatch.setattr(one.rig.alt, "put", down)
        await one.rig.put("carol/1", b"x")
        found = Queue.model_validate(await one.get("/queue"))
        assert (found.totals.jobs, [job.name for job in found.jobs]) == (1, named("carol/1"))
        assert await one.post("/queue/hurry", objects=named("carol/1", "absent")) == {"hurried": 1}
        assert await one.post("/queue/hurry") == {"hurried": 1}
        monkeypatch.undo()
        await one.post("/queue/hurry")
        await one.rig.drained()
        assert Queue.model_validate(await one.get("/queue")).totals.jobs == 0


# ---------------------------------------------------------------- stats


async def test_stats_by_everything_agree_on_the_total(tmp_path: Path) -> None:
    async with reads(tmp_path) as one:
        for by in ("age", "owner", "folder"):
            found = StatsTable.model_validate(await one.get("/stats", by=by))
            assert (found.total.objects, found.total.disk_objects) == (3, 3)
            assert sum(row.objects for row in found.rows) == 3
            assert found.computed_at > 0
        await one.get("/stats", by="day")
        await one.get("/stats", status=422, by="rule")
        await one.get("/stats", status=404, bucket="absent")


async def test_all_that_one_look_tells_is_of_one_moment(tmp_path: Path) -> None:
    async with reads(tmp_path) as one:
        found = [await one.get("/stats", by=by) for by in ("age", "owner", "folder")] + [await one.get("/stats/heat")]
        assert len({each["computed_at"] for each in found}) == 1
        assert [each["by"] for each in found[:3]] == ["age", "owner", "folder"]


async def test_stats_are_searched_and_cut(tmp_path: Path) -> None:
    async with reads(tmp_path) as one:
        whole = StatsTable.model_validate(await one.get("/stats", by="age"))
        part = StatsTable.model_validate(await one.get("/stats", by="age", limit=1, search="90D"))
        assert [row.label for row in part.rows] == ["30-90d"]
        assert (part.rows_total, part.total) == (2, whole.total)


async def test_heat_has_a_cell_for_every_age_and_number_of_reads(tmp_path: Path) -> None:
    async with reads(tmp_path) as one:
        await one.rig.get("alice/1")
        await one.rig.parts.tally.flush()
        heat = Heat.model_validate(await one.get("/stats/heat", fresh=True))
        assert (len(heat.ages), len(heat.read_classes)) == (6, 5)
        assert {len(row) for row in heat.cells} == {5}
        young = heat.cells[0]
        assert [cell.objects for cell in young] == [2, 1, 0, 0, 0]
        assert sum(cell.bytes for row in heat.cells for cell in row) == 1900


async def test_fresh_numbers_are_of_now_and_others_may_be_a_little_old(tmp_path: Path) -> None:
    async with reads(tmp_path) as one:
        assert (await one.get("/stats"))["total"]["objects"] == 3
        await one.rig.put("carol/1", b"x")
        assert (await one.get("/stats"))["total"]["objects"] == 3
        assert (await one.get("/stats", fresh=True))["total"]["objects"] == 4


# ---------------------------------------------------------------- who may


@pytest.mark.parametrize("path", ["/objects/pin", "/objects/unpin", "/objects/fetch", "/objects/purge", "/queue/hurry"])
async def test_readers_change_nothing(tmp_path: Path, path: str) -> None:
    async with reads(tmp_path) as one:
        await one.post(path, status=403, client=one.reader, objects=named("alice/1"))
        assert one.rig.row("alice/1") is not None


@pytest.mark.parametrize(
    ("path", "query", "about"),
    [
        ("/series", {"span": "week"}, "query.span"),
        ("/series", {"since": "nan"}, "query.since"),
        ("/series", {"until": "1e300"}, "query.until"),
        ("/objects", {"limit": 1001}, "query.limit"),
        ("/objects", {"state": "lost"}, "query.state"),
        ("/objects/explain", {}, "query.object"),
        ("/queue", {"limit": -1}, "query.limit"),
        ("/pins", {"limit": 0}, "query.limit"),
        ("/stats", {"limit": 99_999_999_999_999_999_999}, "query.limit"),
    ],
)
async def test_wrong_questions_are_told_what_is_wrong(
    tmp_path: Path, path: str, query: dict[str, Any], about: str
) -> None:
    async with reads(tmp_path) as one:
        problem = await one.get(path, status=422, **query)
        assert any(error.startswith(about) for error in problem["errors"]), problem


async def test_every_route_says_in_openapi_what_it_is_for(tmp_path: Path) -> None:
    async with reads(tmp_path) as one:
        document = await one.get("/openapi.json")
        for path, methods in document["paths"].items():
            for operation in methods.values():
                assert operation["summary"], path
                assert len(operation["description"]) > 30, path


async def test_names_are_any_unicode(tmp_path: Path) -> None:
    async with reads(tmp_path) as one:
        await one.rig.put("ünï/✉ a&b", b"x")
        target = str(ObjectName(BUCKET, "ünï/✉ a&b"))
        assert (await one.get("/objects/explain", object=target))["object"] == target
        assert (await one.get("/objects", prefix="ünï"))["objects"][0]["object"] == target
        assert (await one.post("/objects/pin", objects=[target]))["pinned"] == [target]


@pytest.mark.parametrize("name", ['"mail/\\ud800"', '"mail/\\u0000"', '"mail/' + "x" * 1083 + '"'])
@pytest.mark.parametrize("path", ["/objects/pin", "/objects/fetch", "/objects/purge", "/queue/hurry"])
async def test_names_that_no_object_has_are_no_trouble(tmp_path: Path, path: str, name: str) -> None:
    async with reads(tmp_path) as one:
        answer = await one.operator.post(
            f"/api{path}", content=f'{{"objects": [{name}]}}', headers={"content-type": "application/json"}
        )
        assert answer.status_code in {200, 404, 422}, answer.text


@pytest.mark.parametrize(
    "query", ["bucket=%00", "prefix=%ff", "after=%ed%a0%80", "after=mail/%00", "owner=%F4%8F%BF%BF"]
)
async def test_questions_that_find_nothing_are_no_trouble(tmp_path: Path, query: str) -> None:
    async with reads(tmp_path) as one:
        answer = await one.reader.get(f"/api/objects?{query}")
        assert answer.status_code in {200, 400, 404, 422}, answer.text
