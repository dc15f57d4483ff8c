"""Trouble that needs a host of its own: full disks, late answers, the wrong owner of a mount point, an empty host."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests.dovecot.conftest import S3
from tests.dovecot.trouble import own_world, post
from tests.dovecot.world import DEADLINE, MIB, USERS, World
from tierproxy.config.sections import DiskSection
from tierproxy.config.values import Duration, Share, Size
from tierproxy.testing.imap import Gone, Refused

pytestmark = [pytest.mark.slow, pytest.mark.clients]


def test_a_delivery_that_a_hanging_node_finishes_later_makes_no_second_mail(s3: S3) -> None:
    with own_world(s3) as found:
        found.deliver()
        one = found.letter()
        os.kill(found.storage.node.pid, signal.SIGSTOP)
        try:
            with found.lmtp() as session, pytest.raises(Refused):
                session.deliver("u1", one)
        finally:
            os.kill(found.storage.node.pid, signal.SIGCONT)
        post(found, one)
        assert found.differences() == []
        assert not found.dovecot.rebuilds()


def test_an_answer_that_comes_too_late_makes_no_second_mail(s3: S3) -> None:
    """S3 is silent for longer than the mount waits: Dovecot was told that the mail is not stored, and the MTA comes
    again."""
    patient = {"connect_timeout": Duration(2), "request_timeout": Duration(DEADLINE + 4)}
    with own_world(s3) as found:
        found.storage.node.stop()
        found.storage.configure(alt=replace(found.storage.node.config.alt, **patient))
        found.storage.node.start()
        found.deliver()
        found.storage.relay.set(mode="blackhole")
        one = found.letter()
        try:
            with found.lmtp() as session, pytest.raises(Refused):
                session.deliver("u1", one)
        finally:
            found.storage.relay.set()
        post(found, one)
        assert found.differences() == []
        assert not found.dovecot.rebuilds()


def test_a_full_disk_lets_mail_through_to_s3_or_refuses_it(s3: S3) -> None:
    small = DiskSection(max_bytes=Size(8 * MIB), min_free=Share(bytes=64 * MIB))
    with own_world(s3, disk=small) as found:
        content = b"Subject: large\r\n\r\n" + (b"x" * 70 + b"\r\n") * 10_000
        found.deliver(20, content=content)
        found.storage.relay.set(mode="refuse")
        refused: list[str] = []
        try:
            for _ in range(20):
                one = found.letter(content)
                try:
                    with found.lmtp() as session:
                        session.deliver("u1", one)
                except Refused as error:
                    refused.append(str(error))
                else:
                    found.ledger.add("u1", "INBOX", one)
        finally:
            found.storage.relay.set()
        assert refused
        assert all("45" in text.split()[0] for text in refused)  # an MTA tries again
        assert not found.dovecot.rebuilds()
        assert found.differences() == []


@contextmanager
def small_scratch(found: World, size: int) -> Iterator[None]:
    """The mount's scratch directory is a file system of ``size`` bytes meanwhile."""
    storage = found.storage
    assert storage is not None
    scratch = storage.home / "scratch"
    storage.mount.stop()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "scratch", str(scratch)], check=True)
    try:
        storage.mount.start()
        yield
    finally:
        storage.mount.stop()
        subprocess.run(["umount", str(scratch)], check=True)
        storage.mount.start()


def test_a_full_scratch_directory_refuses_large_mail_and_loses_none(s3: S3) -> None:
    """Dovecot's temporary file does not find room: the MTA is told to come again, small mail (in memory) is taken
    meanwhile, nothing is left of the attempts, and the same mail is taken when there is room."""
    with own_world(s3) as found:
        found.deliver()
        large = found.letter(b"Subject: large\r\n\r\n" + (b"x" * 70 + b"\r\n") * 60_000)
        with small_scratch(found, 2 * MIB):
            for _ in range(3):
                with found.lmtp() as session, pytest.raises(Refused, match=r"^4[0-9][0-9]"):
                    session.deliver("u1", large)
                found.deliver(2)
            assert not list((found.storage.home / "scratch" / "files").iterdir())
            with found.imap() as session:
                session.select()
                with pytest.raises(Refused):
                    session.append("INBOX", large)
        post(found, large)
        assert found.differences() == []
        assert not found.dovecot.rebuilds()
        assert not [key for key in found.storage.names() if ".temp" in key]


def test_the_trap_of_a_mount_point_that_dovecot_may_write_to(s3: S3) -> None:
    """Why `tierproxy mount` and `tierproxy dovecot check` insist on root's: the index forgets every mail and its flags,
    and new mail goes into the directory below. S3 still has everything."""
    with own_world(s3) as found:
        found.deliver(4)
        with found.imap() as session:
            session.select()
            session.store("1:*", r"\Flagged")
        found.settle()
        before = set(found.stored())
        found.storage.mount.stop()
        os.chown(found.mail, 5000, 5000)
        with found.imap() as session:
            session.select()
            with pytest.raises((Refused, Gone)):
                session.body(1)
        with found.imap() as session:
            assert session.select() == 0
        assert set(found.stored()) == before
        subprocess.run(["rm", "-r", str(found.mail / "u1")], check=True)
        os.chown(found.mail, 0, 0)
        found.storage.mount.start()
        found.dovecot.doveadm("force-resync", "-u", "u1", "*")
        with found.imap() as session:
            assert session.select() == 4
            assert session.uids("FLAGGED") == []


def test_an_empty_host_gets_everything_back_from_s3(s3: S3) -> None:
    """The node's data directory, the indexes and the mount are gone; S3 is not."""
    with own_world(s3) as found:
        found.deliver(6)
        found.deliver(3, user="u2")
        with found.imap() as session:
            session.create("Folder")
            session.create("Empty")
            session.select()
            session.move("1:2", "Folder")
            items = "INTERNALDATE RFC822.SIZE"
            session.select("INBOX")
            before = {uid: row[""].split(b"(")[1] for uid, row in session.fetch("1:*", items).items()}
        for number in (1, 2):
            found.ledger.moved("u1", "INBOX", "Folder", number)
        found.settle()
        found.dovecot.stop()
        found.storage.stop()
        for path in (found.storage.node.directory / "data", *(found.home / "dovecot" / "index").iterdir()):
            subprocess.run(["rm", "-r", str(path)], check=True)
        found.storage.start()  # catalogue sync comes first
        found.dovecot.start()
        found.storage.relay.take()
        for user in USERS:
            found.dovecot.doveadm("force-resync", "-u", user, "*")
        requests = found.storage.relay.take()
        assert not [one for one in requests if one.kind == "GET"]
        with found.imap() as session:
            assert set(session.folders()) == {"INBOX", "Folder", "Empty"}
            session.select()
            assert {uid: row[""].split(b"(")[1] for uid, row in session.fetch("1:*", items).items()} == before
        assert found.differences() == []
