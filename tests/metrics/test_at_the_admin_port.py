"""/metrics where Prometheus finds it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import httpx

from tests.metrics.watched import Scrape, watched
from tierproxy.config.operators import AdminSection

ADMIN = AdminSection(address="127.0.0.1:0", metrics="open")


async def test_a_scrape_counts_what_clients_did(tmp_path: Path) -> None:
    async with watched(tmp_path, admin=ADMIN) as rig, httpx.AsyncClient(timeout=60) as client:
        base = f"{rig.node.url}/mail/u.1"
        await client.put(base, content=b"x" * 100)
        for _ in range(3):
            await client.get(base)
        await client.get(base + "none")
        admin = rig.node.admin
        assert admin is not None
        answer = await client.get(f"{admin.url}/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found = Scrape(answer.content)
    assert found.value("tierproxy_http_responses_total", code="200") == 4
    assert found.value("tierproxy_http_responses_total", code="404") == 1
    assert found.value("tierproxy_http_connections") == 1
    assert found.value("tierproxy_http_requests_in_progress") == 0


async def test_without_a_login_nobody_reads_them_unless_the_door_is_open(tmp_path: Path) -> None:
    async with watched(tmp_path, admin=replace(ADMIN, metrics="login")) as rig, httpx.AsyncClient(timeout=60) as client:
        admin = rig.node.admin
        assert admin is not None
        answer = await client.get(f"{admin.url}/metrics")
        assert answer.status_code == 401
        token = (rig.root / "admin.token").read_text().strip()
        answer = await client.get(f"{admin.url}/metrics", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 200
