"""The unit for systemd: it is one, it takes away what can be taken away, and the node works with what is left."""

from __future__ import annotations

import ctypes
import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.live import until
from tests.operation.programs import BUCKET, command, configured, for_everybody, serving
from tierproxy.config.sections import NodeSection
from tierproxy.testing.children import clean_environment

UNIT = Path("config/systemd/tierproxy.service")
EXPOSURE = 15  #: tenths of what `systemd-analyze security` counts, of 100; a unit without any of this has 96
ANALYZE = shutil.which("systemd-analyze")
needs_analyze = pytest.mark.skipif(ANALYZE is None, reason="needs systemd-analyze")
PR_SET_MDWE, REFUSE_EXEC_GAIN = 65, 1
PR_SET_NO_NEW_PRIVS = 38


def directives() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def installable(place: Path) -> Path:
    """The unit with a program that is there."""
    unit = place / "tierproxy.service"
    unit.write_text(UNIT.read_text().replace("/opt/tierproxy/bin/tierproxy", "/bin/true"))
    return unit


@needs_analyze
def test_it_is_a_unit(tmp_path: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", installable(tmp_path)], capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    about = [line for line in (done.stdout + done.stderr).splitlines() if "tierproxy.service" in line]
    assert about == []


@needs_analyze
def test_it_is_exposed_to_little(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            "systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager",
            installable(tmp_path),
        ],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Overall exposure level" in done.stdout


def test_the_times_fit_the_nodes() -> None:
    found = directives()
    assert int(found["TimeoutStopSec"][0]) > NodeSection().shutdown_grace
    assert found["RestartPreventExitStatus"] == ["2 3"]
    assert found["ExecReload"] == ["kill -HUP $MAINPID"]
    assert found["StateDirectory"] == ["tierproxy"]


def prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def asked(port: int) -> None:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    client.request("PUT", f"/{BUCKET}/a", b"a mail", {"x-tierproxy-ack": "disk"})
    assert client.getresponse().read() == b""
    client.request("GET", f"/{BUCKET}/a")
    assert client.getresponse().read() == b"a mail"
    client.request("DELETE", f"/{BUCKET}/a")
    assert client.getresponse().read() == b""
    client.close()


def of_the_unit() -> dict[str, str]:
    """The environment that the unit sets."""
    return clean_environment(**dict(value.split("=", 1) for value in directives()["Environment"]))


def say(file: Path, *words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tierproxy", *words, "--config", str(file)], capture_output=True, text=True, check=False,
        env=of_the_unit(), timeout=100, preexec_fn=lambda: prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_no_library_needs_memory_that_can_be_written_and_run(tmp_path: Path) -> None:
    """MemoryDenyWriteExecute, by the kernel's own switch for it (Linux 6.3, PR_SET_MDWE), with workers and children."""
    try:
        done = subprocess.run(["true"], preexec_fn=lambda: prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN), check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("this kernel has no PR_SET_MDWE")
    assert done.returncode == 0
    listen = ('address = "127.0.0.1:0"', 'auth = "none"', "workers = 1")
    file = configured(tmp_path / "home", listen=listen)
    for turn in ("first", "second"):  # which makes a segment of the journal of the first
        with serving(
            command(file), tmp_path / turn, before=lambda: prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN),
            environment=of_the_unit(),
        ) as node:  # fmt: skip
            asked(node.port)
            say(file, "stats")
            if turn == "second":
                until(lambda: any((tmp_path / "home" / "data" / "history").glob("*.parquet")))
            assert node.stop() == 0
        assert "Traceback" not in node.text()
    say(file, "history", "stats")


def can_unshare() -> bool:
    return os.geteuid() == 0 and not subprocess.run(
        ["unshare", "--mount", "true"], check=False, capture_output=True, timeout=10
    ).returncode  # fmt: skip


READ_ONLY = """
set -e
mount --make-rprivate /
mount --bind "$1" "$1"
mount --bind /dev/shm /dev/shm
mount -o remount,ro,bind /
for place in /tmp /var /work /home /root /etc /usr; do
  if mountpoint -q "$place"; then mount -o remount,ro,bind "$place"; fi
done
mount -o remount,rw,bind "$1"
if touch /usr/written 2>/dev/null || touch /etc/written 2>/dev/null; then echo "the root can be written" >&2; exit 9; fi
shift
exec prlimit --core=0 -- setpriv --reuid nobody --regid nogroup --clear-groups --no-new-privs \
  --bounding-set=-all --inh-caps=-all "$@"
"""


@pytest.mark.skipif(not can_unshare(), reason="needs root and mount namespaces")
def test_it_works_with_what_the_unit_leaves(home: Path) -> None:
    """ProtectSystem=strict, User, NoNewPrivileges, CapabilityBoundingSet, LimitCORE, as systemd would set them."""
    own = home / "own"
    file = configured(own)
    for path in (own, file):
        os.chown(path, 65534, 65534)
    inside = ["unshare", "--mount", "sh", "-c", READ_ONLY, "sh", str(own), *command(file)]
    wanted = for_everybody(inside, home / "kept")
    with serving(wanted, home / "log") as node:
        asked(node.port)
        assert "NoNewPrivs:\t1" in Path(f"/proc/{node.process.pid}/status").read_text()
        assert node.stop() == 0
    assert "Traceback" not in node.text()


# ---------------------------------------------------------------- what systemd is told


def test_systemd_hears_of_everything(tmp_path: Path) -> None:
    heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    heard.bind(str(tmp_path / "notify"))
    heard.settimeout(60)
    file = configured(tmp_path / "home")
    environment = clean_environment(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="100000")
    said: list[str] = []

    def hear(word: str) -> str:
        while True:
            said.append(heard.recv(4096).decode())
            if word in said[-1]:
                return said[-1]

    with heard, serving(command(file), tmp_path / "log", environment=environment) as node:
        assert re.search(r"STATUS=serves http://127\.0\.0\.1:\d+", hear("READY=1"))
        hear("WATCHDOG=1")
        node.process.send_signal(1)
        assert re.search(r"^MONOTONIC_USEC=\d+$", hear("RELOADING=1"), flags=re.MULTILINE)
        hear("READY=1")
        file.write_text("nonsense")
        node.process.send_signal(1)
        hear("RELOADING=1")
        hear("READY=1")
        hear("WATCHDOG=1")
        node.process.terminate()
        hear("STOPPING=1")
        assert node.process.wait(60) == 0


def test_the_watchdogs_words_are_for_this_process_alone() -> None:
    from tierproxy.cli.serve import heartbeat

    for given, seconds in (
        ({}, 0.0), ({"WATCHDOG_USEC": "60000000"}, 30.0), ({"WATCHDOG_USEC": "x"}, 0.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
    ):  # fmt: skip
        environment = dict(given)
        assert heartbeat(environment) == seconds
        assert environment == {}
