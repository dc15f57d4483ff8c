"""``tierproxy dovecot check``: what is gathered, what is shown, how it ends."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.cli.live import Live, live_node
from tests.dovecot_setup.machine import ROOT_FS, V24, Machine, own_file, printed
from tierproxy.cli.outcome import ExitCode
from tierproxy.cli.program import app
from tierproxy.config.sections import BucketSection
from tierproxy.dovecot.checks import TRAPS
from tierproxy.dovecot.commands import run
from tierproxy.dovecot.settings import Layout, mail_settings
from tierproxy.dovecot.versions import SBIN, NoDovecot, find
from tierproxy.wire.dovecot import Checkup

DOVECONF = shutil.which("doveconf") or shutil.which("doveconf", path=SBIN)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The command runs on this one."""
    made = Machine(tmp_path / "root")
    monkeypatch.delenv("TIERPROXY_CONFIG", raising=False)
    monkeypatch.setattr("tierproxy.cli.dovecot.checkup.Host", made.host)
    return made


def output(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "doveconf.txt"
    path.write_text(text)
    return path


def check(*words: object) -> Result:
    return CliRunner().invoke(app, ["dovecot", "check", *map(str, words)])


def checkup(*words: object) -> Checkup:
    return Checkup.model_validate_json(check(*words, "--json").stdout)


def of(document: Checkup, trap: str) -> list[str]:
    return [f"{one.verdict}: {one.saw}" for one in document.findings if one.trap == trap]


MAIL = {"bucket": (BucketSection(name="mail", mail_metadata=True),)}


def test_a_good_machine_with_its_node_is_0(machine: Machine, tmp_path: Path) -> None:
    socket = tmp_path / "s3.sock"
    with live_node(tmp_path / "node", unix_socket=str(socket), sections=MAIL) as live:
        words = ("--doveconf", output(tmp_path, printed(V24)), "--config", live.file)
        completed(live, False)
        unsynced = checkup(*words)
        assert of(unsynced, "node") == ["ok: the node answers"]
        assert of(unsynced, "bucket") == [
            "fail: the catalogue of mail is not complete: what it does not know is looked for in S3 each time"
        ]
        completed(live, True)
        result = check(*words)
        assert result.exit_code == ExitCode.OK, result.output
        document = checkup(*words)
        assert (document.verdict, document.dovecot, document.mount, document.bucket) == (
            "ok",
            "2.4.1",
            "/srv/mail",
            "mail",
        )
        assert all(one.verdict == "ok" for one in document.findings)
    stopped = checkup(*words)
    assert of(stopped, "node")[0].startswith("fail: the node does not answer: ")
    assert of(stopped, "bucket") == ["ok: bucket mail is this node's alone, and its catalogue is complete"]


def completed(live: Live, complete: bool) -> None:
    """As `tierproxy catalogue sync` and `rebuild` leave it."""
    asyncio.run(live.node.parts.catalogue.complete_bucket("mail", complete))


def test_a_failure_is_1_and_says_what_to_change(machine: Machine, tmp_path: Path) -> None:
    machine.mounts = [ROOT_FS]
    result = check("--doveconf", output(tmp_path, printed()))
    assert result.exit_code == ExitCode.FAILED
    assert "fail  mount " in result.stdout
    assert "-> systemctl start tierproxy-mount" in result.stdout
    assert "1 failures" in result.stdout.splitlines()[-1]


def test_the_json_is_the_model(machine: Machine, tmp_path: Path) -> None:
    found = json.loads(check("--doveconf", output(tmp_path, printed(layout=Layout.ALT)), "--json").stdout)
    assert set(found) == {"verdict", "dovecot", "mount", "bucket", "findings"}
    assert {one["trap"] for one in found["findings"]} <= {trap.name for trap in TRAPS}
    assert all(set(one) == {"trap", "verdict", "saw", "change"} for one in found["findings"])


@pytest.mark.parametrize("text", ["", "no configuration", printed().replace("# 2.3.19.1", "# 2.2.13")])
def test_a_configuration_that_cannot_be_read_is_a_finding(machine: Machine, tmp_path: Path, text: str) -> None:
    result = check("--doveconf", output(tmp_path, text), "--json")
    assert result.exit_code == ExitCode.FAILED
    assert of(Checkup.model_validate_json(result.stdout), "dovecot-configuration")[0].startswith("fail: ")


def test_a_host_without_dovecot_is_a_finding(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(config: str) -> None:
        raise NoDovecot("Dovecot is not installed")

    monkeypatch.setattr("tierproxy.cli.dovecot.checkup.find", missing)
    assert of(checkup(), "dovecot-configuration") == [
        "fail: Dovecot's configuration cannot be read: Dovecot is not installed"
    ]


def test_a_nodes_configuration_that_cannot_be_read_is_a_finding(machine: Machine, tmp_path: Path) -> None:
    words = ("--doveconf", output(tmp_path, printed()))
    assert of(checkup(*words), "node") == ["warn: the node's configuration is not known: no --config was given"]
    machine.write("etc/tierproxy/tierproxy.toml", "[node]\ncolour = 1\n")
    assert "colour" in of(checkup(*words), "node")[0], "that of the setup is taken without a word"
    assert "no such" in of(checkup(*words, "--config", tmp_path / "no-such.toml"), "node")[0].lower()


def test_the_bucket_and_the_mount_point_can_be_told(machine: Machine, tmp_path: Path) -> None:
    machine.write(
        "etc/tierproxy/tierproxy.toml", '[listen]\nauth = "none"\n[[bucket]]\nname = "a1b"\n[[bucket]]\nname = "c2d"\n'
    )
    words = ("--doveconf", output(tmp_path, printed()))
    assert checkup(*words).bucket is None
    assert checkup(*words, "--bucket", "c2d").bucket == "c2d"
    assert checkup(*words, "--mail-root", "/mnt").mount == "/mnt"


class Refusing(BaseHTTPRequestHandler):
    """Somebody else than a node, who knows no GET."""

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_somebody_else_on_the_nodes_port_is_no_node(machine: Machine, tmp_path: Path) -> None:
    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            text = f'[listen]\nauth = "none"\naddress = "127.0.0.1:{server.server_port}"\n[[bucket]]\nname = "mail"\n'
            machine.write("etc/tierproxy/tierproxy.toml", text)
            found = checkup("--doveconf", output(tmp_path, printed()))
        finally:
            server.shutdown()
            thread.join()
    assert of(found, "node") == ["fail: the node does not answer: it says 501"]


@pytest.mark.skipif(DOVECONF is None, reason="doveconf is not installed")
def test_what_doveconf_leaves_out_has_its_default(machine: Machine, tmp_path: Path) -> None:
    installed = find(str(tmp_path / "dovecot.conf"))
    lines = mail_settings(installed.version, Layout.MAIN, user="998", group="997")
    (tmp_path / "dovecot.conf").write_text(own_file(installed.version, tmp_path, lines))
    answers = [run([installed.doveconf, "-c", installed.config, option]).out for option in ("-a", "-n")]
    every, changed = (checkup("--doveconf", output(tmp_path, answer)) for answer in answers)
    assert every == changed
    assert {one.trap for one in every.findings if one.verdict != "ok"} == {"node"}


def test_words_of_strangers_are_not_markup(machine: Machine, tmp_path: Path) -> None:
    text = replace_location(printed(), "maildir:/[red]mail[/red]/%u")
    assert "[red]mail[/red]" in check("--doveconf", output(tmp_path, text)).stdout


def replace_location(text: str, location: str) -> str:
    return "\n".join(
        f"mail_location = {location}" if line.startswith("mail_location") else line for line in text.splitlines()
    )
