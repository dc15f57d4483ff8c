"""The image, as an engine would run it: its user, its environment, its command, its health check, its volume.

Built and run by buildah (``build.sh``), which shares the machine's network: ports are those of the loopback.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tierproxy.alt.client import s3_client
from tierproxy.config.sections import AltSection
from tierproxy.embedded import EmbeddedS3

ROOT = Path(os.environ["TEST_IMAGE_ROOT"])
LAYERS = (
    "buildah", "--root", str(ROOT / "storage"), "--runroot", str(ROOT / "run"), "--storage-driver", "vfs",
)  # fmt: skip
SECRET = "a secret of sixteen or more"
NODE = "127.0.0.1:9300"  # where the image's health check looks
USER = 9300


def buildah(*words: str) -> str:
    return subprocess.run([*LAYERS, *words], capture_output=True, text=True, check=True).stdout.strip()


@cache
def config() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(buildah("inspect", "--type", "image", "tierproxy"))["Docker"]["config"]
    return found


class Container:
    """One of the image, with what an engine would give it. ``alt``: its S3 server."""

    def __init__(self, name: str, alt: EmbeddedS3) -> None:
        self.name = name
        self.alt = alt

    def command(self, *words: str) -> list[str]:
        given = {
            "MAILSTORE_SECRET": SECRET, "TIERPROXY_LISTEN_ADDRESS": NODE,
            "TIERPROXY_ALT_ENDPOINT": self.alt.endpoint, "TIERPROXY_ALT_ACCESS_KEY_ID": self.alt.access_key,
            "TIERPROXY_ALT_SECRET_ACCESS_KEY": self.alt.secret_key,
        }  # fmt: skip
        options = [word for name, value in given.items() for word in ("--env", f"{name}={value}")]
        return [*LAYERS, "run", "--isolation", "chroot", *options, self.name, "--", *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*words), capture_output=True, text=True, check=False, timeout=60)

    @contextmanager
    def node(self) -> Iterator[psutil.Process]:
        """What the image does when nothing else is asked of it; ends in order."""
        words = [*config()["Entrypoint"], *config()["Cmd"]]
        with (
            open(ROOT / "node.log", "ab") as log,
            subprocess.Popen(self.command(*words), stdout=log, stderr=subprocess.STDOUT) as shell,
        ):
            node = self._served(psutil.Process(shell.pid))
            try:
                yield node
            finally:
                node.send_signal(getattr(signal, config()["StopSignal"]))
                code = shell.wait(60)
            assert code == 0

    def _served(self, shell: psutil.Process) -> psutil.Process:
        with httpx.Client(transport=httpx.HTTPTransport(retries=5)) as client:
            while True:
                assert shell.is_running(), (ROOT / "node.log").read_text()[-2000:]
                try:
                    client.get(f"http://{NODE}/-/health").raise_for_status()
                    break
                except httpx.HTTPError:
                    assert shell.status() != psutil.STATUS_ZOMBIE, (ROOT / "node.log").read_text()[-2000:]
        return next(one for one in shell.children(recursive=True) if one.name() == "tierproxy")


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    alt = EmbeddedS3(tmp_path / "alt")
    alt.start()
    alt.make_bucket("mail")
    name = buildah("from", "--pull-never", "tierproxy")
    try:
        yield Container(name, alt)
    finally:
        buildah("rm", name)
        alt.kill()


def client() -> Any:
    section = AltSection(endpoint=f"http://{NODE}", access_key_id="mailstore", secret_access_key=SECRET)
    return s3_client(section)


def test_a_node_in_it_keeps_mail_on_its_volume_and_in_s3(container: Container) -> None:
    body = b"a mail " * 1000
    with container.node() as node:
        assert node.uids().real == node.uids().effective == USER
        written = client().put_object(Bucket="mail", Key="u.1", Body=body)
        assert written["ResponseMetadata"]["HTTPHeaders"]["x-tierproxy-tiers"] == "disk,alt"
    assert s3_client(container.alt.section()).get_object(Bucket="mail", Key="u.1")["Body"].read() == body
    container.alt.kill()
    with container.node():
        assert client().get_object(Bucket="mail", Key="u.1")["Body"].read() == body


def test_its_health_check_is_right(container: Container) -> None:
    kind, *check = config()["Healthcheck"]["Test"]
    assert kind == "CMD"
    assert container.run(*check).returncode != 0
    with container.node():
        assert container.run(*check).returncode == 0


def test_commands_find_the_node(container: Container) -> None:
    with container.node():
        status = container.run("tierproxy", "status")
        assert status.returncode == 0, status.stderr
        assert "mail" in status.stdout


def test_nothing_but_its_volume_is_its_own(container: Container) -> None:
    root = Path(buildah("mount", container.name))
    try:
        (volume,) = config()["Volumes"]
        found = os.lstat(root / volume.lstrip("/"))
        assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (USER, 0o700)
        for place in (root / "opt", root / "etc"):
            for path in [place, *place.rglob("*")]:
                one = os.lstat(path)
                assert one.st_uid != USER, path
                assert stat.S_ISLNK(one.st_mode) or not stat.S_IMODE(one.st_mode) & 0o002, path
        assert not [*(root / "opt/tierproxy/bin").glob("pip*")]
        settings = root / "etc/pip.conf"  # of the machine it was built on, laid over an empty file
        assert not settings.exists() or not settings.read_bytes()
        assert not (root / "src").exists()
    finally:
        buildah("umount", container.name)


def test_it_says_how_it_is_to_be_run() -> None:
    found = config()
    assert found["User"] == "tierproxy"
    assert set(found["ExposedPorts"]) == {"9300/tcp", "9301/tcp"}
    assert found["StopSignal"] == "SIGTERM"
    assert not [one for one in found["Env"] if "SECRET" in one]
