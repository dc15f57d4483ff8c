"""A whole node with a file of its own, mails, rules, versions and a run: for who attacks its admin port."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.admin.changing import settled
from tests.admin.served import ANN, BOB, OPERATOR_TOKEN, PASSWORD, READER_TOKEN, bearer
from tierproxy.alt.memory import MemoryAlt
from tierproxy.clock import SystemClock
from tierproxy.config.operators import AdminSection
from tierproxy.config.sections import AltSection, ListenSection, PurgeSection
from tierproxy.config.values import Duration
from tierproxy.node import Node
from tierproxy.testing.rig import BUCKET, Rig, config_for
from tierproxy.wiring import build

RULES = '[[rule]]\nname = "large"\nwhen = { size = ">= 500B" }\nthen = "purge"\n\n[budget]\nmin_on_disk = "0s"\n'
PATIENCE = 60.0  #: seconds for an answer: the desk's threads wait for everything else on the machine
OTHER = RULES.replace("500B", "600B")


@dataclass
class Whole:
    """``operator`` and ``reader`` send their tokens, ``stranger`` nothing."""

    node: Node
    rig: Rig
    root: Path
    url: str
    operator: httpx.AsyncClient
    reader: httpx.AsyncClient
    stranger: httpx.AsyncClient

    @property
    def address(self) -> tuple[str, int]:
        place = httpx.URL(self.url)
        assert place.port is not None
        return place.host, place.port

    async def schema(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.reader.get("/api/openapi.json")).json()
        return found

    async def exchange(self, *pieces: bytes) -> bytes:
        """What comes back over one connection until the node closes it."""
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            async with asyncio.timeout(60):
                return await reader.read()
        finally:
            writer.close()


@asynccontextmanager
async def whole(root: Path, *, config_file: Path | None = None, **admin: Any) -> AsyncIterator[Whole]:
    """Started; ``admin`` are options of ``[admin]``."""
    rules, shadow = root / "rules.toml", root / "shadow.toml"
    rules.write_text(RULES)
    config = config_for(
        root / "data", listen=ListenSection(address="127.0.0.1:0", auth="none"), account=(ANN, BOB),
        admin=AdminSection(**{"address": "127.0.0.1:0", **admin}), alt=AltSection(check_at_start=False),
        purge=PurgeSection(rules=str(rules), shadow=str(shadow), watch=Duration(3600.0)),
    )  # fmt: skip
    alt = MemoryAlt()
    node = build(config, clock=SystemClock(), alt=alt, config_file=config_file)
    await node.start()
    try:
        url = json.loads((root / "data" / "admin.json").read_text())["url"]
        async with (
            httpx.AsyncClient(base_url=url, headers=bearer(OPERATOR_TOKEN), timeout=PATIENCE) as operator,
            httpx.AsyncClient(base_url=url, headers=bearer(READER_TOKEN), timeout=PATIENCE) as reader,
            httpx.AsyncClient(base_url=url, timeout=PATIENCE) as stranger,
        ):
            yield Whole(node, Rig(node, alt, root / "data"), root, url, operator, reader, stranger)
    finally:
        await node.stop(1)


async def lived_in(one: Whole) -> None:
    """Mails on disk, two versions of rules, and a run that removed some."""
    for key in ("alice/1", "alice/2", "bob/1", "bob/<script>alert(1)</script>", "bob/\u2028'\"&"):
        await one.rig.put(key, key.encode() * 60)
    await one.rig.drained()
    for path, body in (
        ("/api/rules/apply", {"text": OTHER, "reason": "a second version"}),
        ("/api/rules/apply", {"text": RULES, "kind": "shadow"}),
        ("/api/runs", {"target": f"{BUCKET}/alice/1", "everything": True, "confirmed": True}),
    ):
        answer = await one.operator.post(path, json=body)
        assert answer.is_success, answer.text
    await settled(lambda: not one.rig.parts.catalogue.runs(10, open_only=True))
    await one.rig.idle()


async def session(one: Whole, name: str) -> dict[str, str]:
    """Headers of a browser that ``name`` has logged in: the cookie, and what a page of the site sends with changes."""
    answer = await one.stranger.post("/api/login", json={"name": name, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    one.stranger.cookies.clear()
    cookie = answer.headers["set-cookie"].partition(";")[0]
    return {"cookie": cookie, "x-csrf-token": answer.json()["csrf"], "origin": one.url}
