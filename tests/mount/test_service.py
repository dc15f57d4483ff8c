"""``tierproxy mount`` as a process, on a node that runs here, used by child processes."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cli.live import Live, live_node
from tests.fuse.world import needs_fuse
from tierproxy.fuse.mounting import mounted, unmount

pytestmark = needs_fuse
TIME = 60


@dataclass
class Place:
    """A node with a unix socket and a place for mounts of it."""

    root: Path
    live: Live
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def point(self) -> Path:
        return self.root / "mnt"

    @property
    def url(self) -> str:
        return f"unix:{self.root}/s3.sock/mail"

    def command(self, *options: str, scratch: str = "scratch", point: Path | None = None) -> list[str]:
        return [
            sys.executable, "-m", "tierproxy", "mount", self.url, str(point or self.point),
            "--scratch", str(self.root / scratch), *options,
        ]  # fmt: skip

    def run(self, *options: str, **where: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*options, **where), capture_output=True, text=True, timeout=TIME, check=False  # type: ignore[arg-type]
        )  # fmt: skip

    def start(self, *options: str) -> subprocess.Popen[str]:
        """In the foreground; returns when it says READY=1."""
        address = str(self.root / "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hears:
            hears.bind(address)
            hears.settimeout(TIME)
            process = subprocess.Popen(
                self.command(*options), stderr=subprocess.PIPE, text=True, env={**os.environ, "NOTIFY_SOCKET": address}
            )
            self.started.append(process)
            assert b"READY=1" in hears.recv(1000)
        Path(address).unlink()
        return process

    def end(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()
        while mounted(self.point):
            unmount(self.point, lazily=True)


@contextmanager
def place(tmp_path: Path) -> Iterator[Place]:
    with live_node(tmp_path / "node", unix_socket=str(tmp_path / "s3.sock"), auth="none") as live:
        found = Place(tmp_path, live)
        try:
            yield found
        finally:
            found.end()


def shell(command: str, point: Path) -> str:
    return subprocess.run(
        ["sh", "-ec", command], cwd=point, check=True, capture_output=True, text=True, timeout=TIME
    ).stdout  # fmt: skip


def test_a_mount_is_used_by_programs_and_goes_with_sigterm(tmp_path: Path) -> None:
    with place(tmp_path) as here:
        process = here.start("--uid", "5000", "--gid", "5001", "--umask", "027", "--metrics", "127.0.0.1:0")
        shell(
            "mkdir -p u/INBOX; echo mail > u/INBOX/u.1; cp u/INBOX/u.1 u/INBOX/u.2; mv u/INBOX/u.2 u/INBOX/u.3",
            here.point,
        )
        assert shell("ls u/INBOX; cat u/INBOX/*", here.point) == "u.1\nu.3\nmail\nmail\n"
        assert shell("stat -c '%u %g %a' u/INBOX/u.1 u", here.point) == "5000 5001 640\n5000 5001 750\n"
        shell("rm u/INBOX/u.1; ! test -e u/INBOX/u.1", here.point)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=TIME)
        assert process.returncode == 0, said
        assert not mounted(here.point)
        assert "tierproxy.mount.service: mounted" in said


def test_an_unmount_by_somebody_else_ends_the_process_well(tmp_path: Path) -> None:
    with place(tmp_path) as here:
        process = here.start()
        subprocess.run(["umount", str(here.point)], check=True)
        _, said = process.communicate(timeout=TIME)
        assert process.returncode == 0, said


def test_a_daemon_returns_when_the_mount_answers_and_shows_its_metrics(tmp_path: Path) -> None:
    with place(tmp_path) as here:
        log = tmp_path / "log"
        started = here.run("--daemon", "--log-file", str(log), "--metrics", "127.0.0.1:0", "--log-format", "json")
        assert started.returncode == 0, started.stderr
        shell("echo mail > u.1", here.point)
        port = re.search(r'"event": "metrics", .*"port": (\d+)', started.stderr)
        assert port
        with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}/metrics", timeout=TIME) as page:
            assert b'tierproxy_mount_request_seconds_count{operation="create"} 1.0' in page.read()
        subprocess.run(["umount", str(here.point)], check=True)


def test_a_killed_mount_is_mounted_over_and_what_was_stored_is_there(tmp_path: Path) -> None:
    with place(tmp_path) as here:
        process = here.start()
        shell("echo mail > u.1", here.point)
        process.kill()
        process.wait()
        with pytest.raises(OSError, match="not connected"):
            here.point.stat()
        process = here.start()
        assert shell("cat u.1", here.point) == "mail\n"
        process.terminate()
        _, said = process.communicate(timeout=TIME)
        assert "dead mount taken away" in said


def test_what_is_mounted_already_and_a_scratch_directory_in_use_are_refused(tmp_path: Path) -> None:
    with place(tmp_path) as here:
        here.start()
        again = here.run(scratch="other")
        assert again.returncode == 3
        assert "mounted at" in again.stderr
        shared = here.run(point=tmp_path / "second")
        assert shared.returncode == 5
        assert "another mount's" in shared.stderr


def test_a_bad_mount_point_says_what_to_do(tmp_path: Path) -> None:
    with place(tmp_path) as here:
        here.point.mkdir()
        (here.point / "u.1").touch()
        refused = here.run("--check")
        assert refused.returncode == 3
        assert "is not empty" in refused.stderr
        (here.point / "u.1").unlink()
        here.point.chmod(0o777)
        assert "chown root:root" in here.run("--check").stderr
        here.point.chmod(0o755)
        fine = here.run("--check")
        assert (fine.returncode, mounted(here.point)) == (0, [])
        assert "can be mounted" in fine.stdout


@pytest.mark.parametrize(
    ("options", "about"),
    [
        (["--uid", "nobody-of-that-name"], "--uid"),
        (["--umask", "999"], "--umask"),
        (["--deadline", "soon"], "--deadline"),
        (["--metrics", "9400"], "host:port"),
    ],
)
def test_options_that_cannot_be_are_refused(tmp_path: Path, options: list[str], about: str) -> None:
    command = [sys.executable, "-m", "tierproxy", "mount", "unix:/nowhere.sock/mail", str(tmp_path / "mnt"), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIME, check=False)
    assert done.returncode in {2, 3}
    assert about in done.stderr
    assert not (tmp_path / "mnt").exists()
