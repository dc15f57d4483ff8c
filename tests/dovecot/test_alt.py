"""New mail on Dovecot's own disk, ``doveadm altmove`` to the mount (layout alt): first on a plain directory."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.dovecot.conftest import S3, worlds
from tests.dovecot.world import Kind, World
from tierproxy.dovecot.settings import Layout
from tierproxy.testing.imap import Imap, Letter, Refused

pytestmark = [pytest.mark.usefixtures("sound"), pytest.mark.clients]


@pytest.fixture(scope="module", params=list(Kind))
def host(request: pytest.FixtureRequest, s3: S3) -> Iterator[World]:
    """altmove opens what it has moved: the mount keeps no body here, so that what is purged is purged."""
    yield from worlds(request.param, Layout.ALT, s3, keep_body="0s")


def altmove(host: World, folder: str, first: int, last: int, *, back: bool = False) -> None:
    """One small batch: Dovecot holds the mailbox's lock for the whole of it."""
    host.dovecot.doveadm("altmove", *(["-r"] if back else []), "-u", "u1", "mailbox", folder, "uid", f"{first}:{last}")


def in_alt(host: World, folder: str) -> set[int]:
    """UIDs of a folder's mails on the mount, seen on the mount (from this process, which does not serve it)."""
    directory = host.mail / "u1" / "mailboxes" / folder / "dbox-Mails"
    return {int(path.name[2:]) for path in directory.glob("u.*")} if directory.exists() else set()


def delivered(host: World, how_many: int) -> tuple[list[Letter], list[int]]:
    """Letters and their UIDs."""
    letters = host.deliver(how_many, solid=True)
    with host.imap() as session:
        session.select()
        return letters, session.uids()[-how_many:]


def archived(host: World, how_many: int) -> tuple[list[Letter], list[int]]:
    letters, uids = delivered(host, how_many)
    altmove(host, "INBOX", uids[0], uids[-1])
    return letters, uids


def test_moved_mail_is_on_the_mount_and_reads_the_same(host: World) -> None:
    archived(host, 1)  # the first one makes directories
    letters, uids = delivered(host, 6)
    with host.costs(PUT=3):
        altmove(host, "INBOX", uids[0], uids[2])
    assert in_alt(host, "INBOX") & set(uids) == set(uids[:3])
    with host.imap() as session, host.costs():
        session.select()
        for one, uid in zip(letters, uids, strict=True):
            assert session.body(uid).endswith(one.content)


def test_moving_back_removes_it_from_the_mount(host: World) -> None:
    _, uids = archived(host, 3)
    with host.costs(DELETE=3):
        altmove(host, "INBOX", uids[0], uids[-1], back=True)
    assert not in_alt(host, "INBOX") & set(uids)


def test_moved_and_purged_mail_shows_its_headers_at_once(host: World) -> None:
    letters, uids = archived(host, 3)
    host.purge()
    with host.imap() as session:
        session.select()
        with host.costs():
            session.fetch(uids, "BODY.PEEK[HEADER] RFC822.SIZE INTERNALDATE")
        with host.costs(GET=1):
            assert session.body(uids[0]).endswith(letters[0].content)


def with_a_moved_mail(host: World, session: Imap, folder: str) -> None:
    """A new folder that has a directory on the mount."""
    one = host.letter()
    session.create(folder)
    session.append(folder, one)
    host.ledger.add("u1", folder, one)
    altmove(host, folder, 1, 1)
    assert in_alt(host, folder) == {1}


def test_a_copy_goes_to_the_mount_where_the_folder_has_a_directory_there(host: World) -> None:
    letters, uids = archived(host, 1)
    with host.imap() as session:
        with_a_moved_mail(host, session, "Copies")
        session.select()
        with host.costs(COPY=1):
            session.copy(str(uids[0]), "Copies")
            host.ledger.copied("u1", "Copies", letters[0].number)
    assert in_alt(host, "Copies") == {1, 2}


def test_a_copy_goes_to_dovecots_own_disk_where_the_folder_has_none(host: World) -> None:
    """And stays there: its line in the index says that it is in alt, so altmove passes it by (Dovecot 2.3.19)."""
    letters, uids = archived(host, 1)
    with host.imap() as session:
        session.create("Plain")
        session.select()
        with host.costs():
            session.copy(str(uids[0]), "Plain")
            host.ledger.copied("u1", "Plain", letters[0].number)
    altmove(host, "Plain", 1, 1)
    assert not in_alt(host, "Plain")


def test_a_move_copies_and_deletes(host: World) -> None:
    letters, uids = archived(host, 1)
    with host.imap() as session:
        with_a_moved_mail(host, session, "Moved")
        session.select()
        with host.costs(COPY=1, DELETE=1):
            session.move(str(uids[0]), "Moved")
            host.ledger.moved("u1", "INBOX", "Moved", letters[0].number)


def test_expunged_mail_leaves_the_mount(host: World) -> None:
    letters, uids = archived(host, 1)
    with host.imap() as session:
        session.select()
        with host.costs(DELETE=1):
            session.expunge(str(uids[0]))
    host.ledger.removed("u1", "INBOX", letters[0].number)
    assert uids[0] not in in_alt(host, "INBOX")


def test_folders_with_moved_mail_are_renamed_and_removed(host: World) -> None:
    with host.imap() as session:
        with_a_moved_mail(host, session, "Old")
        session.rename("Old", "New")
        host.ledger.renamed("u1", "Old", "New")
        assert session.select("New") == 1
        assert host.differences() == []
        assert in_alt(host, "New") == {1}
        session.unselect()
        session.delete("New")
        host.ledger.folders.pop(("u1", "New"))
        assert not in_alt(host, "New")
        with pytest.raises(Refused):
            session.select("New")


def test_a_resync_of_moved_and_purged_mail_asks_s3_nothing(host: World) -> None:
    _, uids = archived(host, 4)
    host.purge()
    host.expect("[Rr]ebuilding index")
    with host.costs():
        host.dovecot.doveadm("force-resync", "-u", "u1", "INBOX")
    with host.imap() as session:
        session.select()
        assert session.uids()[-4:] == uids


def test_mail_arrives_while_other_mail_is_moved(host: World) -> None:
    _, uids = delivered(host, 10)
    failed: list[BaseException] = []

    def move() -> None:
        try:
            for first in range(uids[0], uids[-1] + 1, 2):
                altmove(host, "INBOX", first, first + 1)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=move)
    thread.start()
    host.deliver(10)
    thread.join()
    assert not failed
    assert set(uids) <= in_alt(host, "INBOX")
