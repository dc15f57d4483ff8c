"""Long work asked for over the port of a node: the commands themselves as its children."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.aged import purge_section
from tests.cli.live import Live, live_node, until
from tierproxy.alt.memory import MemoryAlt
from tierproxy.cli.node import NodeClient, far
from tierproxy.config.environment import CONFIG_FILE
from tierproxy.wire.whatif import Candidate, Curve, CurveWish, HistoryWish, Job, SimulateWish, Simulation


def _done(client: NodeClient, path: str, wish: Any) -> Job:
    job = client.post(Job, path, wish)
    *_, (_, last) = client.events(f"/jobs/{job.id}/events")
    return Job.model_validate(last)


def _client(running: Live) -> NodeClient:
    found = far(running.config)
    assert found is not None
    return found


def test_what_is_asked_for_is_what_the_commands_answer(
    aged: Path, rules: Path, alt: MemoryAlt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONFIG_FILE, str(aged))  # what a node is started with, its children are
    with live_node(aged.parent, alt, sections={"purge": purge_section(rules)}) as running:
        client = _client(running)
        counted = _done(client, "/jobs/history", HistoryWish(since=0.0))
        assert counted.state == "done", counted.error
        assert counted.result is not None
        curve = _done(client, "/jobs/curve", CurveWish())
        assert curve.state == "done", curve.error
        assert Curve.model_validate(curve.result).events > 0
        simulated = _done(client, "/jobs/simulate", SimulateWish(policies=["lru"]))
        assert simulated.state == "done", simulated.error
        assert {one.name for one in Simulation.model_validate(simulated.result).outcomes} >= {"lru"}
        wrong = Candidate(name="mine", text='[[rule]]\nname = "a"\nwhen = { colour = "red" }\nthen = "purge"\n')
        refused = _done(client, "/jobs/simulate", SimulateWish(candidates=[wrong]))
        assert refused.state == "failed"
        assert [fault.line for fault in refused.faults] == [3]
        until(lambda: not [job for job in client.get(list[Job], "/jobs") if job.ended_at is None])
