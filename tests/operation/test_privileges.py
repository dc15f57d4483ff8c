"""Root starts the node, and the node is not root: ports and secrets were taken before, and there is no way back."""

from __future__ import annotations

import http.client
import json
import os
import pwd
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.live import self_signed
from tests.operation.programs import BUCKET, Serving, command, configured, ended, for_everybody, serving
from tierproxy.errors import ConfigError
from tierproxy.server.openings import Openings
from tierproxy.server.privileges import Identity
from tierproxy.testing.children import clean_environment

NOBODY = pwd.getpwnam("nobody")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def low_port() -> int:
    """One that only root may bind, free now."""
    for port in range(900, 1000):
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port below 1024 is free")


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value for name, _, value in (line.partition(":\t") for line in lines)}


def everything_below(data: Path) -> set[int]:
    return {path.lstat().st_uid for path in [data, *data.rglob("*")]}


def put_and_get(node: Serving) -> None:
    client = http.client.HTTPConnection("127.0.0.1", node.port, timeout=60)
    client.request("PUT", f"/{BUCKET}/a", b"a mail", {"x-tierproxy-ack": "disk"})
    assert client.getresponse().read() == b""
    client.request("GET", f"/{BUCKET}/a")
    assert client.getresponse().read() == b"a mail"
    client.close()


@needs_root
@pytest.mark.parametrize("unprivileged", ["option", "configuration"])
def test_it_is_nobody_on_a_port_of_roots(home: Path, unprivileged: str) -> None:
    user, group = ('user = "nobody"',), ()
    listen = (f'address = "127.0.0.1:{low_port()}"', 'auth = "none"')
    file = configured(home / "home", *(user if unprivileged == "configuration" else group), listen=listen)
    more = ("--user", "nobody") if unprivileged == "option" else ()
    with serving(for_everybody(command(file, *more), home / "kept"), home / "log") as node:
        facts = status(node.process.pid)
        assert facts["Uid"].split() == [str(NOBODY.pw_uid)] * 4
        assert facts["Gid"].split() == [str(NOBODY.pw_gid)] * 4
        assert facts["Groups"].split() == [str(group) for group in sorted(os.getgrouplist("nobody", NOBODY.pw_gid))]
        assert {int(facts[name], 16) for name in ("CapPrm", "CapEff", "CapAmb")} == {0}
        assert facts["NoNewPrivs"] == "1"
        assert node.port < 1024
        put_and_get(node)
        data = home / "home" / "data"
        assert everything_below(data) == {NOBODY.pw_uid}
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
        assert "files not readable any more" in node.text(), "the configuration is root's alone"
        assert node.stop() == 0
    assert "Traceback" not in (home / "log").read_text()


@needs_root
def test_secrets_and_keys_are_read_before(home: Path) -> None:
    certificate, key = self_signed(home / "tls")
    secret = home / "tls" / "secret"
    secret.write_text("a-secret-that-only-root-may-read")
    for file in (certificate, key, secret):
        file.chmod(0o600)
    listen = ('address = "127.0.0.1:0"', f'tls_certificate = "{certificate}"', f'tls_key = "{key}"')
    file = configured(home / "home", 'user = "nobody"', listen=listen)
    with file.open("a") as more:
        more.write(f'[[key]]\naccess_key_id = "ann"\nsecret_file = "{secret}"\n')
    with serving(for_everybody(command(file), home / "kept"), home / "log") as node:
        assert node.url.startswith("https://")
        assert os.stat(f"/proc/{node.process.pid}").st_uid == NOBODY.pw_uid, "what it needs to count its descriptors"
        node.process.send_signal(1)
        assert node.stop() == 0
    assert str(key) in node.text().partition("files not readable any more")[2]


@needs_root
def test_hit_workers_are_nobody_too(home: Path) -> None:
    listen = (f'address = "127.0.0.1:{low_port()}"', 'auth = "none"', "workers = 2")
    file = configured(home / "home", 'user = "nobody"', listen=listen)
    with serving(for_everybody(command(file), home / "kept"), home / "log") as node:
        put_and_get(node)
        children = Path(f"/proc/{node.process.pid}/task/{node.process.pid}/children").read_text().split()
        assert len(children) >= 2
        for child in children:
            assert status(int(child))["Uid"].split() == [str(NOBODY.pw_uid)] * 4
        assert node.stop() == 0


@needs_root
def test_the_data_directory_of_another_user_is_not_taken(home: Path) -> None:
    file = configured(home / "home", 'user = "nobody"')
    (home / "home" / "data").mkdir(mode=0o700)
    done = ended(command(file))
    assert done.returncode == 3
    assert "belongs to user 0 and not to nobody" in done.stderr
    assert "chown -R nobody:" in done.stderr
    assert list((home / "home" / "data").iterdir()) == []


@needs_root
def test_workers_that_could_not_read_the_key_are_refused(home: Path) -> None:
    certificate, key = self_signed(home / "tls")
    key.chmod(0o600)
    listen = (
        'address = "127.0.0.1:0"', 'auth = "none"', "workers = 1", f'tls_certificate = "{certificate}"',
        f'tls_key = "{key}"',
    )  # fmt: skip
    file = configured(home / "home", 'user = "nobody"', listen=listen)
    done = ended(for_everybody(command(file), home / "kept"))
    assert done.returncode == 3
    assert "hit workers cannot read" in done.stderr


BACK = """
import os, sys, json
from tierproxy.server.privileges import Identity
Identity.of("nobody").become()
refused = []
for call in (lambda: os.setuid(0), lambda: os.seteuid(0), lambda: os.setgid(0), lambda: os.setgroups([0]),
             lambda: os.setresuid(0, 0, 0), lambda: os.chown("/proc/self/cwd", 0, 0), lambda: os.chroot("/")):
    try:
        call()
        refused.append(False)
    except PermissionError:
        refused.append(True)
print(json.dumps(refused))
"""


@needs_root
def test_there_is_no_way_back(tmp_path: Path) -> None:
    done = subprocess.run(
        for_everybody([sys.executable, "-c", BACK], tmp_path / "kept"), capture_output=True, text=True, check=False,
        timeout=60, cwd="/", env=clean_environment(PYTHONPATH=str(Path(__file__).parents[2])),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [True] * 7


def test_there_is_no_such_user() -> None:
    for wrong in ("no-such-user", "99999999999999999999", "4294967290"):
        with pytest.raises(ConfigError, match="there is no user"):
            Identity.of(wrong)
    with pytest.raises(ConfigError, match="there is no group"):
        Identity.of("nobody", "no-such-group")
    with pytest.raises(ConfigError, match="root is no user to go on as"):
        Identity.of("root")


def test_a_user_may_name_himself_and_nobody_else(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may be anybody")
    file = configured(tmp_path / "home", f'user = "{os.getuid()}"')
    with serving(command(file), tmp_path / "log") as node:
        assert node.stop() == 0
    done = ended(command(file, "--user", "nobody"))
    assert done.returncode == 3
    assert "only root can go on as nobody" in done.stderr


def test_what_was_opened_before_is_handed_out_once_and_the_rest_closed(tmp_path: Path) -> None:
    from tierproxy.config.load import load

    openings = Openings()
    openings.prepare(load(configured(tmp_path / "home"), {}))
    first, second = openings.tcp("127.0.0.1:0"), openings.tcp("127.0.0.1:0")
    third = openings.tcp("127.0.0.1:0")
    assert len({bound.getsockname() for bound in (first, second, third)}) == 3
    for bound in (first, second, third):
        bound.close()
    openings.prepare(load(configured(tmp_path / "home"), {}))
    openings.close()
    openings.close()
