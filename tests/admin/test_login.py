"""Logging in and out over HTTP: cookies, tokens, codes, and what a stranger is told."""

from __future__ import annotations

import asyncio
import logging
import ssl
from http.cookies import Morsel, SimpleCookie
from pathlib import Path

import httpx
import pytest

from tests.admin.served import ANN, BOB, OPERATOR_TOKEN, PASSWORD, READER_TOKEN, bearer, cheap_hash, served
from tierproxy.admin.attempts import CODE_LIFETIME, FREE, Attempts
from tierproxy.admin.login import MOST_CHECKS
from tierproxy.testing.certificates import write_certificate
from tierproxy.testing.clock import VirtualClock


def cookie_of(answer: httpx.Response) -> Morsel[str]:
    (morsel,) = SimpleCookie(answer.headers["set-cookie"]).values()
    return morsel


async def test_a_password_opens_a_session_that_a_logout_ends(tmp_path: Path) -> None:
    async with served(tmp_path) as one:
        assert (await one.http.get("/api/session")).status_code == 401
        headers = await one.log_in("ann")
        who = (await one.http.get("/api/session")).json()
        assert (who["name"], who["role"], who["via"]) == ("ann", "operate", "session")
        assert who["csrf"] == headers["x-csrf-token"]
        cookies = "; ".join(f"{name}={value}" for name, value in one.http.cookies.items())
        assert (await one.http.post("/api/logout", headers=headers)).status_code == 204
        assert not one.http.cookies
        assert (await one.http.get("/api/session", headers={"cookie": cookies})).status_code == 401


@pytest.mark.parametrize(
    "wish",
    [
        {"name": "ann", "password": "wrong"},
        {"name": "nobody", "password": PASSWORD},
        {"token": "wrong"},
        {"code": "wrong"},
        {},
    ],
)
async def test_what_is_not_right_opens_nothing_and_says_the_same(tmp_path: Path, wish: dict[str, str]) -> None:
    async with served(tmp_path) as one:
        answer = await one.http.post("/api/login", json=wish)
        assert answer.status_code == 401
        assert answer.json()["detail"] == "that is not right"
        assert "set-cookie" not in answer.headers
        assert not len(one.port.sessions)


async def test_the_cookie_is_for_this_site_alone_and_for_no_script(tmp_path: Path) -> None:
    async with served(tmp_path) as one:
        answer = await one.http.post("/api/login", json={"token": OPERATOR_TOKEN})
        morsel = cookie_of(answer)
        assert morsel["httponly"]
        assert morsel["samesite"].lower() == "strict"
        assert (morsel["path"], morsel["domain"], morsel["secure"]) == ("/", "", "")
        assert morsel.key == f"tierproxy-{one.url.rpartition(':')[2]}"


async def test_under_tls_the_cookie_is_secure_and_of_this_host(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path, "one")
    trust = ssl.create_default_context(cafile=certificate)
    async with served(tmp_path, tls_certificate=certificate, tls_key=key, verify=trust) as one:
        answer = await one.http.post("/api/login", json={"token": OPERATOR_TOKEN})
        morsel = cookie_of(answer)
        assert morsel.key == "__Host-tierproxy"
        assert morsel["secure"]
        assert "strict-transport-security" in answer.headers
        headers = {"x-csrf-token": answer.json()["csrf"], "origin": one.url}
        assert (await one.http.post("/api/trial/change", json={"days": 1}, headers=headers)).json() == "ann"


async def test_a_token_needs_no_session_and_no_csrf_token(tmp_path: Path) -> None:
    async with served(tmp_path) as one:
        answer = await one.http.post("/api/trial/change", json={"days": 1}, headers=bearer(OPERATOR_TOKEN))
        assert answer.json() == "ann"
        assert (await one.http.get("/api/session", headers=bearer(READER_TOKEN))).json()["csrf"] is None
        assert (await one.http.get("/api/session", headers=bearer("wrong"))).status_code == 401


async def test_without_accounts_there_is_one_token_in_a_file_of_the_nodes_user(tmp_path: Path) -> None:
    async with served(tmp_path, accounts=()) as one:
        file = one.root / "admin.token"
        assert file.stat().st_mode & 0o777 == 0o600
        token = file.read_text().strip()
        assert (await one.http.get("/api/session", headers=bearer(token))).json()["role"] == "operate"
    async with served(tmp_path, accounts=()) as one:
        assert file.read_text().strip() == token
    async with served(tmp_path) as one:
        assert (await one.http.get("/api/session", headers=bearer(token))).status_code == 401


async def test_a_login_code_works_once(tmp_path: Path) -> None:
    async with served(tmp_path) as one:
        path, _, code = one.server.login_url().partition("#code=")
        assert path == f"{one.url}/login"
        assert (await one.http.post("/api/login", json={"code": code})).json()["role"] == "operate"
        async with one.fresh() as other:
            assert (await other.post("/api/login", json={"code": code})).status_code == 401


async def test_a_login_code_is_old_after_five_minutes(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with served(tmp_path, clock=clock) as one:
        code = one.port.login_path().partition("#code=")[2]
        await clock.advance(CODE_LIFETIME)
        assert (await one.http.post("/api/login", json={"code": code})).status_code == 401


async def test_only_the_command_line_makes_login_codes(tmp_path: Path) -> None:
    async with served(tmp_path) as one:
        assert (await one.http.post("/api/login-codes", headers=bearer(OPERATOR_TOKEN))).status_code == 403
        assert (await one.http.post("/api/login-codes", headers=bearer(READER_TOKEN))).status_code == 403
        door = one.port._door
        assert door is not None
        made = await one.http.post("/api/login-codes", headers=bearer(door.token))
        assert made.json()["path"].startswith("/login#code=")


async def test_guessing_becomes_slow_and_a_right_password_has_to_wait_as_well(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with served(tmp_path, clock=clock) as one:
        for _ in range(FREE):
            wrong = await one.http.post("/api/login", json={"name": "ann", "password": "wrong"})
            assert wrong.status_code == 401
        refused = await one.http.post("/api/login", json={"name": "ann", "password": PASSWORD})
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "1"
        other = await one.http.post("/api/login", json={"token": OPERATOR_TOKEN})
        assert other.status_code == 200, "a token is not guessed"
        await clock.advance(1)
        await one.log_in("ann")


async def test_a_flood_of_passwords_is_refused_and_not_queued(tmp_path: Path) -> None:
    async with served(tmp_path) as one:
        begun = [one.http.post("/api/login", json={"name": f"n{number}", "password": "x"}) for number in range(20)]
        codes = {answer.status_code for answer in await asyncio.gather(*begun)}
        assert 429 in codes
        assert codes <= {401, 429}
        gate = one.port.gate
        gate._attempts = Attempts(one.rig.parts.clock)
        gate._checking.update(f"10.0.0.{number}" for number in range(MOST_CHECKS))
        wish = {"name": "bob", "password": PASSWORD}
        assert (await one.http.post("/api/login", json=wish)).status_code == 429
        assert (await one.http.get("/api/session", headers=bearer(READER_TOKEN))).status_code == 200


async def test_a_change_of_an_account_ends_its_sessions_and_no_others(tmp_path: Path) -> None:
    async with served(tmp_path) as one, one.fresh() as bob:
        await one.log_in("ann")
        await one.log_in("bob", bob)
        one.configure(account=(ANN, type(BOB)(name="bob", role="read", password=cheap_hash("another password"))))
        assert (await bob.get("/api/session")).status_code == 401
        assert (await one.http.get("/api/session")).status_code == 200
        assert (await one.http.get("/api/session", headers=bearer(READER_TOKEN))).status_code == 401
        one.configure(account=())
        assert (await one.http.get("/api/session")).status_code == 401
        token = (one.root / "admin.token").read_text().strip()
        assert (await one.http.get("/api/session", headers=bearer(token))).status_code == 200


async def test_nothing_secret_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "tierproxy")
    async with served(tmp_path) as one:
        headers = await one.log_in("ann")
        code = one.port.login_path().partition("#code=")[2]
        await one.http.post("/api/login", json={"name": "ann", "password": "a wrong secret"})
        await one.http.post("/api/login", json={"name": "a secret typed as name", "password": "x"})
        await one.http.post("/api/login", json={"code": code})
        await one.http.post("/api/trial/change", json={"days": 1, "secret": "hidden"}, headers=headers)
        cookie = next(iter(one.http.cookies.values()))
        door = one.port._door
        assert door is not None
        secrets = [PASSWORD, "a wrong secret", "a secret typed", code, cookie, headers["x-csrf-token"], door.token]
    lines = [f"{record.getMessage()} {getattr(record, 'facts', {})}" for record in caplog.records]
    assert any("login" in line for line in lines)
    assert [secret for secret in [*secrets, OPERATOR_TOKEN, "hidden"] if any(secret in line for line in lines)] == []


async def test_every_change_leaves_a_line_that_says_who_and_what(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tierproxy")
    async with served(tmp_path) as one:
        await one.http.post("/api/trial/change", json={"days": 7}, headers=bearer(OPERATOR_TOKEN))
        await one.http.get("/api/trial/look", headers=bearer(OPERATOR_TOKEN))
        await one.http.post("/api/trial/change", json={"days": 7}, headers=bearer(READER_TOKEN))
    facts = [getattr(record, "facts", {}) for record in caplog.records if record.getMessage() == "admin change"]
    assert [(fact["account"], fact["path"], fact["status"], fact.get("days")) for fact in facts] == [
        ("ann", "/api/trial/change", 200, 7), ("bob", "/api/trial/change", 403, None),
    ]  # fmt: skip


async def test_the_session_of_a_page_is_what_a_router_sees(tmp_path: Path) -> None:
    async with served(tmp_path) as one:
        await one.log_in("bob")
        assert (await one.http.get("/api/trial/look")).json() == "bob"


async def test_odd_texts_are_refused_and_break_nothing(tmp_path: Path) -> None:
    kind = {"content-type": "application/json"}
    strange = {b"authorization": b"Bearer \xff\xfe", b"cookie": b"tierproxy-1=\xff; x"}
    async with served(tmp_path) as one:
        for field in ("name", "password", "token", "code"):
            for text in (r"\ud800", r"\u0000", r"\uffff", "x" * 2000):
                body = f'{{"{field}": "{text}"}}'.encode()
                answer = await one.http.post("/api/login", content=body, headers=kind)
                assert answer.status_code in {401, 422, 429}
        assert (await one.http.get("/api/session", headers=strange)).status_code == 401
