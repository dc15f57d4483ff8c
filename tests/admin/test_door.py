"""Who is let in: roles, CSRF, hosts, proxies, and that nothing is public by mistake."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import pytest
from fastapi import APIRouter, Depends

from tests.admin.served import OPERATOR_TOKEN, READER_TOKEN, bearer, served, trial_router
from tierproxy.admin.app import Site, refuse_unguarded
from tierproxy.admin.callers import Caller, require
from tierproxy.admin.doorkeeper import AT_ONCE, MAX_BODY, STRANGERS
from tierproxy.testing.wire import until

PROXY = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https", "x-forwarded-host": "tiers.example.com"}


async def test_nothing_is_public_but_health_the_login_page_and_the_login(tmp_path: Path) -> None:
    async with served(tmp_path) as one:
        document = (await one.http.get("/api/openapi.json", headers=bearer(READER_TOKEN))).json()
        paths = [*document["paths"], "/metrics", "/api/openapi.json", "/", "/nothing", "/api/nothing", "/static/x/y.js"]
        assert len(paths) > 8
        open_paths = []
        for path in paths:
            for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
                answer = await one.http.request(method, path)
                if answer.status_code != 401:
                    open_paths.append((method, path))
        assert {path for _, path in open_paths} == {"/api/login"}
        assert (await one.http.get("/health")).text == "ok"
        page = (await one.http.get("/login")).text
        assets = [part.split('"')[0] for part in page.split('="')[1:] if part.startswith("/static/")]
        assert len(assets) == 2
        for asset in assets:
            found = await one.http.get(asset)
            assert found.status_code == 200
            assert "immutable" in found.headers["cache-control"]
        folder = assets[0].rpartition("/")[0]
        assert (await one.http.get(folder + "/%2e%2e/secret.js")).status_code in {401, 404}


async def test_health_tells_nothing_but_whether_the_node_serves(tmp_path: Path) -> None:
    async with served(tmp_path) as one:
        one.rig.parts.ready = False
        answer = await one.http.get("/health")
        assert (answer.status_code, answer.text) == (503, "starting")


async def test_a_page_without_login_leads_to_the_login_and_back(tmp_path: Path) -> None:
    async with served(tmp_path) as one:
        answer = await one.http.get("/queue", headers={"accept": "text/html"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/queue")


async def test_reading_is_not_operating(tmp_path: Path) -> None:
    async with served(tmp_path) as one:
        headers = await one.log_in("bob")
        assert (await one.http.get("/api/trial/look")).status_code == 200
        refused = await one.http.post("/api/trial/change", json={"days": 1}, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "NotAllowed")
        refused = await one.http.post("/api/trial/change", json={"days": 1}, headers=bearer(READER_TOKEN))
        assert refused.status_code == 403


@pytest.mark.parametrize(
    ("drop", "add", "status"),
    [
        ((), {}, 200),
        (("x-csrf-token",), {}, 403),
        ((), {"x-csrf-token": "wrong"}, 403),
        (("origin",), {}, 403),
        (("origin",), {"sec-fetch-site": "same-origin"}, 200),
        ((), {"sec-fetch-site": "cross-site"}, 403),
        ((), {"sec-fetch-site": "same-site"}, 403),
        ((), {"origin": "http://evil.example"}, 403),
        ((), {"origin": "null"}, 403),
    ],
)
async def test_a_change_by_cookie_must_come_from_our_own_page(
    tmp_path: Path, drop: tuple[str, ...], add: dict[str, str], status: int
) -> None:
    async with served(tmp_path) as one:
        headers = await one.log_in("ann")
        sent = {name: value for name, value in headers.items() if name not in drop} | add
        answer = await one.http.post("/api/trial/change", json={"days": 1}, headers=sent)
        assert answer.status_code == status, answer.text


async def test_another_sites_page_cannot_log_a_browser_in(tmp_path: Path) -> None:
    async with served(tmp_path) as one:
        wish = {"token": OPERATOR_TOKEN}
        for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}):
            assert (await one.http.post("/api/login", json=wish, headers=headers)).status_code == 403
        form = await one.http.post("/api/login", data=wish)
        assert form.status_code == 422


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:9301", 200), ("127.0.0.1", 200), ("[::1]:9301", 200), ("10.1.2.3", 200),
        ("tiers.example.com", 200), ("TIERS.example.com:443", 200),
        ("evil.example", 421), ("tiers.example.com.evil.example", 421), ("localhost.evil.example", 421),
        ("127.0.0.1@evil.example", 400), ("", 400),
    ],
)  # fmt: skip
async def test_a_name_that_is_not_ours_is_refused(tmp_path: Path, host: str, status: int) -> None:
    async with served(tmp_path, allowed_hosts=("tiers.example.com",)) as one:
        for path in ("/health", "/login", "/api/session"):
            answer = await one.http.get(path, headers={"host": host, **bearer(READER_TOKEN)})
            assert answer.status_code == status, answer.text


async def test_a_proxy_that_is_named_speaks_for_its_clients(tmp_path: Path) -> None:
    hosts = ("tiers.example.com",)
    async with served(tmp_path, behind_proxy=("127.0.0.1",), allowed_hosts=hosts) as one:
        answer = await one.http.post("/api/login", json={"token": OPERATOR_TOKEN}, headers=PROXY)
        assert "__Host-tierproxy=" in answer.headers["set-cookie"]
        assert "; Secure" in answer.headers["set-cookie"]
        changed = {
            "x-csrf-token": answer.json()["csrf"], "origin": "https://tiers.example.com",
            "cookie": answer.headers["set-cookie"].partition(";")[0],
        }  # fmt: skip
        assert (await one.http.post("/api/trial/change", json={"days": 1}, headers=PROXY | changed)).status_code == 200
        foreign = PROXY | changed | {"origin": one.url}
        assert (await one.http.post("/api/trial/change", json={"days": 1}, headers=foreign)).status_code == 403
        plain = PROXY | {"x-forwarded-proto": "http"}
        assert (await one.http.get("/login", headers=plain)).status_code == 403
        wrong = PROXY | {"x-forwarded-host": "evil.example"}
        assert (await one.http.get("/login", headers=wrong)).status_code == 421


async def test_without_a_named_proxy_its_headers_are_nobodys(tmp_path: Path) -> None:
    async with served(tmp_path) as one:
        answer = await one.http.post("/api/login", json={"token": OPERATOR_TOKEN}, headers=PROXY)
        assert "__Host-" not in answer.headers["set-cookie"]


async def test_behind_a_proxy_nobody_else_is_let_in(tmp_path: Path) -> None:
    hosts = ("tiers.example.com",)
    async with served(tmp_path, behind_proxy=("10.0.0.5",), allowed_hosts=hosts) as one:
        keeper = one.port.app
        scope = {"type": "http", "scheme": "http", "headers": [(b"host", b"10.0.0.1")], "client": ("10.0.0.9", 1)}
        with pytest.raises(Exception, match="through its proxy"):
            keeper._origins.of(scope)  # type: ignore[attr-defined]
        scope["client"] = ("10.0.0.5", 1)
        keeper._origins.of(scope)  # type: ignore[attr-defined]
        assert (await one.http.get("/health")).status_code == 200, "this machine's command line"


async def test_the_last_address_a_proxy_of_ours_did_not_write_is_the_clients(tmp_path: Path) -> None:
    hosts = ("tiers.example.com",)
    async with served(tmp_path, behind_proxy=("10.0.0.0/24",), allowed_hosts=hosts) as one:
        headers = PROXY | {"x-forwarded-for": "1.1.1.1, 203.0.113.9, 10.0.0.7"}
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "scheme": "http", "headers": raw, "client": ("10.0.0.5", 1)}
        assert one.port.app._origins.of(scope).address == "203.0.113.9"  # type: ignore[attr-defined]


async def test_metrics_are_open_only_when_that_is_said(tmp_path: Path) -> None:
    async with served(tmp_path) as one:
        assert (await one.http.get("/metrics")).status_code == 401
        assert (await one.http.get("/metrics", headers=bearer(READER_TOKEN))).status_code == 200
    async with served(tmp_path, metrics="open") as one:
        assert (await one.http.get("/metrics")).status_code == 200


async def test_every_answer_has_the_headers_of_a_careful_site(tmp_path: Path) -> None:
    async with served(tmp_path) as one:
        for path in ("/login", "/api/session", "/health", "/api/nothing"):
            headers = (await one.http.get(path, headers=bearer(READER_TOKEN))).headers
            policy = headers["content-security-policy"]
            assert "script-src 'self';" in policy
            assert "frame-ancestors 'none'" in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["cache-control"] == "no-store"
        assert "unsafe" not in (await one.http.get("/login")).headers["content-security-policy"]


async def test_errors_are_problem_documents_without_the_inside(tmp_path: Path) -> None:
    async with served(tmp_path) as one:
        refused = await one.http.get("/api/trial/refuse", headers=bearer(READER_TOKEN))
        assert refused.headers["content-type"] == "application/problem+json"
        assert (refused.status_code, refused.json()["code"], refused.json()["hint"]) == (
            422, "ConfigError", "write it again",
        )  # fmt: skip
        broken = await one.http.get("/api/trial/break", headers=bearer(READER_TOKEN))
        assert (broken.status_code, broken.json()["code"]) == (500, "InternalError")
        assert "inside" not in broken.text
        wrong = await one.http.post("/api/trial/change", json={"days": "many"}, headers=bearer(OPERATOR_TOKEN))
        assert wrong.status_code == 422
        assert wrong.json()["errors"] == [
            "body.days: Input should be a valid integer, unable to parse string as an integer"
        ]
        assert "many" not in wrong.text


async def test_a_body_has_a_limit_whether_it_says_its_length_or_not(tmp_path: Path) -> None:
    async def pieces() -> object:
        for _ in range(MAX_BODY // 65536 + 1):
            yield b" " * 65536

    async with served(tmp_path) as one:
        long = await one.http.post("/api/trial/change", content=b" " * (MAX_BODY + 1), headers=bearer(OPERATOR_TOKEN))
        assert long.status_code == 413
        answer = await one.http.post(
            "/api/trial/change", content=pieces(), headers=bearer(OPERATOR_TOKEN) | {"content-type": "application/json"}  # type: ignore[arg-type]
        )  # fmt: skip
        assert answer.status_code == 413


def test_a_route_that_asks_for_no_role_is_a_mistake_that_is_seen_at_once() -> None:
    router = APIRouter()

    @router.get("/open")
    async def open_() -> str:
        return ""

    outer = APIRouter()
    outer.include_router(router)
    for one in (router, outer):
        with pytest.raises(ValueError, match="which role"):
            refuse_unguarded(one)
    refuse_unguarded(trial_router())


def test_a_route_that_would_take_a_thread_is_refused() -> None:
    router = APIRouter()

    @router.get("/slow")
    def slow(caller: Annotated[Caller, Depends(require("read"))]) -> str:
        return caller.name

    with pytest.raises(ValueError, match="no coroutine"):
        refuse_unguarded(router)


async def test_openapi_says_how_to_log_in_and_what_errors_look_like(tmp_path: Path) -> None:
    async with served(tmp_path, site=Site(api=(trial_router(),))) as one:
        document = (await one.http.get("/api/openapi.json", headers=bearer(READER_TOKEN))).json()
        assert set(document["components"]["securitySchemes"]) == {"bearer", "session"}
        assert document["security"] == [{"bearer": []}, {"session": []}]
        without = [path for path, methods in document["paths"].items() if methods.get("post", {}).get("security") == []]
        assert without == ["/api/login"]
        change = document["paths"]["/api/trial/change"]["post"]["responses"]
        assert "application/problem+json" in change["default"]["content"]
        assert "HTTPValidationError" not in document["components"]["schemas"]


async def test_a_body_that_says_it_is_too_long_is_not_waited_for(tmp_path: Path) -> None:
    async with served(tmp_path) as one:
        assert one.server.address is not None
        reader, writer = await asyncio.open_connection(*one.server.address)
        head = f"POST /api/login HTTP/1.1\r\nhost: localhost\r\ncontent-length: {MAX_BODY + 1}\r\n\r\n"
        writer.write(head.encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
        writer.close()


async def test_strangers_take_a_part_of_the_port_alone(tmp_path: Path) -> None:
    async with served(tmp_path) as one:
        assert one.server.address is not None
        slow = []
        for _ in range(STRANGERS):
            _, writer = await asyncio.open_connection(*one.server.address)
            writer.write(b"POST /api/login HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{")
            slow.append(writer)
        keeper = one.port.app
        await until(lambda: keeper._strangers == STRANGERS)  # type: ignore[attr-defined]
        assert (await one.http.get("/login")).status_code == 503
        assert (await one.http.get("/api/session", headers=bearer(READER_TOKEN))).status_code == 200
        for writer in slow:
            writer.close()
        await until(lambda: keeper._strangers == 0)  # type: ignore[attr-defined]


async def test_requests_beyond_the_limit_are_told_to_come_again(tmp_path: Path) -> None:
    async with served(tmp_path) as one:
        one.port.app._busy = AT_ONCE  # type: ignore[attr-defined]
        refused = await one.http.get("/api/session", headers=bearer(READER_TOKEN))
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        one.port.app._busy = 0  # type: ignore[attr-defined]
