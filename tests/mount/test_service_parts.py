"""What the mount process is made of, without a mount."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest
import typer

from tierproxy.cli.daemon import detached
from tierproxy.cli.mountkeys import Keys, key_of, node_of
from tierproxy.config.sections import Config, KeySection, ListenSection
from tierproxy.errors import ConfigError
from tierproxy.fuse.counters import Asked
from tierproxy.fuse.protocol import Opcode
from tierproxy.metrics.mount import ROOMS, Held, page
from tierproxy.mount.client_address import Address
from tierproxy.mount.counters import Counters
from tierproxy.mount.exposition import exposed
from tierproxy.mount.location import Location, parse_location
from tierproxy.mount.supervisor import Supervisor

NODE = Address(host="127.0.0.1", port=9300)
SOCKET = Address(socket="/run/t/s3.sock")


@pytest.mark.parametrize(
    ("text", "bucket", "location"),
    [
        ("unix:/run/t/s3.sock/mail", "", Location(SOCKET, "mail")),
        ("unix:/run/t/s3.sock/mail/a/b/", "", Location(SOCKET, "mail", "a/b/")),
        ("unix:/run/t/s3.sock", "mail", Location(SOCKET, "mail")),
        ("unix:/run/t/s3.sock/a", "mail", Location(SOCKET, "mail", "a/")),
        ("unix:/run/plain:/mail/a", "", Location(Address(socket="/run/plain"), "mail", "a/")),
        ("http://127.0.0.1:9300/mail", "", Location(NODE, "mail")),
        ("http://127.0.0.1:9300/mail/with%20space", "", Location(NODE, "mail", "with space/")),
        ("http://127.0.0.1:9300/", "mail", Location(NODE, "mail")),
        ("https://[::1]/mail", "", Location(Address(host="::1", port=443, tls=True), "mail")),
    ],
)
def test_a_url_says_node_bucket_and_prefix(text: str, bucket: str, location: Location) -> None:
    assert parse_location(text, bucket) == location


@pytest.mark.parametrize(
    "text",
    ["unix:/run/t/s3.sock", "unix:s3.sock/mail", "http://127.0.0.1:9300", "http://h/Mail", "ftp://h/mail", "mail",
     "http://h/mail?x=1", "http://user:pass@h/mail"],
)  # fmt: skip
def test_a_url_that_does_not_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_location(text)


# ------------------------------------------------------------ keys


def keys(**given: object) -> Keys:
    return Keys(**({"id": "", "secret_file": None, "key_file": None, "region": "r", "ca_file": None} | given))  # type: ignore[arg-type]


def private(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_a_key_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    file = private(tmp_path / "key", "dovecot:s3cret\n")
    secret = private(tmp_path / "secret", "s3cret\n")
    for given in (keys(key_file=file), keys(id="dovecot", secret_file=secret)):
        found = key_of(given, {})
        assert found is not None
        assert (found.id, found.secret, found.region) == ("dovecot", "s3cret", "r")
    found = key_of(keys(id="dovecot"), {"TIERPROXY_SECRET_ACCESS_KEY": "s3cret"})
    assert found is not None
    assert found.secret == "s3cret"
    assert key_of(keys(), {}) is None


def test_a_key_nobody_keeps_secret_is_refused(tmp_path: Path) -> None:
    file = private(tmp_path / "key", "dovecot:s3cret")
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="everybody can read"):
        key_of(keys(key_file=file), {})
    with pytest.raises(ConfigError, match="ID:SECRET"):
        key_of(keys(key_file=private(tmp_path / "odd", "dovecot")), {})
    with pytest.raises(ConfigError, match="No such file"):
        key_of(keys(id="a", secret_file=tmp_path / "missing"), {})
    with pytest.raises(ConfigError, match="what is the secret"):
        key_of(keys(id="a"), {})


def test_a_nodes_configuration_says_where_it_is_and_gives_a_key_that_may_write() -> None:
    config = Config(
        listen=ListenSection(address="0.0.0.0:9300", unix_socket="/run/t/s3.sock"),
        key=(KeySection(access_key_id="r", secret="1", access="read"), KeySection(access_key_id="w", secret="2")),
    )
    location, credentials, trust = node_of(config, "mail")
    assert location == Location(SOCKET, "mail")
    assert credentials is not None
    assert (credentials.id, trust) == ("w", None)
    location, _, _ = node_of(Config(listen=ListenSection(address="0.0.0.0:9300")), "mail")
    assert location == Location(NODE, "mail")


# ------------------------------------------------------------ what it tells


@pytest.mark.parametrize("name", ["{path}", "@tierproxy-test-{pid}"])
def test_a_supervisor_hears(tmp_path: Path, name: str) -> None:
    address = name.format(path=tmp_path / "notify", pid=os.getpid())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hears:
        hears.bind(address.replace("@", "\0"))
        Supervisor(address).tell(READY=1, STATUS="mounted")
        assert hears.recv(100) == b"READY=1\nSTATUS=mounted"


def test_no_supervisor_is_fine(tmp_path: Path) -> None:
    Supervisor().tell(READY=1)
    Supervisor(str(tmp_path / "nobody")).tell(READY=1)


class Sources:
    def __init__(self) -> None:
        self.asked = Asked()
        self.counts = Counters(fetched=3)

    def held(self) -> Held:
        return Held(handles=2, waiting=1, scratch=4096, hears=True)


def test_the_page_counts_requests_by_operation_and_errno() -> None:
    sources = Sources()
    sources.asked.answered(Opcode.OPEN, 0, 0.001)
    sources.asked.answered(Opcode.OPEN, 5, 0.001)
    text = page(sources)[0].decode()
    assert 'tierproxy_mount_request_seconds_count{operation="open"} 2.0' in text
    assert 'tierproxy_mount_request_failures_total{errno="EIO",operation="open"} 1.0' in text
    assert 'tierproxy_mount_opens_total{outcome="fetched"} 3.0' in text
    assert "tierproxy_mount_hears_changes 1.0" in text
    assert "process_resident_memory_bytes" in text
    for room in ROOMS:
        assert all(f"# HELP {metric.name.removesuffix('_total')}" in text for metric in room.metrics), room.title


async def request(port: int, text: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_metrics_are_served_on_loopback() -> None:
    async with exposed("127.0.0.1", 0, lambda: (b"page", "text/plain")) as port:
        assert (await request(port, b"GET /metrics HTTP/1.1\r\n\r\n")).endswith(b"Content-Length: 4\r\n\r\npage")
        assert (await request(port, b"GET / HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.0 404")
        assert await request(port, b"GET /" + b"x" * 20_000) == b""
        _, idle = await asyncio.open_connection("127.0.0.1", port)
    idle.close()
    await idle.wait_closed()


async def test_metrics_are_not_shown_to_everybody() -> None:
    with pytest.raises(ConfigError, match="everybody"):
        async with exposed("0.0.0.0", 0, lambda: (b"", "")):
            pass


# ------------------------------------------------------------ daemons


def test_a_daemon_that_fails_before_it_is_ready_gives_its_exit_code() -> None:
    with pytest.raises(typer.Exit) as caught:
        detached(lambda ready: os._exit(3), None)
    assert caught.value.exit_code == 3


def test_a_daemon_returns_when_it_is_ready_and_writes_to_its_file_from_then_on(tmp_path: Path) -> None:
    output = tmp_path / "log"
    came, say = os.pipe()

    def work(ready: object) -> None:
        assert callable(ready)
        ready()
        os.write(1, b"said later")
        os.write(say, b"+")
        os._exit(0)

    detached(work, output)
    assert os.read(came, 1) == b"+"
    os.close(came)
    os.close(say)
    os.wait()
    assert output.read_bytes() == b"said later"
