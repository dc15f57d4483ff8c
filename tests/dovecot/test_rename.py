"""Folders by name are renamed: a copy and a delete for each mail, which take their time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.dovecot.conftest import S3
from tests.dovecot.trouble import own_world
from tests.dovecot.world import World, check_clean, solid_mail, tiny_mail
from tierproxy.testing.children import take_away
from tierproxy.testing.imap import Gone, Imap, Refused

pytestmark = [pytest.mark.slow, pytest.mark.clients]

MAILS = 300
FOLDERS = ("Work", "Work/Sub", "Work/Sub/Deep")


def fill(host: World, mails: int) -> None:
    with host.imap() as session:
        for folder in FOLDERS:
            session.create(folder)
        for number in range(mails):
            folder, one = FOLDERS[min(number % 10, 2)], host.letter(tiny_mail(number))
            session.append(folder, one, r"\Flagged")
            host.ledger.add("u1", folder, one)
    host.settle()


def intact(host: World, root: str) -> None:
    """Every mail is there once, with its flag, as its index is where it is; and in S3 as often."""
    flagged = 0
    with host.imap() as session:
        assert set(session.folders()) == {"INBOX", *(folder.replace("Work", root) for folder in FOLDERS)}
        for folder in FOLDERS:
            session.select(folder.replace("Work", root))
            flagged += len(session.uids("FLAGGED"))
    assert flagged == host.ledger.total()
    assert host.differences() == []
    assert len(host.stored()) == host.ledger.total()


def renamed(host: World) -> None:
    for folder in FOLDERS:
        host.ledger.renamed("u1", folder, folder.replace("Work", "Projects"))


def begun(host: World, rename: Callable[[], None]) -> threading.Thread:
    """A rename that S3 makes slow. Returns when some mails have their new names and others have not."""
    host.storage.relay.set(delay=0.2)  # type: ignore[union-attr]
    thread = threading.Thread(target=rename)
    thread.start()
    for _ in range(1200):
        if any("/Projects/" in key for key in host.stored()):
            return thread
        threading.Event().wait(0.05)
    raise AssertionError("no mail gets its new name")


def test_a_rename_that_the_mount_did_not_survive_has_not_happened(s3: S3) -> None:
    """Dovecot was told that it failed, and renames the index after the mails: under their new names they would have no
    flags."""
    with own_world(s3) as host:
        fill(host, MAILS)
        failed: list[str] = []

        def rename() -> None:
            with pytest.raises((Refused, Gone)) as told, host.imap() as session:
                session.rename("Work", "Projects")
            failed.append(str(told.value))

        thread = begun(host, rename)
        host.storage.mount.kill()
        thread.join()
        host.storage.relay.set()
        assert failed
        assert any("/Work/" in key for key in host.stored())
        take_away(host.mail)
        host.storage.mount.start()
        host.settle()
        intact(host, "Work")
        with host.imap() as session, host.counts() as requests:
            session.rename("Work", "Projects")
        directories = 2 * len(FOLDERS)
        assert requests["COPY"] == MAILS
        assert (requests["PUT"], requests["DELETE"]) == (directories, MAILS + directories)
        renamed(host)
        intact(host, "Projects")
        assert "everything agrees" in check_clean(host.storage)


def test_a_rename_goes_on_when_its_client_has_lost_patience(s3: S3) -> None:
    """Who is logged in reads on, other users notice nothing; a new session of the user waits until it is done."""
    with own_world(s3) as host:
        fill(host, 120)
        (one,) = host.deliver()

        def rename() -> None:
            user, password = "u1", host.dovecot.users["u1"]
            with Imap(host.dovecot.ports.imap, user, password, seconds=1) as hasty, pytest.raises((Refused, Gone)):
                hasty.rename("Work", "Projects")

        with host.imap() as session:
            session.select()
            thread = begun(host, rename)
            assert session.body(1).endswith(one.content)
            host.deliver(1, user="u2")
            assert any("/Work/" in key for key in host.stored()), "it is still under way"
            thread.join()
        host.deliver(1)  # waits
        assert not any("/Work/" in key and key.rpartition("/")[2] for key in host.storage.names())
        host.storage.relay.set()
        renamed(host)
        host.settle()
        with host.imap() as session:
            session.select("Projects")
            assert len(session.uids("FLAGGED")) == len(session.uids())
        assert host.differences() == []


@pytest.mark.parametrize("name", ["t" * 120, "back\\slash"], ids=["too long for a key", "refused by S3"])
def test_a_name_that_s3_cannot_have_is_refused_and_nothing_is_left_behind(s3: S3, name: str) -> None:
    with own_world(s3) as host:
        deep = "/".join(["x" * 200] * 4) + "/" + "y" * 96
        with host.imap() as session:
            session.create(f"Work/{deep}")
            one = host.letter(tiny_mail(1))
            session.append(f"Work/{deep}", one)
            host.ledger.add("u1", f"Work/{deep}", one)
            host.expect("Input/output error", "File name too long")
            with pytest.raises(Refused):
                session.rename("Work", name)
            assert "Work" in session.folders()
        assert host.differences() == []


def test_who_reads_in_the_folder_meanwhile_makes_no_mail_forgotten(s3: S3) -> None:
    """A mail that has its new name already must not be missing at its old one: Dovecot would take it out of the index,
    with its flags."""
    with own_world(s3) as host:
        with host.imap() as session:
            for folder in FOLDERS:
                session.create(folder)
            for number in range(40):
                one = host.letter(solid_mail(number))
                session.append("Work", one, r"\Flagged")
                host.ledger.add("u1", "Work", one)
        host.purge()
        with host.imap() as reader, host.imap() as session:
            reader.select("Work")
            thread = begun(host, lambda: session.rename("Work", "Projects"))
            for uid in (1, 20, 40):
                with suppress(Refused, Gone):  # it has to log in again, as where its folder is removed
                    reader.body(uid)
            thread.join()
        host.storage.relay.set()
        renamed(host)
        host.settle()
        assert not host.dovecot.rebuilds()
        intact(host, "Projects")
