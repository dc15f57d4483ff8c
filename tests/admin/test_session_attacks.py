"""Whoever has a session, had one, or would like one: of a whole node, over real connections."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.admin.served import ANN, OPERATOR_TOKEN, PASSWORD, bearer, cheap_hash
from tests.admin.whole import Whole, session, whole
from tierproxy.admin.attempts import FREE
from tierproxy.admin.doorkeeper import HEADERS, QUESTIONS

OPEN = {"/api/login"}  #: POST without a session
CHANGES = {"POST", "PUT", "PATCH", "DELETE"}


async def changes(one: Whole) -> list[tuple[str, str]]:
    """Every method and path that changes something."""
    paths: dict[str, Any] = (await one.schema())["paths"]
    found = [(method.upper(), path) for path, methods in paths.items() for method in methods]
    return [
        (method, re.sub(r"\{[^}]+\}", "1", path))
        for method, path in found
        if method in CHANGES and path not in OPEN | QUESTIONS
    ]


# ---------------------------------------------------------------- requests another site makes a browser send


async def test_every_change_by_cookie_needs_our_page_and_its_token(tmp_path: Path) -> None:
    async with whole(tmp_path) as one:
        ann = await session(one, "ann")
        cookie, token, origin = ann["cookie"], ann["x-csrf-token"], one.url
        forged: list[dict[str, str]] = [
            {"cookie": cookie, "origin": origin},
            {"cookie": cookie, "origin": origin, "x-csrf-token": ""},
            {"cookie": cookie, "origin": origin, "x-csrf-token": token[:-1]},
            {"cookie": cookie, "origin": origin, "x-csrf-token": token + "x"},
            {"cookie": cookie, "x-csrf-token": token},
            {"cookie": cookie, "x-csrf-token": token, "origin": "null"},
            {"cookie": cookie, "x-csrf-token": token, "origin": "https://evil.example"},
            {"cookie": cookie, "x-csrf-token": token, "origin": origin.replace("127.0.0.1", "127.0.0.1.evil.example")},
            {"cookie": cookie, "x-csrf-token": token, "origin": origin, "sec-fetch-site": "cross-site"},
            {"cookie": cookie, "x-csrf-token": token, "sec-fetch-site": "same-site"},
        ]
        every = await changes(one)
        assert len(every) >= 10
        runs = one.rig.parts.catalogue.runs(10)
        for method, path in every:
            for headers in forged:
                answer = await one.stranger.request(method, path, json={}, headers=headers)
                assert answer.status_code == 403, (method, path, headers, answer.text)
        assert one.rig.parts.catalogue.runs(10) == runs
        assert (await one.stranger.get("/api/session", headers={"cookie": cookie})).status_code == 200


async def test_the_token_of_one_session_is_none_for_another(tmp_path: Path) -> None:
    async with whole(tmp_path) as one:
        first, second = await session(one, "ann"), await session(one, "ann")
        mixed = first | {"x-csrf-token": second["x-csrf-token"]}
        assert (await one.stranger.post("/api/logout", headers=mixed)).status_code == 403
        assert (await one.stranger.post("/api/logout", headers=first)).status_code == 204
        assert (await one.stranger.get("/api/session", headers=second)).status_code == 200


async def test_a_look_changes_nothing_whatever_it_calls_itself(tmp_path: Path) -> None:
    """Safe methods need no CSRF token: so they do nothing."""
    async with whole(tmp_path) as one:
        ann = await session(one, "ann")
        for name in ("x-http-method-override", "x-http-method", "x-method-override"):
            for path in ("/api/logout", "/api/runs"):
                headers = {"cookie": ann["cookie"], name: "POST"}
                await one.stranger.get(path, headers=headers)
                await one.stranger.get(path + "?_method=POST", headers=headers)
        assert (await one.stranger.get("/api/session", headers=ann)).status_code == 200
        assert not one.rig.parts.catalogue.runs(10)


# ---------------------------------------------------------------- sessions that were


@asynccontextmanager
async def logged_in(tmp_path: Path) -> AsyncIterator[tuple[Whole, dict[str, str]]]:
    async with whole(tmp_path) as one:
        yield one, await session(one, "ann")


async def test_nothing_of_a_session_works_after_the_logout(tmp_path: Path) -> None:
    async with logged_in(tmp_path) as (one, ann):
        assert (await one.stranger.post("/api/logout", headers=ann)).status_code == 204
        for method, path in [
            ("GET", "/api/session"),
            ("GET", "/api/status"),
            ("POST", "/api/logout"),
            *await changes(one),
        ]:
            answer = await one.stranger.request(method, path, headers=ann, json={} if method in CHANGES else None)
            assert answer.status_code == 401, (method, path)


@pytest.mark.parametrize("change", ["password", "token", "role", "removed"])
async def test_nothing_of_a_session_works_after_the_account_has_changed(tmp_path: Path, change: str) -> None:
    async with logged_in(tmp_path) as (one, ann):
        config = one.node.parts.config
        changed = {
            "password": (replace(ANN, password=cheap_hash("another one")), *config.account[1:]),
            "token": (replace(ANN, token=""), *config.account[1:]),
            "role": (replace(ANN, role="read"), *config.account[1:]),
            "removed": config.account[1:],
        }
        one.node.reload(replace(config, account=changed[change]))
        assert (await one.stranger.get("/api/session", headers=ann)).status_code == 401
        assert (await one.stranger.post("/api/logout", headers=ann)).status_code == 401
        answer = await one.stranger.post("/api/login", json={"name": "ann", "password": PASSWORD})
        assert (answer.status_code == 200) is (change in {"token", "role"})
        token = await one.stranger.get("/api/session", headers=bearer(OPERATOR_TOKEN))
        assert (token.status_code == 200) is (change in {"password", "role"})


async def test_a_stream_of_events_ends_with_the_account(tmp_path: Path) -> None:
    async with (
        logged_in(tmp_path) as (one, ann),
        one.stranger.stream("GET", "/api/status/events", headers=ann) as stream,
    ):
        assert stream.status_code == 200
        config = one.node.parts.config
        one.node.reload(replace(config, account=config.account[1:]))
        async with asyncio.timeout(60):
            async for _ in stream.aiter_raw():
                pass


async def test_a_session_of_before_the_restart_is_none(tmp_path: Path) -> None:
    async with whole(tmp_path) as one:
        ann = await session(one, "ann")
    async with whole(tmp_path) as one:
        name = f"tierproxy-{one.address[1]}"
        again = ann | {"cookie": f"{name}={ann['cookie'].partition('=')[2]}"}
        assert (await one.stranger.get("/api/session", headers=again)).status_code == 401


async def test_a_session_nobody_gave_is_none(tmp_path: Path) -> None:
    """Fixation: what somebody has planted in a browser never becomes a session."""
    async with whole(tmp_path) as one:
        name = f"tierproxy-{one.address[1]}"
        for planted in ("x" * 43, "", "../admin.token", "%00", "a; b=c", "é"):
            headers = httpx.Headers([(b"cookie", f"{name}={planted}".encode("latin-1"))])
            assert (await one.stranger.get("/api/session", headers=headers)).status_code == 401
            answer = await one.stranger.post(
                "/api/login", json={"name": "ann", "password": PASSWORD},
                headers=httpx.Headers([(b"cookie", f"{name}={planted}".encode("latin-1"))]),
            )  # fmt: skip
            assert answer.status_code == 200
            given = answer.headers["set-cookie"]
            one.stranger.cookies.clear()
            assert planted == "" or f"={planted};" not in given
            assert "HttpOnly" in given
            assert "samesite=strict" in given.lower()
            assert "domain" not in given.lower()


# ---------------------------------------------------------------- guessing


async def test_many_names_from_one_address_are_slowed_down(tmp_path: Path) -> None:
    async with whole(tmp_path) as one:
        seen: list[int] = []
        for number in range(FREE * 8):
            headers = {"x-forwarded-for": f"198.51.100.{number}", "forwarded": f"for=198.51.100.{number}"}
            wish = {"name": f"name{number}", "password": "x"}
            answer = await one.stranger.post("/api/login", json=wish, headers=headers)
            seen.append(answer.status_code)
            if answer.status_code == 429:
                assert int(answer.headers["retry-after"]) >= 1
                break
        assert seen[-1] == 429
        assert set(seen[:-1]) == {401}
        right = await one.stranger.post("/api/login", json={"name": "ann", "password": PASSWORD})
        assert right.status_code == 429, "nor is a right one told from a wrong one meanwhile"
        assert (await one.stranger.get("/api/session", headers=bearer(OPERATOR_TOKEN))).status_code == 200


# ---------------------------------------------------------------- what a browser is told


async def test_every_kind_of_answer_is_framed_by_nobody_and_kept_by_nobody(tmp_path: Path) -> None:
    async with whole(tmp_path) as one:
        ann = await session(one, "ann")
        page = {"accept": "text/html"}
        for path, headers in (
            ("/login", page), ("/", page | ann), ("/", page), ("/api/status", ann), ("/api/status", {}),
            ("/api/nothing", ann), ("/nothing", page | ann), ("/metrics", ann), ("/health", {}),
            ("/api/openapi.json", ann), ("/api/status", {"host": "evil.example"}),
            ("/api/status", {"authorization": "Bearer x"}),
        ):  # fmt: skip
            answer = await one.stranger.get(path, headers=headers)
            assert set(HEADERS) <= set(answer.headers), (path, answer.status_code)
            assert answer.headers["x-frame-options"] == "DENY"
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
            assert answer.headers["cache-control"] == "no-store", (path, answer.status_code)
            assert "server" not in answer.headers or answer.headers["server"] == "tierproxy"
            assert "access-control-allow-origin" not in answer.headers


async def test_only_the_login_page_needs_no_login_and_says_nothing(tmp_path: Path) -> None:
    async with whole(tmp_path) as one:
        page = (await one.stranger.get("/login")).text
        for inside in (str(tmp_path), one.node.parts.config.bucket[0].name + "/", "ann", "bob"):
            assert inside not in page


@pytest.mark.parametrize(
    "head",
    [
        "GET http://evil.example/login HTTP/1.1\r\nhost: {host}\r\n",
        "GET /login HTTP/1.1\r\nhost: {host}@evil.example\r\n",
        "GET /login HTTP/1.1\r\nhost: evil.example#{host}\r\n",
        "GET / HTTP/1.1\r\nhost: {host}\r\nx-forwarded-host: evil.example\r\naccept: text/html\r\n",
        "GET / HTTP/1.1\r\nhost: {host}\r\nforwarded: host=evil.example;proto=https\r\naccept: text/html\r\n",
        "GET //evil.example/ HTTP/1.1\r\nhost: {host}\r\naccept: text/html\r\n",
        "GET /\\evil.example HTTP/1.1\r\nhost: {host}\r\naccept: text/html\r\n",
        "GET / HTTP/1.1\r\nhost: localhost.evil.example\r\naccept: text/html\r\n",
        "GET / HTTP/1.1\r\nhost: 127.0.0.1.evil.example\r\naccept: text/html\r\n",
        "GET / HTTP/1.0\r\naccept: text/html\r\n",
    ],
)
async def test_no_name_of_somebody_elses_comes_back_as_a_place_to_go(tmp_path: Path, head: str) -> None:
    async with whole(tmp_path) as one:
        host = f"127.0.0.1:{one.address[1]}"
        answer = (await one.exchange((head.format(host=host) + "connection: close\r\n\r\n").encode())).decode("latin-1")
        location = re.search(r"(?im)^location: (.*)\r$", answer)
        if location is not None:
            assert location[1].startswith("/login?next=")
            assert not location[1].startswith("//")
        names = re.sub(r"(?im)^location: /login\?next=.*\r$", "", answer)
        assert not re.search(r"//[^\s\"]*evil\.example", names)
        assert "evil.example" not in names or answer.startswith("HTTP/1.1 421 "), "the refusal says what it refuses"
