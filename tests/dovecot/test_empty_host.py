"""The host is lost and S3 is all there is: in the layout that `tierproxy dovecot setup` takes, everything comes back in
its place, and what cannot come back is known."""

from __future__ import annotations

import pytest

from tests.dovecot.conftest import S3, need_dovecot
from tests.dovecot.world import BUCKET, Kind, World, world
from tests.mail.test_empty_host import lose_everything, recovered, told
from tierproxy.dovecot.settings import Layout

pytestmark = [pytest.mark.slow, pytest.mark.clients]

FOLDERS = ("INBOX/Sub", "Archive/2025/Q1", "Gr&APYA3w-e", "v1.2", "tmp", "new", "cur")
EMPTY = ("Nothing", "Nothing/Inside")
PARENTS = ("Archive", "Archive/2025")  #: directories alone
MAILS = 60


def fill(host: World) -> None:
    """Mails of many days in folders of all kinds, with flags and gaps between their UIDs; a part is purged."""
    host.deliver(12)
    with host.imap() as session:
        for folder in (*FOLDERS, *EMPTY):
            session.create(folder)
        for number in range(MAILS):
            folder, one = FOLDERS[number % len(FOLDERS)], host.letter()
            date = f'"{number % 28 + 1:02d}-{("Jan", "Jun", "Dec")[number % 3]}-{2001 + number % 20} 08:30:00 +0200"'
            session.append(folder, one, r"\Seen $Label1", date)
            host.ledger.add("u1", folder, one)
        session.select()
        for uid, number in ((2, 2), (7, 7), (12, 12)):
            session.expunge(str(uid))
            host.ledger.removed("u1", "INBOX", number)
        session.subscribe("Archive/2025/Q1")
    host.settle()
    assert host.storage is not None
    host.storage.node.purge(f"{BUCKET}/u1/mailboxes/Archive/")


def uid_validity(host: World) -> int:
    with host.imap() as session:
        return session.status("INBOX", "UIDVALIDITY")["UIDVALIDITY"]


def test_every_mail_comes_back_under_its_folder_and_no_body_is_read(s3: S3) -> None:
    need_dovecot()
    with world(Kind.MOUNT, Layout.MAIN, s3) as host:
        fill(host)
        before, validity = told(host), uid_validity(host)
        assert len(before) == 12 - 3 + MAILS
        lose_everything(host)
        host.expect("ebuilding")
        assert recovered(host) == before
        with host.imap() as session:
            assert set(session.folders()) == {"INBOX", *FOLDERS, *EMPTY, *PARENTS}
            assert session.folders(subscribed=True) == []
            session.select("v1.2")
            assert session.uids("SEEN") == session.uids("KEYWORD", "$Label1") == []
        assert uid_validity(host) != validity
        assert host.differences() == []
        host.deliver(1)
        assert host.differences() == [], "no UID is given twice"
