"""Maildirs of all kinds, and of no kind."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from tests.importing.rigs import HELLO, bad_of, body, folders_of, letters_of, mail, maildir
from tierproxy.importing.letters import Bad, BadMail, NotASource
from tierproxy.importing.maildir import folders


def test_folders_of_maildir_plus_plus_and_of_the_file_system_layout(tmp_path: Path) -> None:
    mail(tmp_path, "1.a.host")
    mail(tmp_path / ".Sent.2024", "2.a.host")
    mail(tmp_path / "Archive" / "Old", "3.a.host")
    maildir(tmp_path / ".Entw&APw-rfe")
    found = folders_of(folders(tmp_path))
    assert set(found) == {"INBOX", "Sent/2024", "Archive/Old", "Entw&APw-rfe"}
    assert all(len(letters_of(one)) == 1 for title, one in found.items() if title != "Entw&APw-rfe")


def test_uids_guids_and_pop3_names_come_from_the_uidlist(tmp_path: Path) -> None:
    mail(tmp_path, "1763772000.M1.host,S=5:2,S")
    mail(tmp_path, "1763772001.M1.host", where="new")
    mail(tmp_path, "1763772002.M1.host", where="new")
    (tmp_path / "dovecot-uidlist").write_text(
        "3 V1763772000 N9 G00112233445566778899aabbccddeeff\n"
        f"7 G{'a' * 32} Pold7 W70 :1763772001.M1.host\n"
        "4 :1763772000.M1.host,S=5\n"
        "12 :17637"
    )
    (folder,) = folders_of(folders(tmp_path)).values()
    first, second, third = letters_of(folder)
    assert [first.uid, second.uid, third.uid] == [4, 7, 0]
    assert folder.highest_uid == 7
    assert second.pack().guid == "a" * 32
    assert b"\nPold7\n" in body(second.pack())
    assert first.pack().guid == "1763772000.M1.host,S=5"


def test_a_name_that_is_no_line_of_text_makes_a_guid_that_is(tmp_path: Path) -> None:
    mail(tmp_path, "1.a\nGforged\n.host")
    (letter,) = letters_of(folders_of(folders(tmp_path))["INBOX"])
    digest = hashlib.sha1(b"1.a\nGforged\n.host", usedforsecurity=False).hexdigest()
    assert letter.pack().guid == digest[:32]
    assert b"\nGforged" not in body(letter.pack())


def test_control_files_may_be_elsewhere(tmp_path: Path) -> None:
    mail(tmp_path / "Maildir" / ".Sent", "1.a.host:2,a")
    control = tmp_path / "control" / ".Sent"
    control.mkdir(parents=True)
    (control / "dovecot-uidlist").write_text("3 V1 N9\n5 :1.a.host\n")
    (control / "dovecot-keywords").write_text("0 work\n")
    (letter,) = letters_of(folders_of(folders(tmp_path / "Maildir", tmp_path / "control"))["Sent"])
    assert (letter.uid, letter.keywords) == (5, ("work",))
    mail(tmp_path / "Maildir", "2.a.host")
    (tmp_path / "control" / ".INBOX").mkdir()
    (tmp_path / "control" / ".INBOX" / "dovecot-uidlist").write_text("3 V1 N9\n6 :2.a.host\n")
    (letter,) = letters_of(folders_of(folders(tmp_path / "Maildir", tmp_path / "control"))["INBOX"])
    assert letter.uid == 6


def test_without_a_uidlist_mails_come_in_the_order_of_their_delivery(tmp_path: Path) -> None:
    mail(tmp_path, "30.b.host", at=10)
    mail(tmp_path, "4.a.host", at=99)
    mail(tmp_path, "odd name", at=20)
    (folder,) = folders_of(folders(tmp_path)).values()
    assert [Path(one.origin).name for one in letters_of(folder)] == ["4.a.host", "odd name", "30.b.host"]
    assert [one.pack().received for one in letters_of(folder)] == [99, 20, 10]


def test_flags_and_keywords_are_told(tmp_path: Path) -> None:
    mail(tmp_path, "1.a.host,S=3:2,FSab")
    mail(tmp_path, "2.a.host:2,")
    (tmp_path / "dovecot-keywords").write_text("0 $Forwarded\n1 work\nx y\n")
    (folder,) = folders_of(folders(tmp_path)).values()
    first, second = letters_of(folder)
    assert (first.flags, first.keywords) == (("\\Seen", "\\Flagged"), ("$Forwarded", "work"))
    assert (second.flags, second.keywords) == ((), ())


def test_an_old_uidlist_is_read_and_an_unknown_one_is_said(tmp_path: Path) -> None:
    mail(tmp_path, "1.a.host")
    (tmp_path / "dovecot-uidlist").write_text("1 1763772000 9\n5 1.a.host\n")
    assert [one.uid for one in letters_of(folders_of(folders(tmp_path))["INBOX"])] == [5]
    (tmp_path / "dovecot-uidlist").write_text("7 what\n")
    folder = folders_of(folders(tmp_path))["INBOX"]
    assert [one.uid for one in letters_of(folder)] == [0]
    assert "version" in bad_of(folder)[0].reason


@pytest.mark.parametrize("name", ["..", "..etc", ".a..b", ".dbox-Mails", ".a/b", ".x\x1b[2J"])
def test_a_folder_whose_name_leads_elsewhere_is_left_out(tmp_path: Path, name: str) -> None:
    mail(tmp_path, "1.a.host")
    if name not in {"..", ".a/b"}:
        mail(tmp_path / name, "2.a.host")
    if name == ".a/b":
        mail(tmp_path / "..a", "2.a.host")
    found = list(folders(tmp_path))
    assert set(folders_of(found)) == {"INBOX"}
    assert len([one for one in found if isinstance(one, Bad)]) == (name != "..")


def test_a_name_that_is_no_utf8_is_left_out_and_one_in_utf8_is_written_as_imap_does(tmp_path: Path) -> None:
    for raw in (b".Entw\xfcrfe", ".Entwürfe".encode()):
        maildir(Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + raw)))
    found = list(folders(tmp_path))
    assert set(folders_of(found)) == {"Entw&APw-rfe"}
    (bad,) = (one for one in found if isinstance(one, Bad))
    bad.origin.encode()
    bad.reason.encode()


def test_links_and_what_is_no_mail_are_told_and_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"root:x:0:0\n")
    root = maildir(tmp_path / "Maildir")
    (root / "cur" / "1.link.host").symlink_to(secret)
    (root / "cur" / "2.directory.host").mkdir()
    os.mkfifo(root / "cur" / "3.fifo.host")
    maildir(tmp_path / "elsewhere")
    (root / ".Linked").symlink_to(tmp_path / "elsewhere")
    mail(root, "4.good.host")
    mail(root, ".hidden")
    found = list(folders(root))
    inbox = folders_of(found)["INBOX"]
    assert [Path(one.origin).name for one in letters_of(inbox)] == ["4.good.host"]
    assert [Path(one.origin).name for one in bad_of(inbox)] == ["1.link.host", "2.directory.host", "3.fifo.host"]
    assert [one.origin for one in found if isinstance(one, Bad)] == [str(root / ".Linked")]


def test_a_file_that_became_a_link_after_it_was_listed_is_not_followed(tmp_path: Path) -> None:
    file = mail(tmp_path, "1.a.host")
    (letter,) = letters_of(folders_of(folders(tmp_path))["INBOX"])
    file.unlink()
    file.symlink_to("/etc/hostname")
    with pytest.raises(BadMail, match="symbolic link"):
        letter.pack()


def test_empty_compressed_and_vanished_mails_are_bad(tmp_path: Path) -> None:
    mail(tmp_path, "1.empty.host", b"")
    mail(tmp_path, "2.gzip.host", b"\x1f\x8b\x08rest")
    mail(tmp_path, "3.gone.host")
    letters = letters_of(folders_of(folders(tmp_path))["INBOX"])
    (tmp_path / "cur" / "3.gone.host").unlink()
    for letter, reason in zip(letters, ("empty", "doveadm backup", "No such file"), strict=True):
        with pytest.raises(BadMail, match=reason):
            letter.pack()


def test_what_is_no_maildir_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(NotASource, match="not a directory"):
        folders(tmp_path / "none")
    (tmp_path / "file").write_bytes(HELLO)
    with pytest.raises(NotASource, match="not a maildir"):
        folders(tmp_path)
