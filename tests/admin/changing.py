"""A node with rules, mails and the routers that change things, for their tests."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.admin.served import ANN, BOB, OPERATOR_TOKEN, READER_TOKEN, Served, bearer, served
from tierproxy.admin.app import Site
from tierproxy.admin.children import Children
from tierproxy.admin.jobs import Jobs
from tierproxy.admin.routers.jobs import Desks, jobs_router
from tierproxy.admin.routers.purge import purge_router
from tierproxy.admin.routers.rules import rules_router
from tierproxy.admin.routers.runs import runs_router
from tierproxy.admin.services import Services
from tierproxy.admin.snapshots import Snapshots
from tierproxy.config.sections import PurgeSection
from tierproxy.config.values import Duration
from tierproxy.offload import ThreadPool
from tierproxy.purges import PurgeRun
from tierproxy.testing.rig import Rig

PROGRAM = Path(__file__).with_name("program.py")
RULES = '[[rule]]\nname = "large"\nwhen = { size = ">= 100KiB" }\nthen = "purge"\n'
OTHER = RULES.replace("100KiB", "200KiB")
ALL = '[[rule]]\nname = "all"\nwhen = { size = ">= 0" }\nthen = "purge"\n'
FAR_OFF = 3600.0  #: seconds between the node's own looks: whatever is done sooner, was hurried


@dataclass
class Changed:
    """``operator`` and ``reader`` send their tokens."""

    served: Served
    jobs: Jobs
    snapshots: Snapshots
    operator: httpx.AsyncClient
    reader: httpx.AsyncClient
    rules: Path
    shadow: Path

    @property
    def rig(self) -> Rig:
        return self.served.rig

    def run(self, number: int) -> PurgeRun:
        """Its row."""
        found = self.rig.parts.catalogue.run(number)
        assert found is not None
        return found

    @property
    def in_force(self) -> int:
        return self.rig.parts.purges.live.in_force.number

    async def post(self, path: str, status: int = 200, client: httpx.AsyncClient | None = None, **body: Any) -> Any:
        answer = await (client or self.operator).post(f"/api{path}", json=body)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def get(self, path: str, status: int = 200, **query: Any) -> Any:
        answer = await self.reader.get(f"/api{path}", params=query)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def events(self, path: str) -> list[Any]:
        """All documents of a stream, to its end."""
        async with self.reader.stream("GET", f"/api{path}") as answer:
            assert answer.status_code == 200
            return [json.loads(line[6:]) async for line in answer.aiter_lines() if line.startswith("data: ")]


@asynccontextmanager
async def changing(root: Path, *, text: str | None = RULES, **purge: Any) -> AsyncIterator[Changed]:
    """A served node whose rule files are below ``root``; ``text``: the live one's, None: there is none configured."""
    rules, shadow = root / "rules.toml", root / "shadow.toml"
    files = {} if text is None else {"rules": str(rules), "shadow": str(shadow)}
    if text is not None:
        rules.write_text(text)
    settings = PurgeSection(**{"watch": Duration(FAR_OFF), **files, **purge})
    kept: list[tuple[Jobs, Snapshots]] = []
    threads, texts = ThreadPool("jobs", 1), ThreadPool("texts", 1)

    def site(one: Rig, services: Services) -> Site:
        jobs = Jobs(services.clock)
        snapshots = Snapshots(services.desk, services.clock)
        kept.append((jobs, snapshots))
        program = (sys.executable, str(PROGRAM))
        return Site(
            api=(
                rules_router(services, snapshots, texts), purge_router(services, snapshots),
                runs_router(services, jobs, snapshots), jobs_router(Desks(services, jobs, Children(threads), program)),
            )
        )  # fmt: skip

    async with (
        served(root, accounts=(ANN, BOB), make_site=site, sections={"purge": settings}) as one,
        one.fresh(headers=bearer(OPERATOR_TOKEN)) as operator,
        one.fresh(headers=bearer(READER_TOKEN)) as reader,
    ):
        try:
            yield Changed(one, *kept[0], operator, reader, rules, shadow)
        finally:
            await kept[0][0].stop()
            await kept[0][1].close()
            await threads.close()
            await texts.close()


async def stored(changed: Changed, count: int, size: int = 120_000) -> list[str]:
    """Mails that alt has, on disk."""
    keys = [f"alice/{number:04}" for number in range(count)]
    for key in keys:
        await changed.rig.put(key, key.encode().ljust(size, b"."))
    await changed.rig.drained()
    return keys


def on_disk(changed: Changed, keys: list[str]) -> set[str]:
    return {key for key in keys if (row := changed.rig.row(key)) is not None and row.blob is not None}


async def settled(look: Any) -> None:
    """Until ``look()`` holds, for a minute at most."""
    for _ in range(6000):
        if look():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not within a minute")
