"""A private Dovecot starts, answers, says what went wrong, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.dovecot.conftest import need_dovecot
from tests.dovecot.world import USERS, private, short_directory
from tierproxy.dovecot.private import DovecotFailed, PrivateDovecot, owned
from tierproxy.dovecot.private_config import Places, Ports, configuration, passwd_file
from tierproxy.dovecot.settings import Layout
from tierproxy.dovecot.versions import version_of
from tierproxy.errors import ConfigError
from tierproxy.testing.imap import Gone, Imap, Lmtp, Refused, letter


@pytest.fixture
def dovecot() -> Iterator[PrivateDovecot]:
    """Not started."""
    need_dovecot()
    with short_directory() as home:
        (home / "mail").mkdir()
        owned(home / "mail")
        found = private(home / "dovecot", home / "mail", Layout.MAIN)
        try:
            yield found
        finally:
            found.close()


def processes(master: int) -> list[int]:
    """Those of the session that the master began."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, _, session = path.read_text().rpartition(")")[2].split()[:4]
            if int(session) == master and state != "Z":
                found.append(int(path.parent.name))
    return found


def master_of(dovecot: PrivateDovecot) -> int:
    assert dovecot._process is not None
    return dovecot._process.pid


def test_it_ends_with_every_process_it_started(dovecot: PrivateDovecot) -> None:
    dovecot.start()
    master = master_of(dovecot)
    with Imap(dovecot.ports.imap, "u1", USERS["u1"]) as session:
        session.select()
        assert len(processes(master)) > 3
        dovecot.stop()
    assert processes(master) == []
    assert not dovecot.running


def test_a_process_that_does_not_end_is_killed(dovecot: PrivateDovecot) -> None:
    dovecot._stop_timeout = 0.5
    dovecot.start()
    master = master_of(dovecot)
    with Imap(dovecot.ports.imap, "u1", USERS["u1"]):
        (imap,) = [pid for pid in processes(master) if command_of(pid).endswith(b"/imap\0")]
        os.kill(imap, signal.SIGSTOP)
        dovecot.stop()
    assert processes(master) == []


def command_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_its_ports_stay_its_own_while_it_is_stopped(dovecot: PrivateDovecot) -> None:
    dovecot.start()
    before = dovecot.ports
    dovecot.stop()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", before.imap))
    dovecot.start()
    with Imap(before.imap, "u1", USERS["u1"]) as session:
        assert session.select() == 0


def test_its_log_is_read_from_a_mark_on(dovecot: PrivateDovecot) -> None:
    dovecot.start()
    with Lmtp(dovecot.ports.lmtp) as post:
        post.deliver("u1", letter(1, b"Subject: one\r\n\r\none\r\n"))
    assert dovecot.complaints() == []
    mark = dovecot.mark()
    (mail,) = (dovecot.places.directory.parent / "mail").rglob("u.1")
    mail.unlink()
    with Imap(dovecot.ports.imap, "u1", USERS["u1"]) as session:
        session.select()
        with pytest.raises((Refused, Gone)):
            session.body(1)
    with Imap(dovecot.ports.imap, "u1", USERS["u1"]) as session:
        session.select()
    assert dovecot.complaints(mark)
    assert set(dovecot.rebuilds(mark)) <= set(dovecot.complaints(mark))
    assert any("Unexpectedly lost" in line for line in dovecot.rebuilds(mark))


def test_a_configuration_it_cannot_read_is_shown(dovecot: PrivateDovecot) -> None:
    dovecot.more = "no_such_setting = 1"
    with pytest.raises(DovecotFailed, match="no_such_setting"):
        dovecot.start()
    assert not dovecot.running


def test_a_failing_doveadm_says_why(dovecot: PrivateDovecot) -> None:
    dovecot.start()
    with pytest.raises(DovecotFailed, match="nobody"):
        dovecot.doveadm("mailbox", "list", "-u", "nobody")


def test_a_path_too_long_for_sockets_is_refused(dovecot: PrivateDovecot) -> None:
    long = dovecot.places.directory / ("x" * 60)
    with PrivateDovecotAt(long) as refused, pytest.raises(ConfigError, match="too long"):
        refused.start()


class PrivateDovecotAt(PrivateDovecot):
    """Not started by ``with``."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, "", {})

    def __enter__(self) -> PrivateDovecotAt:
        return self


def test_2_4_is_told_the_same_in_its_own_words() -> None:
    text = configuration(version_of("2.4.1-4 (7d8c0bc7f1)"), Places(Path("/x")), Ports(1, 2, 3), "mail_driver = sdbox")
    assert text.startswith("dovecot_config_version = 2.4.1\n")
    assert "passdb passwd-file {\n  passwd_file_path = /x/passwd\n}" in text
    assert "disable_plaintext_auth" not in text
    assert "mail_driver = sdbox" in text


def test_users_are_one_a_line() -> None:
    assert passwd_file({"a@example.org": "x", "b": "y"}) == "a@example.org:{PLAIN}x::::::\nb:{PLAIN}y::::::\n"
