"""What a client sees and Dovecot logs when S3, the node or the mount are in trouble; afterwards every acknowledged mail
is there, once, unchanged, with its flags, and no index was rebuilt for nothing."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.dovecot.conftest import S3, worlds
from tests.dovecot.trouble import DEAD, FAILED, away, fails, flood, posting, purged, read
from tests.dovecot.world import Kind, World, private, tiny_mail
from tierproxy.dovecot.settings import Folders, Layout
from tierproxy.testing.children import mounted
from tierproxy.testing.imap import Gone, Refused

pytestmark = [pytest.mark.slow, pytest.mark.clients]


@pytest.fixture(scope="module")
def host(s3: S3) -> Iterator[World]:
    yield from worlds(Kind.MOUNT, Layout.MAIN, s3, folders=Folders.FS)


@pytest.fixture(autouse=True)
def intact(host: World) -> Iterator[None]:
    """Before and after each trouble. The flag tells whether an index was made anew."""
    host.deliver(4)
    flagged: list[int]
    with host.imap() as session:
        session.select()
        session.store("1:*", r"\Flagged")
        flagged = session.uids()
    since = host.dovecot.mark()
    yield
    assert host.differences() == []
    with host.imap() as session:
        session.select()
        assert set(flagged) - set(session.uids("FLAGGED")) <= host_expunged(host, flagged)
    assert host.unexpected(since) == []
    host.expected.clear()
    host.read = host.dovecot.mark()
    host.settle()
    assert host.storage is not None
    assert len(host.stored()) == host.ledger.total()


def host_expunged(host: World, uids: list[int]) -> set[int]:
    with host.imap() as session:
        session.select()
        return set(uids) - set(session.uids())


WAYS: dict[str, dict[str, Any]] = {
    "down": {"mode": "refuse"}, "silent": {"mode": "blackhole"}, "503": {"answer": 503},
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_without_s3_mail_on_disk_is_read_other_mail_fails_and_new_mail_is_taken(host: World, way: str) -> None:
    assert host.storage is not None
    cold, uid = purged(host)
    (warm,) = host.deliver()
    host.expect(FAILED)
    host.storage.relay.set(**WAYS[way])
    try:
        fails(host, uid)
        with host.imap() as session:
            session.select()
            assert session.body(session.uids()[-1]).endswith(warm.content)
            rows = session.fetch(uid, "FLAGS RFC822.SIZE BODY.PEEK[HEADER]")
            assert uid in rows  # of the stub
        host.deliver()  # on disk; alt gets it later
    finally:
        host.storage.relay.set()
    with host.imap() as session:
        session.select()
        assert session.body(uid).endswith(cold.content)
    host.settle()


def test_with_a_slow_s3_everything_works(host: World) -> None:
    assert host.storage is not None
    cold, uid = purged(host)
    host.storage.relay.set(delay=0.5)
    try:
        host.deliver()
        with host.imap() as session:
            session.select()
            assert session.body(uid).endswith(cold.content)
            session.create("Slow")
            session.copy(str(uid), "Slow")
            host.ledger.copied("u1", "Slow", cold.number)
    finally:
        host.storage.relay.set()


def test_one_slow_get_keeps_no_other_user_waiting(host: World) -> None:
    """The slow one is not answered before the others are."""
    assert host.storage is not None
    cold, uid = purged(host)
    (warm,) = host.deliver(user="u2")
    done: list[bytes] = []

    thread = threading.Thread(target=lambda: done.append(read(host, uid)))
    with host.imap("u2") as session:
        session.select()
        host.storage.relay.set(delay=1.2, kinds=["GET"])
        try:
            thread.start()
            for _ in range(10):
                assert session.body(session.uids()[-1]).endswith(warm.content)
            assert not done
            thread.join()
        finally:
            host.storage.relay.set()
    assert done[0].endswith(cold.content)


def test_a_killed_node_delays_mail_and_loses_none(host: World) -> None:
    assert host.storage is not None
    host.expect(FAILED)
    with posting(host, 12):
        host.storage.node.kill()
        try:
            fails(host, 1)
        finally:
            host.storage.node.start()


def test_a_node_that_hangs_fails_reads_within_the_deadline(host: World) -> None:
    assert host.storage is not None
    cold, uid = purged(host)
    host.expect(FAILED)
    os.kill(host.storage.node.pid, signal.SIGSTOP)
    try:
        fails(host, uid)
    finally:
        os.kill(host.storage.node.pid, signal.SIGCONT)
    with host.imap() as session:
        session.select()
        assert session.body(uid).endswith(cold.content)


def test_a_killed_mount_delays_mail_and_loses_none(host: World) -> None:
    assert host.storage is not None
    host.expect(FAILED, DEAD, *away(host))
    with posting(host, 12):
        host.storage.mount.kill()
        try:
            fails(host, 1)
        finally:
            host.storage.mount.start()  # it takes the dead mount away itself
    assert mounted(host.mail)


def test_without_the_mount_nothing_is_lost_as_its_place_is_roots(host: World) -> None:
    assert host.storage is not None
    host.expect(*away(host))
    host.storage.mount.stop()
    assert os.stat(host.mail).st_uid == 0
    try:
        with pytest.raises((Refused, Gone)):
            host.deliver()
        assert list(host.mail.iterdir()) == []
    finally:
        host.storage.mount.start()


def test_a_copy_that_is_gone_from_the_disk_comes_from_s3(host: World) -> None:
    assert host.storage is not None
    (one,) = host.deliver()
    host.settle()
    blobs = [path for path in (host.storage.node.directory / "data" / "blobs").rglob("*") if path.is_file()]
    newest = max(blobs, key=lambda path: path.stat().st_mtime_ns)
    newest.unlink()
    host.storage.node.stop()  # what it has in memory goes, too
    host.storage.node.start()
    with host.imap() as session:
        session.select()
        assert session.body(session.uids()[-1]).endswith(one.content)


def test_a_mail_that_somebody_removed_from_s3_fails_and_no_other_does(host: World) -> None:
    assert host.storage is not None
    lost, uid = purged(host)
    kept = host.storage.names()
    key = next(name for name in kept if name.endswith(f"u1/mailboxes/INBOX/dbox-Mails/u.{uid}"))
    away = host.storage.taken_away(key)
    host.expect(FAILED)
    fails(host, uid)
    with host.imap() as session:
        session.select()
        assert uid in session.uids()  # its line in the index is still there
        assert session.body(session.uids()[-2])
    host.storage.restore(away)
    with host.imap() as session:
        session.select()
        assert session.body(uid).endswith(lost.content)


def test_a_second_server_on_the_same_mailbox_loses_nothing(host: World) -> None:
    """One writer per mailbox is the rule; who breaks it gets refusals and rebuilds, and keeps every mail."""
    collided = ("already exists", "File exists")  # seen before the rename, or by it: both servers were at it at once
    host.expect(*collided, "[Rr]ebuilding", "Unexpectedly lost", "[Cc]orrupted", "Input/output")
    second = private(host.home / "second", host.mail, Layout.MAIN, folders=Folders.FS)
    with second:
        second.doveadm("force-resync", "-u", "u2", "*", check=False)
        letters = [host.letter(tiny_mail(number)) for number in range(24)]
        servers = (host.dovecot, second)
        failed: list[BaseException] = []
        threads = [
            threading.Thread(target=flood, args=(server.ports.lmtp, letters[number::2], failed))
            for number, server in enumerate(servers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failed
    for one in letters:
        host.ledger.add("u2", "INBOX", one)
    host.dovecot.doveadm("force-resync", "-u", "u2", "*", check=False)
    host.dovecot.doveadm("force-resync", "-u", "u2", "*")
