"""/jobs: the commands that run beside the node, as the API shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.admin.changing import changing
from tierproxy.admin.routers import jobs as routes


@pytest.fixture
def good(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in is told what to do by its first argument, which is the command's name."""
    monkeypatch.setattr(routes.Desks, "ask", _as_good(routes.Desks.ask))


def _as_good(ask: Any) -> Any:
    return lambda desks, kind, author, arguments, wish: ask(desks, kind, author, ("good", *arguments), wish)


@pytest.mark.usefixtures("good")
async def test_each_kind_runs_its_command_with_its_wish(tmp_path: Path) -> None:
    wishes: dict[str, dict[str, Any]] = {
        "simulate": {"policies": ["lru"], "since": 1.0}, "curve": {"until": 2.0}, "advise": {"held_out": 0.5},
        "history": {"since": 0.0},
    }  # fmt: skip
    async with changing(tmp_path) as node:
        for kind, wish in wishes.items():
            asked = await node.post(f"/jobs/{kind}", 202, client=node.reader, **wish)
            last = (await node.events(f"/jobs/{asked['id']}/events"))[-1]
            assert last["state"] == "done", last
            assert {**last["result"]["wish"], **wish} == last["result"]["wish"]
            arguments = last["result"]["arguments"]
            assert arguments[0] == kind
            assert "--json" in arguments
            assert ("--wish" in arguments) == (kind != "history")
        assert arguments == ["history", "stats", "--since", "1970-01-01T00:00:00", "--json"]
        listed = await node.get("/jobs")
        assert [one["kind"] for one in listed] == ["history", "advise", "curve", "simulate"]
        assert all(one["result"] is None and one["author"] == "bob" for one in listed)
        assert len(await node.get("/jobs", kind="curve")) == 1
        assert (await node.get(f"/jobs/{listed[0]['id']}"))["result"]


@pytest.mark.usefixtures("good")
async def test_who_may_read_ends_only_their_own_job(tmp_path: Path) -> None:
    async with changing(tmp_path) as node, node.jobs._lines.setdefault("children", _lock()):
        mine = await node.post("/jobs/curve", 202, client=node.reader)
        theirs = await node.post("/jobs/curve", 202)
        await node.post(f"/jobs/{theirs['id']}/cancel", 403, client=node.reader)
        assert (await node.post(f"/jobs/{mine['id']}/cancel", client=node.reader))["state"] == "cancelled"
        await node.post(f"/jobs/{theirs['id']}/cancel")
        await node.post(f"/jobs/{theirs['id']}/cancel", 409)


def _lock() -> Any:
    import asyncio

    return asyncio.Lock()


async def test_wrong_wishes_and_unknown_jobs(tmp_path: Path) -> None:
    async with changing(tmp_path) as node:
        problem = await node.post("/jobs/simulate", 422, sample=2)
        assert "sample" in problem["detail"]
        await node.post("/jobs/advise", 422, helt_out=0.5)
        await node.get("/jobs/absent", 404)
        await node.get("/jobs/absent/events", 404)
        await node.post("/jobs/absent/cancel", 404)


async def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    async with changing(tmp_path) as node:
        node_wrong = await node.post("/jobs/curve", 202)
        last = (await node.events(f"/jobs/{node_wrong['id']}/events"))[-1]
        assert last["state"] == "failed", "the stand-in knows no curve and says nothing"
        assert "no JSON" in last["error"]


async def test_every_operation_is_described_for_a_person(tmp_path: Path) -> None:
    async with changing(tmp_path) as node:
        document = await node.get("/openapi.json")
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if path.startswith(("/api/rules", "/api/runs", "/api/purge", "/api/jobs")):
                assert operation["summary"], (method, path)
                assert len(operation["description"]) > 20, (method, path)
                assert operation["tags"] in (["rules"], ["runs"], ["jobs"])
