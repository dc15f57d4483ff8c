"""Everything local is lost: catalogue, blobs, stubs, Dovecot's index and control files. S3 is all there is."""

from __future__ import annotations

import shutil

import pytest

from tests.dovecot.conftest import S3, need_dovecot, s3
from tests.dovecot.world import Kind, World, world
from tierproxy.dovecot.private import owned
from tierproxy.dovecot.settings import Folders, Layout

__all__ = ["s3"]
pytestmark = pytest.mark.clients
FIELDS = "mailbox uid guid size.physical size.virtual date.received"
FOLDERS = ("INBOX", "Archive", "Archive/2025")


def told(host: World) -> list[tuple[str, ...]]:
    """What Dovecot says of every mail in every folder, sorted."""
    rows = host.dovecot.doveadm("-f", "tab", "fetch", "-u", "u1", FIELDS, "ALL").splitlines()[1:]
    return sorted(tuple(row.split("\t")) for row in rows)


def fill(host: World) -> None:
    """Twelve mails in three folders, delivered, appended, copied and moved."""
    letters = host.deliver(10)
    with host.imap() as session:
        for folder in FOLDERS[1:]:
            session.create(folder)
        extra = host.letter()
        session.append("Archive", extra)
        host.ledger.add("u1", "Archive", extra)
        session.select()
        session.copy("1", "Archive/2025")
        session.move("2", "Archive")
    host.ledger.copied("u1", "Archive/2025", letters[0].number)
    host.ledger.moved("u1", "INBOX", "Archive", letters[1].number)


def lose_everything(host: World) -> None:
    """But S3 and the configuration."""
    assert host.storage is not None
    host.settle()
    host.dovecot.stop()
    host.storage.stop()
    shutil.rmtree(host.home / "node" / "data")
    shutil.rmtree(host.home / "scratch", ignore_errors=True)
    for name in ("index", "control"):
        shutil.rmtree(host.home / "dovecot" / name)
        owned(host.home / "dovecot" / name)


def recovered(host: World) -> list[tuple[str, ...]]:
    """What Dovecot says after all of that is there again but for the bodies."""
    assert host.storage is not None
    stored = host.storage.names()
    with host.counts() as requests:
        host.storage.node.run("catalogue", "sync", "--heads")
        host.storage.node.start()
        host.storage.mount.start()
        host.dovecot.start()
        host.dovecot.doveadm("force-resync", "-u", "u1", "*")
        found = told(host)
    assert requests["GET"] == 0, host.taken
    assert requests["HEAD"] == len(stored), "one for each object, markers of directories among them"
    return found


def test_all_mail_is_back_and_no_body_was_read(s3: S3) -> None:
    need_dovecot()
    with world(Kind.MOUNT, Layout.MAIN, s3, folders=Folders.FS) as host:
        fill(host)
        before = told(host)
        assert len(before) == 12
        lose_everything(host)
        assert recovered(host) == before
        host.expect("ebuilding")
        assert host.differences() == []


def test_with_folders_by_number_all_mail_is_back_but_dovecot_alone_knew_their_names(s3: S3) -> None:
    need_dovecot()
    with world(Kind.MOUNT, Layout.MAIN, s3, folders=Folders.INDEX) as host:
        fill(host)
        before = told(host)
        lose_everything(host)
        after = recovered(host)
        assert sorted(row[1:] for row in after) == sorted(row[1:] for row in before)
        assert {row[0].rpartition("-")[0] for row in after} == {"recovered-lost-folder"}
