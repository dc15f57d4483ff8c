"""What a node writes is its user's alone, whatever the umask is and whatever somebody else has put in its way."""

from __future__ import annotations

import asyncio
import http.client
import logging
import os
import pwd
import socket
import stat
from pathlib import Path

import pytest

from tests.operation.programs import BUCKET, Serving, command, configured, serving
from tests.upgrade.then import NAMES, unpacked
from tierproxy.catalogue import catalogue_file
from tierproxy.config.load import examine
from tierproxy.config.sections import HistorySection, ListenSection, StubsSection
from tierproxy.disk.fsio import Files
from tierproxy.disk.lock import DataLock
from tierproxy.disk.mark import CommitMark
from tierproxy.disk.ownership import close_to_others
from tierproxy.errors import ConfigError, DiskUnavailable
from tierproxy.formats import record
from tierproxy.near.versions import table_path
from tierproxy.server.listeners import UnixSocket
from tierproxy.testing.rig import rig

NOBODY = pwd.getpwnam("nobody").pw_uid
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another user")


def ask(node: Serving, method: str, target: str, body: bytes = b"") -> bytes:
    client = http.client.HTTPConnection("127.0.0.1", node.port, timeout=60)
    client.request(method, f"/{BUCKET}/{target}", body, {"x-tierproxy-ack": "disk"})
    answer = client.getresponse()
    found = answer.read()
    client.close()
    assert answer.status == 200, found
    return found


def modes(data: Path) -> dict[str, str]:
    """Of everything that others than its owner may use in any way."""
    every = [data, *sorted(data.rglob("*"))]
    return {str(path): oct(path.lstat().st_mode) for path in every if path.lstat().st_mode & 0o077}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_node_closes_everything_it_makes(tmp_path: Path, umask: int) -> None:
    run = tmp_path / "run"
    run.mkdir()
    sock = run / "s3.sock"
    listen = ('address = "127.0.0.1:0"', 'auth = "none"', f'unix_socket = "{sock}"', 'unix_socket_mode = "0660"')
    file = configured(tmp_path / "home", listen=listen)
    data = tmp_path / "home" / "data"
    with serving(command(file), tmp_path / "log", umask=umask) as node:
        ask(node, "PUT", "a", b"a mail")
        ask(node, "GET", "a")
        ask(node, "POST", "parts?uploads=")
        assert stat.S_IMODE(sock.stat().st_mode) == 0o660
        table = table_path(data)
        assert stat.S_IMODE(table.stat().st_mode) == 0o600
        assert {"catalogue.sqlite", "catalogue.sqlite-wal", "catalogue.sqlite-shm"} <= {
            path.name for path in (data / "catalogue").iterdir()
        }
        names = {path.name for path in data.iterdir()}
        assert {"format", "admin.json", "admin.token", "lock", "stubs"} <= names
        assert modes(data) == {}
        assert node.stop() == 0
    assert list((data / "history").iterdir())
    assert modes(data) == {}
    assert not sock.exists()


async def test_what_an_older_version_left_open_is_closed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    old = unpacked(NAMES[-1], tmp_path)
    catalogue_file(old.data).chmod(0o644)
    old.data.chmod(0o777)
    caplog.set_level(logging.WARNING)
    async with rig(old.data, alt=await old.alt(), **old.options()):
        assert stat.S_IMODE(old.data.stat().st_mode) == 0o755
        assert stat.S_IMODE(catalogue_file(old.data).stat().st_mode) == 0o600
    assert [record.msg for record in caplog.records].count("closed to others") == 2


def test_a_directory_for_everybody_is_left_so_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tmp_path.chmod(0o1777)
    close_to_others(tmp_path, Files())
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o1777
    assert [record.msg for record in caplog.records] == ["others may write to the data directory"]
    tmp_path.chmod(0o700)


def test_a_directory_that_is_not_there_is_nothing(tmp_path: Path) -> None:
    close_to_others(tmp_path / "nothing" / "here", Files())


# ---------------------------------------------------------------- links


PLANTED = ("lock", "committed", "format", ".format.draft", "admin.json", ".admin.json.draft", "admin.token",
           ".admin.token.draft", "catalogue/catalogue.sqlite-wal", "stubs/cache.db-wal")  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_nothing_is_written_through_a_link(tmp_path: Path, name: str) -> None:
    """Of the node's own user, which is the best an attacker could have: the start ends, or the link does."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    data = tmp_path / "home" / "data"
    (data / name).parent.mkdir(parents=True)
    (data / name).symlink_to(victim)

    async def lived() -> None:
        async with rig(data, history=HistorySection(), stubs=StubsSection()) as one:
            await one.put("a", b"a mail")
            one.parts.mark.write(one.parts.catalogue.committed())

    try:
        asyncio.run(lived())
    except (ConfigError, DiskUnavailable) as error:
        assert error.hint or name == "committed"  # noqa: PT017
    assert victim.read_text() == "mine"
    assert stat.S_IMODE(victim.stat().st_mode) == 0o644


def test_lock_mark_and_format_follow_no_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    data = tmp_path / "data"
    data.mkdir()
    for name in ("lock", "committed", ".format.draft"):
        (data / name).symlink_to(victim)
    with pytest.raises(ConfigError, match="symbolic links"):
        DataLock.take(data, Files())
    with pytest.raises(DiskUnavailable, match="symbolic links"):
        CommitMark(data, Files()).write(7)
    record(data, Files(), "1")
    assert victim.read_text() == "mine"
    assert (data / "format").is_file()


@needs_root
@pytest.mark.parametrize("name", ["lock", "blobs", "catalogue", "catalogue/catalogue.sqlite", "stubs/cache.db", "x"])
def test_what_somebody_else_has_put_there_ends_the_start(tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    data = tmp_path / "data"
    (data / name).parent.mkdir(parents=True)
    (data / name).symlink_to(victim)
    os.lchown(data / name, NOBODY, NOBODY)
    with pytest.raises(ConfigError, match="belongs to another user") as caught:
        close_to_others(data, Files())
    assert "chown" in caught.value.hint
    assert not victim.exists()


@needs_root
def test_a_directory_of_another_user_with_all_its_own_files_is_fine_for_root(tmp_path: Path) -> None:
    """``tierproxy check`` by root, on the directory of the node's user."""
    data = tmp_path / "data"
    data.mkdir(0o700)
    (data / "lock").touch(0o600)
    for path in (data, data / "lock"):
        os.chown(path, NOBODY, NOBODY)
    close_to_others(data, Files())


def test_the_mode_of_a_socket_is_given_to_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between bind(2) and chmod(2) somebody replaces the file."""
    victim = tmp_path / "victim"
    victim.touch(0o600)
    bind = socket.socket.bind

    def replaced(bound: socket.socket, address: str) -> None:
        bind(bound, address)
        os.unlink(address)
        os.symlink(victim, address)

    monkeypatch.setattr("tierproxy.server.listeners.socket.socket", type("Fast", (socket.socket,), {"bind": replaced}))
    with pytest.raises(ConfigError):
        UnixSocket(ListenSection(unix_socket=str(tmp_path / "s3.sock"), unix_socket_mode="0666")).bind()
    assert stat.S_IMODE(victim.stat().st_mode) == 0o600
    assert not (tmp_path / "s3.sock").exists()


def test_a_run_directory_that_is_everybodys_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for mode, said in ((0o755, []), (0o1777, []), (0o777, ["anybody may put another socket there"])):
        caplog.clear()
        tmp_path.chmod(mode)
        unix = UnixSocket(ListenSection(unix_socket=str(tmp_path / "s3.sock")))
        unix.bind().close()
        unix.remove()
        assert [record.msg for record in caplog.records] == said


# ---------------------------------------------------------------- secrets in files


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, False), (0o644, True), (0o604, True)])
def test_a_secret_that_everybody_can_read_is_named(tmp_path: Path, mode: int, warned: bool) -> None:
    """A warning and no refusal: images and mounted secrets of containers often are 0644 with nobody else inside."""
    file, secret = configured(tmp_path / "home"), tmp_path / "secret"
    secret.write_text("a-secret-of-enough-letters")
    secret.chmod(mode)
    with file.open("a") as more:
        more.write(f'[[key]]\naccess_key_id = "ann"\nsecret_file = "{secret}"\n')
    found = [text for text in examine(file, {}).warnings if str(secret) in text]
    assert bool(found) is warned
    if warned:
        assert f"chmod 600 {secret}" in found[0]
