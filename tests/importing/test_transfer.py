"""Whole runs against a bucket in memory."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.importing.rigs import HELLO, INBOX, Bucket, Remembered, Watched, mail, maildir, transferred
from tierproxy.errors import AltUnavailable, RequestError
from tierproxy.importing.maildir import folders
from tierproxy.importing.places import ByGuid, Mailbox
from tierproxy.importing.transfer import Report, Verify


def three(root: Path) -> Path:
    for number in (1, 2, 3):
        mail(root, f"{number}.a.host:2,S", HELLO + b"%d\r\n" % number, at=number)
    return root


async def test_every_mail_becomes_an_object_and_is_looked_at(tmp_path: Path) -> None:
    bucket, journal, watch = Bucket(), Remembered(), Watched()
    mail(tmp_path / ".Sent", "4.a.host")
    report = await transferred(folders(three(tmp_path)), bucket, journal=journal, watch=watch)
    assert bucket.keys == [f"{INBOX}u.{n}" for n in (1, 2, 3)] + ["alice/mailboxes/Sent/dbox-Mails/u.1"]
    assert (report.folders, report.imported, report.verified, report.flagged, report.failed) == (2, 4, 4, 3, 0)
    assert sorted(journal.flags)[0] == ("INBOX", 1, ("\\Seen",), ())
    assert (watch.mails, watch.size) == (4, watch.total)


@pytest.mark.parametrize("with_journal", [True, False])
async def test_a_second_run_changes_nothing(tmp_path: Path, with_journal: bool) -> None:
    bucket, journal = Bucket(), Remembered()
    await transferred(folders(three(tmp_path)), bucket, journal=journal)
    before = dict(bucket.objects)
    journal.flags.clear()
    again = await transferred(folders(tmp_path), bucket, journal=journal if with_journal else Remembered())
    assert (again.imported, again.there, again.gone) == (0, 3, 0)
    assert bucket.objects == before
    assert len(journal.flags) == (3 if with_journal else 0)


async def test_a_mail_that_was_removed_since_does_not_come_back(tmp_path: Path) -> None:
    bucket, journal = Bucket(), Remembered()
    await transferred(folders(three(tmp_path)), bucket, journal=journal)
    del bucket.objects[f"{INBOX}u.2"]
    again = await transferred(folders(tmp_path), bucket, journal=journal)
    assert (again.imported, again.there, again.gone) == (0, 2, 1)
    (tmp_path / "cur" / "2.a.host:2,S").rename(tmp_path / "cur" / "2.a.host:2,FS")
    flagged = await transferred(folders(tmp_path), bucket, journal=journal)
    assert (flagged.imported, flagged.gone) == (0, 1)
    asked = await transferred(folders(tmp_path), bucket, journal=Remembered())
    assert (asked.imported, asked.there) == (1, 2)


async def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path) -> None:
    bucket, journal = Bucket(), Remembered()
    task: list[asyncio.Task[Report]] = []
    loop = asyncio.get_running_loop()

    def interrupt(key: str) -> None:
        if key.endswith("u.2"):
            loop.call_soon_threadsafe(task[0].cancel)

    bucket.before_put = interrupt
    for number in range(1, 40):
        mail(tmp_path, f"{number}.a.host", HELLO + b"%d\r\n" % number)
    task.append(asyncio.create_task(transferred(folders(tmp_path), bucket, journal=journal, senders=1)))
    report = await task[0]
    assert report.stopped == "interrupted"
    assert 2 <= len(bucket.objects) < 39
    assert len(journal.mails) == len(bucket.objects)
    bucket.before_put = lambda key: None
    await transferred(folders(tmp_path), bucket, journal=journal)
    assert bucket.keys == sorted(f"{INBOX}u.{n}" for n in range(1, 40))


async def test_uids_taken_by_other_mail_are_left_to_it(tmp_path: Path) -> None:
    bucket = Bucket()
    other = tmp_path / "other"
    for number in (1, 2):
        mail(other, f"{number}.z.host", b"Subject: other\r\n\r\n%d\r\n" % number)
    await transferred(folders(other), bucket)
    root = three(tmp_path / "Maildir")
    (root / "dovecot-uidlist").write_text("3 V1 N9\n" + "".join(f"{n} :{n}.a.host\n" for n in (1, 2, 3)))
    report = await transferred(folders(root), bucket)
    assert bucket.keys == sorted(f"{INBOX}u.{n}" for n in (1, 2, 3, 4, 5))
    assert (report.imported, report.renumbered) == (3, 2)
    assert b"other" in bucket.content(f"{INBOX}u.1")


async def test_somebody_who_delivers_meanwhile_keeps_the_uid(tmp_path: Path) -> None:
    bucket = Bucket()
    stranger = tmp_path / "stranger"
    mail(stranger, "9.z.host", b"Subject: faster\r\n\r\nx\r\n")
    side = Bucket()
    await transferred(folders(stranger), side)
    theirs = side.objects[f"{INBOX}u.1"]

    def deliver(key: str) -> None:
        if key.endswith("u.2"):
            bucket.objects.setdefault(key, theirs)

    bucket.before_put = deliver
    report = await transferred(folders(three(tmp_path / "Maildir")), bucket)
    assert bucket.objects[f"{INBOX}u.2"] == theirs
    assert (report.imported, len(bucket.objects)) == (3, 4)


async def test_a_lost_answer_is_asked_after_and_the_mail_stored_once(tmp_path: Path) -> None:
    bucket = Bucket()
    put = bucket.put
    lost: list[str] = []

    def losing(key: str, parcel: object) -> object:
        found = put(key, parcel)  # type: ignore[arg-type]
        if not lost:
            lost.append(key)
            raise AltUnavailable("the connection was cut")
        return found

    bucket.put = losing  # type: ignore[method-assign, assignment]
    report = await transferred(folders(three(tmp_path)), bucket)
    assert (report.imported, report.failed, len(bucket.objects)) == (3, 0, 3)


@pytest.mark.parametrize("verify", [Verify.HEAD, Verify.BYTES])
async def test_an_object_that_comes_back_different_is_told(tmp_path: Path, verify: Verify) -> None:
    bucket = Bucket()
    cut = verify is Verify.HEAD
    bucket.flip = lambda content: content[:-1] if cut else content.replace(b"Hello", b"hELLO")
    report = await transferred(folders(three(tmp_path)), bucket, verify=verify)
    assert (report.imported, report.failed) == (0, 3)
    assert "remove it" in report.failures[0].reason
    bucket.objects.clear()
    assert (await transferred(folders(tmp_path), bucket, verify=Verify.NONE)).imported == 3


async def test_what_is_bad_about_one_mail_does_not_stop_the_others(tmp_path: Path) -> None:
    bucket = Bucket()
    three(tmp_path)
    mail(tmp_path, "0.empty.host", b"")
    (tmp_path / "new" / "5.link").symlink_to("/etc/hostname")
    bucket.before_put = refuse_second
    report = await transferred(folders(tmp_path), bucket)
    assert (report.imported, report.failed, report.stopped) == (2, 3, "")
    assert {one.reason for one in report.failures} == {
        "an empty file", "a symbolic link, which is not followed", "too large for this node",
    }  # fmt: skip


def refuse_second(key: str) -> None:
    if key.endswith("u.2"):
        raise RequestError("too large for this node")


async def test_when_nobody_answers_it_ends_and_says_so(tmp_path: Path) -> None:
    bucket = Bucket()
    for number in range(60):
        mail(tmp_path, f"{number}.a.host", HELLO + b"%d\r\n" % number)

    def down(key: str) -> None:
        raise AltUnavailable("the node is down")

    bucket.before_put = down
    report = await transferred(folders(tmp_path), bucket, senders=2)
    assert report.unreachable
    assert report.failed < 20
    assert "in a row" in report.stopped


async def test_a_dry_run_puts_nothing_and_counts_all(tmp_path: Path) -> None:
    bucket, journal = Bucket(), Remembered()
    report = await transferred(folders(three(tmp_path)), bucket, journal=journal, dry_run=True)
    assert (report.imported, report.verified, bucket.keys, journal.mails) == (3, 0, [], {})


async def test_a_folder_dovecot_does_not_know_is_left_out_and_the_others_are_not(tmp_path: Path) -> None:
    bucket = Bucket()
    maildir(tmp_path / ".Trash")
    mail(tmp_path / ".Trash", "9.a.host")
    guid = "a" * 32
    report = await transferred(folders(three(tmp_path)), bucket, places=ByGuid("alice", {"INBOX": Mailbox(guid, 5)}))
    assert bucket.keys == [f"alice/mailboxes/{guid}/u.{n}" for n in (5, 6, 7)]
    assert [one.reason for one in report.failures] == [
        "Dovecot has no mailbox 'Trash': make it first (doveadm mailbox create), then ask again"
    ]
