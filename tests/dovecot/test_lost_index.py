"""What a lost index costs beyond flags, of every version of Dovecot."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.dovecot.conftest import S3, need_dovecot
from tests.dovecot.world import Kind, World, world
from tierproxy.dovecot.settings import Folders, Layout

pytestmark = pytest.mark.clients


def lose_index(host: World) -> None:
    """Every file of Dovecot's own, of all folders of u1."""
    for place in ("index", "home"):
        for path in (host.home / "dovecot" / place / "u1").rglob("dovecot*"):
            path.unlink()


def saved(host: World) -> dict[int, int]:
    """Dates of saving by UID."""
    words = ("-f", "tab", "fetch", "-u", "u1", "uid date.saved.unixtime", "mailbox", "INBOX", "all")
    rows = [line.split("\t") for line in host.dovecot.doveadm(*words).splitlines()[1:]]
    return {int(uid): int(date) for uid, date in rows}


def changed(host: World) -> dict[int, int]:
    """Change times of the files on the mount, in whole seconds, by UID."""
    return {int(path.name[2:]): path.stat().st_ctime_ns // 10**9 for path in host.mail.rglob("u.*")}


def test_dates_of_saving_come_back_as_change_times_which_are_kept_in_s3(s3: S3) -> None:
    """The node's data is lost, too, and objects come back from a backup."""
    need_dovecot()
    with world(Kind.MOUNT, Layout.MAIN, s3, folders=Folders.FS, keep_body="0s") as host:
        assert host.storage is not None
        host.deliver(3, solid=True)
        before = changed(host)
        host.purge()
        host.dovecot.stop()
        host.storage.stop()
        for key in host.stored():
            host.storage.restore(host.storage.taken_away(key))
        shutil.rmtree(host.storage.node.directory / "data")
        lose_index(host)
        host.storage.start()
        host.dovecot.start()
        host.dovecot.doveadm("force-resync", "-u", "u1", "*")
        assert saved(host) == changed(host) == before
        assert len(before) == 3


@pytest.mark.parametrize("kind", Kind)
def test_a_new_mail_with_an_old_number_replaces_the_old_one_but_not_on_the_mount(s3: S3, kind: Kind) -> None:
    """Layout alt: Dovecot numbers from 1 again, hides what was moved under the same number, and altmove renames over
    it. The mount says that the name is taken. When the new mail has gone elsewhere the old one is back."""
    need_dovecot()
    with world(kind, Layout.ALT, s3, folders=Folders.FS, keep_body="0s") as host:
        host.deliver()
        moved = place_of_first(host)
        host.dovecot.doveadm("altmove", "-u", "u1", "mailbox", "INBOX", "all")
        old = moved.read_bytes()
        host.dovecot.stop()
        lose_index(host)
        host.dovecot.start()
        (new,) = host.deliver()
        said = host.dovecot.doveadm("altmove", "-u", "u1", "mailbox", "INBOX", "all", check=False)
        assert ("File exists" in said) is (moved.read_bytes() == old) is host.mounted
        if host.mounted:
            with host.imap() as session:
                session.create("Elsewhere")
                session.select()
                assert session.body(1).endswith(new.content)
                session.move("1", "Elsewhere")
                host.ledger.moved("u1", "INBOX", "Elsewhere", new.number)
            host.dovecot.doveadm("force-resync", "-u", "u1", "*")
            assert host.differences() == []


def place_of_first(host: World) -> Path:
    return host.mail / "u1" / "mailboxes" / "INBOX" / "dbox-Mails" / "u.1"
