"""The admin API against its own description: a whole node over real HTTP, asked everything that its OpenAPI document
allows and much that it does not; and every route of it, asked by who may not."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.admin.served import OPERATOR_TOKEN, READER_TOKEN, bearer
from tests.admin.whole import Whole, lived_in, session, whole

pytestmark = pytest.mark.timeout(300)

SEED = 4
PATIENCE = 60.0  #: seconds for one answer
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
ASKING = {
    "/api/login", "/api/logout", "/api/rules/check", "/api/rules/diff", "/api/jobs/simulate", "/api/jobs/curve",
    "/api/jobs/advise", "/api/jobs/history", "/api/jobs/{id}/cancel",
}  # fmt: skip
"""POSTs that the role read may send: they change nothing that a node has, or only what is the account's own."""
PUBLIC = {"/health", "/login", "/api/login"}

Judge = Callable[[requests.Response], None]


def operations(document: dict[str, Any], url: str) -> Iterator[Any]:
    """Of schemathesis. Not the event streams, which have no end."""
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=url)
    for result in schema.get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr]
        if not operation.path.endswith("/events"):
            yield operation


def fuzz(operation: Any, headers: dict[str, str], examples: int, judge: Judge) -> None:
    """Good and bad requests, each answer compared with the description."""
    for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
        with requests.Session() as browser:

            @seed(SEED)
            @settings(
                max_examples=examples, deadline=None, database=None, phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @given(case=operation.as_strategy(generation_mode=mode))
            def every(case: Any) -> None:
                case.cookies.clear()  # what it makes up would hide the session's
                answer = case.call_and_validate(
                    session=browser, headers=headers, checks=CHECKS, timeout=PATIENCE, allow_redirects=False
                )
                browser.cookies.clear()  # of a login
                judge(answer)

            every()


def fuzz_all(document: dict[str, Any], url: str, headers: dict[str, str], examples: int, *, leave: str = "") -> int:
    """How many operations. ``leave``: a path that is not asked for. Raises what was wrong with all of them at once."""
    print(f"seed {SEED}")
    found, wrong = list(operations(document, url)), []

    def judge(answer: requests.Response) -> None:
        """Long work is ended at once: only so much may wait."""
        if answer.status_code == 202 and answer.json().get("state") in {"waiting", "running"} and "id" in answer.json():
            end = f"{url}/api/jobs/{answer.json()['id']}/cancel"
            assert requests.post(end, headers=headers, timeout=PATIENCE).status_code in {200, 409}

    for operation in found:
        if operation.path == leave:
            continue
        try:
            fuzz(operation, headers, examples, judge)
        except Exception as error:
            wrong.append(error)
    if wrong:
        raise ExceptionGroup(f"{len(wrong)} of {len(found)} operations", wrong)
    return len(found)


async def state(one: Whole) -> dict[str, Any]:
    """What an operator could have changed."""
    looks = ("/rules/versions", "/rules/versions?kind=shadow", "/runs", "/pins", "/objects", "/queue")
    found = {path: (await one.operator.get(f"/api{path}")).json() for path in looks}
    return found | {"files": [path.read_text() for path in sorted(one.root.glob("*.toml"))]}


async def test_whatever_an_operator_sends_is_answered_as_described(tmp_path: Path) -> None:
    async with whole(tmp_path) as one:
        await lived_in(one)
        assert await asyncio.to_thread(fuzz_all, await one.schema(), one.url, bearer(OPERATOR_TOKEN), 6) > 30


@pytest.mark.parametrize("way", ["token", "session"])
async def test_whatever_a_reader_sends_is_answered_as_described_and_changes_nothing(tmp_path: Path, way: str) -> None:
    async with whole(tmp_path) as one:
        await lived_in(one)
        before = await state(one)
        headers = bearer(READER_TOKEN) if way == "token" else await session(one, "bob")
        await asyncio.to_thread(fuzz_all, await one.schema(), one.url, headers, 3, leave="/api/logout")
        assert await state(one) == before


async def test_the_role_read_may_only_ask(tmp_path: Path) -> None:
    async with whole(tmp_path) as one:
        unsafe = [
            (method, path) for path, methods in (await one.schema())["paths"].items()
            for method in methods if method not in {"get", "head", "options"}
        ]  # fmt: skip
        assert {path for _, path in unsafe} > ASKING
        for headers in (await session(one, "bob"), bearer(READER_TOKEN)):
            for method, path in unsafe:
                if path in ASKING:
                    continue
                answer = await one.stranger.request(method, filled(path), json={}, headers=headers)
                assert (answer.status_code, answer.json()["code"]) == (403, "NotAllowed"), (method, path)


async def test_a_cookie_alone_changes_nothing(tmp_path: Path) -> None:
    async with whole(tmp_path) as one:
        ann = await session(one, "ann")
        for path, methods in (await one.schema())["paths"].items():
            for method in set(methods) - {"get", "head", "options"}:
                if path == "/api/login":
                    continue
                for left_out in ("x-csrf-token", "origin"):
                    headers = {name: value for name, value in ann.items() if name != left_out}
                    answer = await one.stranger.request(method, filled(path), json={}, headers=headers)
                    assert answer.status_code == 403, (method, path, left_out)


async def test_no_route_but_the_login_and_health_answers_a_stranger(tmp_path: Path) -> None:
    """Every route of the app, described or not."""
    async with whole(tmp_path) as one:
        app: Any = one.node.admin._port.app._app  # type: ignore[union-attr]
        paths = {prefix + filled(path) for path in every_path(app) for prefix in ("", "/api")}
        assert {"/", "/api/runs/1/events", "/metrics", "/api/openapi.json", "/static/1/1"} <= paths
        for path in sorted(paths):
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"):
                answer = await one.stranger.request(method, path)
                assert answer.status_code == 401 or path in PUBLIC, (method, path, answer.status_code)
            page = await one.stranger.get(path, headers={"accept": "text/html"})
            assert page.status_code in ({303} if not path.startswith("/api") else {401}) or path in PUBLIC, path


def every_path(router: Any) -> Iterator[str]:
    """Of every route, at any depth, as its router calls it."""
    for route in router.routes:
        inner = getattr(route, "original_router", None) or getattr(route, "app", None)
        if hasattr(inner, "routes"):
            yield from every_path(inner)
        elif hasattr(route, "path"):
            yield route.path


def filled(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "1", path)
