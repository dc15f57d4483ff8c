"""What somebody tries who means harm: odd JSON, endless numbers, texts made to be slow, broken HTTP, many connections,
names that are code somewhere else."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.admin.served import BOB, OPERATOR_TOKEN, bearer
from tests.admin.whole import lived_in, session, whole
from tierproxy.admin.attempts import _network
from tierproxy.admin.origin import Origins, plain
from tierproxy.config.depth import MOST_PARTS, deep_line
from tierproxy.config.operators import AdminSection
from tierproxy.config.sections import Config
from tierproxy.desk import rules as rule_desk
from tierproxy.logs import JsonFormatter, TextFormatter
from tierproxy.rules.language import parse
from tierproxy.rules.lint import Patience, lint
from tierproxy.server.admin_server import MOST_CONNECTIONS, MOST_OF_ONE, Crowd

ENDLESS = "9" * 25  #: more than SQLite's integers


# ---------------------------------------------------------------- JSON and numbers


async def test_numbers_beyond_the_catalogues_are_refused(tmp_path: Path) -> None:
    async with whole(tmp_path) as one:
        for number in (ENDLESS, str(2**63), "-1"):
            for method, path in (
                ("GET", f"/rules/versions/{number}"), ("GET", f"/rules?version={number}"), ("GET", f"/runs/{number}"),
                ("GET", f"/runs/{number}/events"), ("POST", f"/runs/{number}/confirm"),
                ("POST", f"/runs/{number}/cancel"), ("POST", f"/runs/{number}/undo"),
            ):  # fmt: skip
                assert (await one.operator.request(method, f"/api{path}")).status_code == 422, path
            for path, body in (("/rules/restore", {"version": int(number)}), ("/jobs/warm", {"run": int(number)})):
                assert (await one.operator.post(f"/api{path}", json=body)).status_code == 422, path


@pytest.mark.parametrize("moment", ["NaN", "Infinity", "-Infinity", "1e400", "1e300", "-1", "1" + "0" * 400, '"never"'])
async def test_what_is_no_moment_is_refused(tmp_path: Path, moment: str) -> None:
    async with whole(tmp_path) as one:
        await lived_in(one)
        kind = {"content-type": "application/json"}
        for path, body in (
            ("/api/objects/pin", f'{{"objects": ["mail/alice/2"], "until": {moment}}}'),
            ("/api/jobs/history", f'{{"since": {moment}}}'), ("/api/jobs/curve", f'{{"until": {moment}}}'),
        ):  # fmt: skip
            answer = await one.operator.post(path, content=body, headers=kind)
            assert answer.status_code == 422, (path, answer.text)
        assert (await one.reader.get("/api/pins")).json() == []


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000, b'{"a":' * 100_000, b"\xff\xfe{", b"", b'{"objects": ["mail/\\ud800"]}', b'{"\\ud800": 1}',
        b'{"objects": NaN}', b"1" * 5000, b'{"objects": ["mail/a"]}\0', b"{'objects': []}", b"\x00",
    ],
)  # fmt: skip
async def test_odd_json_is_a_clients_error(tmp_path: Path, body: bytes) -> None:
    async with whole(tmp_path) as one:
        answer = await one.operator.post(
            "/api/objects/unpin", content=body, headers={"content-type": "application/json"}
        )
        assert answer.status_code in {400, 422}
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
async def test_what_a_form_of_another_site_can_send_is_no_body(tmp_path: Path, kind: str) -> None:
    async with whole(tmp_path) as one:
        headers = await session(one, "ann") | {"content-type": kind}
        assert (await one.stranger.post("/api/queue/hurry", content=b"{}", headers=headers)).status_code == 422
        headers["origin"] = "http://other.example"
        assert (await one.stranger.post("/api/queue/hurry", content=b"{}", headers=headers)).status_code == 403
        login = json.dumps({"token": OPERATOR_TOKEN})
        answer = await one.stranger.post("/api/login", content=login, headers={"content-type": kind})
        assert answer.status_code == 422


# ---------------------------------------------------------------- rules that are made to be slow


@pytest.mark.parametrize(
    "text",
    [
        "a" + ".a" * 400_000 + " = 1",
        "[" + ".".join("a" * 400_000) + "]",
        '"a"' + '."a"' * 200_000 + " = 1",
        'x = "\na' + ".a" * 400_000 + " = 1",
        "a = {" + ",".join(f"b{number}.c = 1" for number in range(1000)) + "}",
    ],
    ids=["key", "header", "quoted", "unclosed", "inline"],
)
def test_a_key_without_end_is_refused_before_it_is_parsed(text: str) -> None:
    found = rule_desk.check(Config(), text, 0.0)
    assert [f"more than {MOST_PARTS} parts" in one for one in found.errors] == [True]


def test_dots_in_texts_and_comments_are_no_keys() -> None:
    dots = "." * 100
    assert deep_line(f'a = "{dots}\\"{dots}" # {dots}\nb = \'{dots}\'\nc = """\n{dots}\n"""\n[a.b.c]') == 0
    assert deep_line(f'a = """\n\n""" # {dots}\n{"a." * 40}b = 1') == 4


def test_blanks_without_end_are_read_once() -> None:
    for text in ("> 1" + " " * 300_000 + "x", " " * 300_000, "> 1 in" + " " * 300_000 + "!"):
        found = rule_desk.check(Config(), f"[[rule]]\nname = 'a'\nwhen = {{ reads = '{text}' }}\nthen = 'purge'\n", 0.0)
        assert found.errors


def test_lint_compares_only_so_much() -> None:
    """A million characters of rules would be compared for hours."""
    keys = ",".join(f'"k{number}"' for number in range(90))
    text = "".join(
        f'[[rule]]\nname = "r{number}"\nwhen = {{ key = ["x{number}*", {keys}] }}\nthen = "purge"\n'
        for number in range(300)
    )
    rules = parse(text).rules
    patience, compared = Patience(), 0
    while patience.lasts(rules[0], rules[1]):
        compared += 1
    assert 1000 < compared < len(rules) ** 2 / 2
    lint(parse(text), now=0.0)


# ---------------------------------------------------------------- HTTP


@pytest.mark.parametrize(
    "head",
    [
        "POST /api/login HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",  # noqa: E501
        "POST /api/login HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n12345",
        "POST /api/login HTTP/1.1\r\nhost: localhost\r\ncontent-length: +5\r\n\r\n12345",
        "POST /api/login HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n",
        "POST /api/login HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        "GET /health HTTP/1.1\r\nhost: localhost\r\nx: a\r\n b: c\r\nname\0: x\r\n\r\n",
    ],
)
async def test_a_request_that_two_programs_could_read_in_two_ways_is_none(tmp_path: Path, head: str) -> None:
    async with whole(tmp_path) as one:
        follow = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        answer = await one.exchange(head.encode(), follow)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400 "), answer
        assert b"200 OK" not in answer, "what follows is no request either"


@pytest.mark.parametrize("hosts", ["", "host: localhost\r\nhost: other.example\r\n", "host: other.example\r\n"])
async def test_a_request_says_one_host_that_is_ours(tmp_path: Path, hosts: str) -> None:
    async with whole(tmp_path) as one:
        answer = await one.exchange(f"GET /health HTTP/1.1\r\n{hosts}connection: close\r\n\r\n".encode())
        assert answer.split()[1] in {b"400", b"421"}


async def test_nothing_but_its_files_is_below_static(tmp_path: Path) -> None:
    async with whole(tmp_path) as one:
        page = (await one.stranger.get("/login")).text
        folder = page.partition('href="/static/')[2].partition("/login.css")[0]
        for path in (
            "../../../login.html",
            "..%2f..%2flogin.html",
            "%2e%2e/%2e%2e/app.py",
            "/etc/passwd",
            "%00",
            "login.css%00",
        ):
            answer = await one.exchange(
                f"GET /static/{folder}/{path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {OPERATOR_TOKEN}\r\n"
                "connection: close\r\n\r\n".encode()
            )
            assert answer.startswith(b"HTTP/1.1 404 "), (path, answer[:300])


def test_an_address_has_one_way_to_be_written() -> None:
    assert plain("::ffff:10.0.0.5") == "10.0.0.5"
    assert plain("2001:DB8::0001") == "2001:db8::1"
    assert plain("10.0.0.5:4711") == plain("[::ffff:10.0.0.5]:4711") == "10.0.0.5"
    assert plain("nonsense") == "nonsense"
    assert _network(plain("::ffff:10.0.0.5")) != _network(plain("::ffff:10.0.0.6")), "IPv4 is no single network"


@pytest.mark.parametrize("peer", ["10.0.0.5", "::ffff:10.0.0.5"])
def test_a_named_proxy_is_known_on_a_listener_for_both(peer: str) -> None:
    settings = AdminSection(behind_proxy=("10.0.0.5",), allowed_hosts=("tiers.example.com",))
    headers = {"host": "x", "x-forwarded-for": "198.51.100.9:5123", "x-forwarded-proto": "https",
               "x-forwarded-host": "tiers.example.com"}  # fmt: skip
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    origin = Origins(lambda: settings).of({"type": "http", "scheme": "http", "headers": raw, "client": (peer, 1)})
    assert (origin.address, origin.secure) == ("198.51.100.9", True)


def test_one_address_has_only_so_many_connections() -> None:
    crowd = Crowd(["10.0.0.5", "10.1.0.0/16"])
    assert crowd.takes("203.0.113.9", ["203.0.113.9"] * MOST_OF_ONE)
    assert not crowd.takes("203.0.113.9", ["203.0.113.9"] * (MOST_OF_ONE + 1))
    assert crowd.takes("203.0.113.8", ["203.0.113.9"] * MOST_OF_ONE + ["203.0.113.8"])
    for many in ("127.0.0.1", "::1", "10.0.0.5", "::ffff:10.1.2.3"):
        assert crowd.takes(many, [many] * MOST_CONNECTIONS)
        assert not crowd.takes(many, [many] * (MOST_CONNECTIONS + 1))
    assert crowd.takes("fe80::1%eth0", ["fe80::1%eth0"])


# ---------------------------------------------------------------- the login


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
@pytest.mark.parametrize(
    ("wanted", "target"),
    [
        ("/queue", "http://here:9301/queue"), ("/runs?limit=3", "http://here:9301/runs?limit=3"), ("", "http://here:9301/"),
        ("//evil.example", "/"), ("http://evil.example/", "/"), ("javascript:alert(1)", "/"), ("\\\\evil.example", "/"),
        ("http://[", "/"), ("http://here:9302/", "/"), ("https://here:9301/", "/"),
        ("/.//evil.example", "http://here:9301//evil.example"), ("/a/..//evil.example", "http://here:9301//evil.example"),
    ],
)  # fmt: skip
def test_after_the_login_a_browser_stays_here(wanted: str, target: str) -> None:
    """``location.replace("//evil.example")`` would leave: what is given to it is a whole URL, or "/"."""
    script = Path(__file__).parents[2] / "tierproxy/admin/login_page/static/login.js"
    code = f"""
      globalThis.location = {{ search: "?next=" + encodeURIComponent({json.dumps(wanted)}), hash: "#code=x",
        origin: "http://here:9301", pathname: "/login", replace: (to) => console.log(to) }};
      globalThis.history = {{ replaceState() {{}} }};
      globalThis.document = {{ getElementById: () => ({{}}), querySelectorAll: () => [] }};
      globalThis.fetch = async () => ({{ ok: true }});
      await import({json.dumps(script.as_uri())});
    """
    done = subprocess.run(
        ["node", "--no-warnings", "--experimental-default-type=module", "--input-type=module", "-e", code],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == target, done.stderr


async def test_a_login_gives_a_new_session_and_ends_the_one_before(tmp_path: Path) -> None:
    async with whole(tmp_path) as one:
        first = await session(one, "ann")
        planted = {"cookie": first["cookie"]}
        answer = await one.stranger.post("/api/login", json={"token": OPERATOR_TOKEN}, headers=planted)
        assert answer.headers["set-cookie"].partition(";")[0] != first["cookie"]
        one.stranger.cookies.clear()
        assert (await one.stranger.get("/api/session", headers=planted)).status_code == 401
        chosen = first["cookie"].partition("=")[0] + "=chosen-by-somebody-else"
        answer = await one.stranger.post("/api/login", json={"token": OPERATOR_TOKEN}, headers={"cookie": chosen})
        assert "chosen" not in answer.headers["set-cookie"]


# ---------------------------------------------------------------- words that are code elsewhere


async def test_a_name_writes_no_line_of_its_own_into_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with whole(tmp_path) as one:
        evil = "a\n2026-01-01 00:00:00 INFO tierproxy: admin change account=root\u2028\x1b[2J"
        body = {"target": "mail/" + evil, "everything": True, "reason": evil}
        assert (await one.operator.post("/api/runs", json=body)).status_code == 202
        assert (await one.operator.get("/api/jobs/%1b%5B2J%0Ax")).status_code == 404
        await one.stranger.post("/api/login", json={"name": evil, "password": evil})
    lines = [form.format(record) for record in caplog.records for form in (TextFormatter(), JsonFormatter())]
    assert any("admin change" in line for line in lines)
    assert not [line for line in lines if set("\n\x1b\u2028") & set(line)]


async def test_no_secret_is_in_what_anybody_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "tierproxy")
    async with whole(tmp_path) as one:
        ann = await session(one, "ann")
        key = json.loads((tmp_path / "data" / "admin.json").read_text())["token"]
        secrets = [BOB.password, BOB.token, OPERATOR_TOKEN, key, ann["cookie"].partition("=")[2], ann["x-csrf-token"]]
        told = [(await one.operator.get(path)).text for path in ("/api/configuration", "/api/openapi.json", "/metrics")]
        told.append((await one.stranger.get("/api/session", headers=bearer(OPERATOR_TOKEN + "x"))).text)
        told.append(
            (await one.stranger.post("/api/login", json={"token": OPERATOR_TOKEN, "nmae": OPERATOR_TOKEN})).text
        )
        told += [TextFormatter().format(record) for record in caplog.records]
        for secret in secrets:
            assert not [text for text in told if secret in text]


async def test_the_description_is_made_in_a_thread(tmp_path: Path) -> None:
    async with whole(tmp_path) as one:
        app: Any = one.node.admin._port.app._app  # type: ignore[union-attr]
        plain_openapi, where = app.openapi, []

        def openapi() -> Any:
            where.append(threading.current_thread().name)
            return plain_openapi()

        app.openapi = openapi
        answers = await asyncio.gather(*(one.reader.get("/api/openapi.json") for _ in range(3)))
        assert len({answer.text for answer in answers}) == 1
        assert [name.startswith("tierproxy-desk") for name in where] == [True]
