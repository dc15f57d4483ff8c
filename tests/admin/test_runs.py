"""/purge and /runs: planned, asked for, followed, confirmed, ended, undone; each at once, not at the next look."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.admin.changing import ALL, RULES, changing, on_disk, settled, stored
from tierproxy.purges import PurgeRun, RunKind, RunState

# ---------------------------------------------------------------- dry run


async def test_the_plan_says_what_would_go_and_removes_nothing(tmp_path: Path) -> None:
    async with changing(tmp_path) as node:
        keys = await stored(node, 3)
        plan = await node.get("/purge/plan", limit=2)
        assert plan["rules"][0] | {"reads_30d": 0} == plan["rules"][0]
        assert (plan["rules"][0]["rule"], plan["total"]["objects"]) == ("large", 3)
        assert [one["object"] for one in plan["objects"]] == ["mail/alice/0000", "mail/alice/0001"]
        assert (await node.get("/purge/plan", target="mail/bob/"))["total"]["objects"] == 0
        assert on_disk(node, keys) == set(keys)


async def test_wrong_wishes_are_refused_in_words(tmp_path: Path) -> None:
    async with changing(tmp_path) as node:
        assert "no rule that purges" in (await node.get("/purge/plan", 422, rule="absent"))["detail"]
        assert "say of which" in (await node.get("/purge/plan", 422, everything=True))["detail"]
        await node.get("/purge/plan", 404, target="absent/")
        await node.post("/runs", 422, rule="absent")
        await node.post("/runs", 404, target="absent/")
        await node.post("/runs", 422, target="/nothing")
        await node.post("/runs", 403, client=node.reader)
        assert await node.get("/runs") == []


# ---------------------------------------------------------------- runs


async def test_a_run_begins_at_once_and_its_events_end_with_it(tmp_path: Path) -> None:
    async with changing(tmp_path) as node:
        keys = await stored(node, 3)
        asked = await node.post("/runs", 202, target="mail/alice/", reason="spring")
        assert (asked["state"], asked["author"], asked["reason"]) == ("asked", "ann", "spring")
        seen = await node.events(f"/runs/{asked['number']}/events")
        assert seen[-1]["state"] == "done"
        assert seen[-1]["objects"] == 3
        assert on_disk(node, keys) == set()
        one = await node.get(f"/runs/{asked['number']}")
        assert one["by_rule"] == [{"by": "rule:large", "rule": "", "objects": 3, "bytes": one["bytes"]}]
        [listed] = await node.get("/runs")
        assert listed == one | {"by_rule": None}
        assert await node.get("/runs", open=True) == []
        assert (await node.get("/purge/plan", fresh=True))["total"]["objects"] == 0


async def test_what_was_counted_before_a_run_is_counted_anew_after_it(tmp_path: Path) -> None:
    async with changing(tmp_path) as node:
        await stored(node, 3)
        assert (await node.get("/purge/plan"))["total"]["objects"] == 3
        number = (await node.post("/runs", 202))["number"]
        await settled(lambda: node.run(number).state is RunState.DONE)
        plans = [kept for question, kept in node.snapshots._kept.items() if question[0] == "plan"]  # type: ignore[index]
        assert plans
        await settled(lambda: all(kept.stale for kept in plans))


async def test_a_run_that_waits_goes_on_when_it_is_confirmed(tmp_path: Path) -> None:
    async with changing(tmp_path, text=ALL) as node:
        keys = await stored(node, 3)
        for key in keys:
            await node.rig.get(key)
        await node.rig.parts.tally.flush()
        number = (await node.post("/runs", 202))["number"]
        await settled(lambda: node.run(number).state is RunState.WAITING)
        assert on_disk(node, keys) == set(keys)
        assert (await node.get("/purge/plan"))["asks_first"] is True
        await node.post(f"/runs/{number}/confirm")
        assert (await node.events(f"/runs/{number}/events"))[-1]["state"] == "done"
        assert on_disk(node, keys) == set()
        await node.post(f"/runs/{number}/confirm", 409)


async def test_a_confirmed_wish_confirms_the_run_that_waits_for_it(tmp_path: Path) -> None:
    async with changing(tmp_path, text=ALL) as node:
        keys = await stored(node, 2)
        await node.rig.get(keys[0])
        await node.rig.parts.tally.flush()
        number = (await node.post("/runs", 202))["number"]
        await settled(lambda: node.run(number).state is RunState.WAITING)
        assert (await node.post("/runs", 202, confirmed=True))["number"] == number
        assert (await node.events(f"/runs/{number}/events"))[-1]["state"] == "done"


async def test_a_run_ends_when_it_is_cancelled(tmp_path: Path) -> None:
    async with changing(tmp_path, max_objects_per_second=1) as node:
        keys = await stored(node, 6)
        number = (await node.post("/runs", 202))["number"]
        await settled(lambda: node.run(number).objects)
        await node.post(f"/runs/{number}/cancel")
        assert (await node.events(f"/runs/{number}/events"))[-1]["state"] == "cancelled"
        assert on_disk(node, keys)
        await node.post(f"/runs/{number}/cancel", 409)


async def test_pressure_is_not_cancelled_and_what_is_not_there_is_404(tmp_path: Path) -> None:
    async with changing(tmp_path) as node:
        pressure = await node.rig.parts.catalogue.add_run(PurgeRun(0, RunKind.PRESSURE, RunState.RUNNING, 1.0))
        problem = await node.post(f"/runs/{pressure.number}/cancel", 409)
        assert "pressure" in problem["detail"]
        for path in ("confirm", "cancel", "undo"):
            await node.post(f"/runs/99/{path}", 404)
        await node.get("/runs/99", 404)
        await node.get("/runs/99/events", 404)


# ---------------------------------------------------------------- undo


async def test_undo_brings_back_what_that_run_removed_and_nothing_else(tmp_path: Path) -> None:
    async with changing(tmp_path) as node:
        keys = await stored(node, 5)
        await node.rig.purge(keys[4])  # by hand: no run's
        number = (await node.post("/runs", 202))["number"]
        await node.events(f"/runs/{number}/events")
        await node.rig.get(keys[0])
        await node.rig.idle()
        job = await node.post(f"/runs/{number}/undo", 202)
        assert (job["kind"], job["title"]) == ("warm", f"undo run {number}")
        last = (await node.events(f"/jobs/{job['id']}/events"))[-1]
        assert last["state"] == "done", last
        assert (last["result"]["fetched"], last["result"]["failed"]) == (3, 0)
        await node.rig.idle()
        assert on_disk(node, keys) == set(keys[:4])
        await node.rig.parts.tally.flush()
        row = node.rig.row(keys[1])
        assert row is not None
        assert row.reads == 0, "a prefetch is nobody's read"


async def test_a_warm_up_can_be_cancelled_and_says_what_it_did(tmp_path: Path) -> None:
    async with changing(tmp_path) as node:
        keys = await stored(node, 8)
        await node.rig.purge()
        node.served.rig.parts.store.open = _never  # type: ignore[assignment, method-assign]
        job = await node.post("/jobs/warm", 202, target="mail/alice/")
        await settled(lambda: node.jobs.job(job["id"]).state == "running")
        ended = await node.post(f"/jobs/{job['id']}/cancel")
        assert ended["state"] == "cancelled"
        assert ended["result"]["stopped"] == "cancelled"
        assert on_disk(node, keys) == set()


async def _never(*_: object, **__: object) -> None:
    await asyncio.Event().wait()


async def test_a_warm_up_fetches_below_a_prefix_within_its_limit(tmp_path: Path) -> None:
    async with changing(tmp_path) as node:
        keys = await stored(node, 4, size=10_000)
        await node.rig.put("bob/1", b"elsewhere")
        await node.rig.drained()
        await node.rig.purge()
        job = await node.post("/jobs/warm", 202, target="mail/alice/", max_bytes=20_000)
        last = (await node.events(f"/jobs/{job['id']}/events"))[-1]
        assert (last["result"]["fetched"], last["result"]["bytes"]) == (2, 20_000)
        assert "limit" in last["result"]["stopped"]
        await node.rig.idle()
        assert len(on_disk(node, [*keys, "bob/1"])) == 2


async def test_wrong_warm_ups_are_refused(tmp_path: Path) -> None:
    async with changing(tmp_path, text=RULES) as node:
        await node.post("/jobs/warm", 422)
        await node.post("/jobs/warm", 422, target="mail", run=1)
        await node.post("/jobs/warm", 404, target="absent")
        await node.post("/jobs/warm", 404, run=9)
        await node.post("/jobs/warm", 403, client=node.reader, target="mail")
