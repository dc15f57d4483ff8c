"""``tierproxy admin``: links, hashes and tokens that the node takes."""

from __future__ import annotations

import dataclasses
import http.client
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.cli.live import live_node, self_signed
from tierproxy.admin.local import LocalDoor
from tierproxy.cli.program import app
from tierproxy.config.credentials import PasswordHash, is_token_hash, token_hash
from tierproxy.config.operators import AdminSection
from tierproxy.disk.fsio import Files

RUNNER = CliRunner()


def test_login_prints_a_link_that_logs_in_once(tmp_path: Path) -> None:
    with live_node(tmp_path / "home") as live:
        result = RUNNER.invoke(app, ["admin", "login", "--config", str(live.file)])
        assert result.exit_code == 0, result.output
        url, _, code = result.stdout.strip().partition("/login#code=")
        assert [_log_in(url, code), _log_in(url, code)] == [200, 401]
    result = RUNNER.invoke(app, ["admin", "login", "--config", str(live.file)])
    assert result.exit_code == 4
    assert "no node with an admin port" in result.stderr


def test_login_trusts_the_nodes_own_certificate_and_no_other(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path / "tls")
    admin = AdminSection(address="127.0.0.1:0", tls_certificate=str(certificate), tls_key=str(key))
    with live_node(tmp_path / "home", sections={"admin": admin}) as live:
        result = RUNNER.invoke(app, ["admin", "login", "--config", str(live.file)])
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith("https://127.0.0.1:")
        data = tmp_path / "home" / "data"
        door = LocalDoor.read(data)
        assert door is not None
        other, _ = self_signed(tmp_path / "other")
        dataclasses.replace(door, certificate=str(other)).write(data, Files())
        assert RUNNER.invoke(app, ["admin", "login", "--config", str(live.file)]).exit_code != 0


def _log_in(url: str, code: str) -> int:
    connection = http.client.HTTPConnection(url.partition("//")[2], timeout=60)
    try:
        body = json.dumps({"code": code})
        connection.request("POST", "/api/login", body, {"content-type": "application/json"})
        return connection.getresponse().status
    finally:
        connection.close()


def test_password_prints_a_hash_of_what_was_asked_for() -> None:
    result = RUNNER.invoke(app, ["admin", "password"], input="correct horse\ncorrect horse\n")
    assert result.exit_code == 0
    assert PasswordHash.parse(result.stdout.strip().splitlines()[-1]).fits("correct horse")
    assert "correct horse" not in result.output


@pytest.mark.parametrize(("line", "code"), [("correct horse\n", 0), ("short\n", 3), ("", 3)])
def test_password_takes_a_line_of_standard_input(line: str, code: int) -> None:
    result = RUNNER.invoke(app, ["admin", "password", "--stdin"], input=line)
    assert result.exit_code == code
    if code == 0:
        assert PasswordHash.parse(result.stdout.strip()).fits("correct horse")


def test_token_prints_a_token_and_its_hash() -> None:
    result = RUNNER.invoke(app, ["admin", "token"])
    token = result.stdout.strip()
    assert len(token) >= 43
    assert is_token_hash(token_hash(token))
    assert token_hash(token) in result.stderr
