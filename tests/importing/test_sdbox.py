"""sdbox as a source."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.importing.rigs import HELLO_LF, bad_of, body, folders_of, letters_of
from tierproxy.importing.letters import Bad, BadMail, NotASource
from tierproxy.importing.sdbox import folders
from tierproxy.mail.dbox import written

GUID = "00112233445566778899aabbccddeeff"


def stored(directory: Path, name: str, content: bytes | None = None) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / name
    file.write_bytes(written(HELLO_LF, created=1, received=77, guid=GUID) if content is None else content)
    return file


def test_files_are_taken_as_they_are_in_the_order_of_their_uids(tmp_path: Path) -> None:
    inbox = tmp_path / "mailboxes" / "INBOX" / "dbox-Mails"
    for name in ("u.10", "u.9", "dovecot.index.log", ".temp.1"):
        stored(inbox, name)
    stored(tmp_path / "mailboxes" / "INBOX" / "Sub" / "dbox-Mails", "u.1")
    found = folders_of(folders(tmp_path))
    assert set(found) == {"INBOX", "INBOX/Sub"}
    assert (found["INBOX"].highest_uid, [one.uid for one in letters_of(found["INBOX"])]) == (10, [9, 10])
    parcel = letters_of(found["INBOX"])[0].pack()
    assert (body(parcel), parcel.guid, parcel.received) == ((inbox / "u.9").read_bytes(), GUID, 77)


@pytest.mark.parametrize("leaf", ["dbox-Mails", "."])
def test_folders_by_guid_get_the_names_they_are_known_by(tmp_path: Path, leaf: str) -> None:
    stored(tmp_path / "mailboxes" / GUID / leaf, "u.1")
    stored(tmp_path / "mailboxes" / ("f" * 32) / leaf, "u.1")
    assert set(folders_of(folders(tmp_path))) == {GUID, "f" * 32}
    found = list(folders(tmp_path, {GUID: ("Archive", "2024")}))
    assert set(folders_of(found)) == {"Archive/2024"}
    assert ["does not name this GUID" in one.reason for one in found if isinstance(one, Bad)] == [True]


def test_what_is_not_a_whole_file_is_bad(tmp_path: Path) -> None:
    whole = written(HELLO_LF, created=1, received=77, guid=GUID)
    outside = whole[:-1] + b"X1 2 B 3\n\n"
    cases = {
        "u.1": whole[:60], "u.2": b"", "u.3": b"Subject: x\n\n", "u.4": whole[:-1], "u.5": whole + b"x" * 70_000,
        "u.6": outside,
    }  # fmt: skip
    for name, content in cases.items():
        stored(tmp_path / "mailboxes" / "INBOX" / "dbox-Mails", name, content)
    for letter in letters_of(folders_of(folders(tmp_path))["INBOX"]):
        with pytest.raises(BadMail, match="attachments" if letter.uid == 6 else "not a whole sdbox file"):
            letter.pack()


def test_links_and_names_that_are_no_uid_are_told(tmp_path: Path) -> None:
    inbox = tmp_path / "mailboxes" / "INBOX" / "dbox-Mails"
    for name in ("u.1", "u.0", "u.007", "u.4294967295", "u.99999999999999999999"):
        stored(inbox, name)
    (inbox / "u.2").symlink_to(inbox / "u.1")
    (tmp_path / "mailboxes" / "Linked").symlink_to(inbox)
    found = list(folders(tmp_path))
    inbox_folder = folders_of(found)["INBOX"]
    assert [one.uid for one in letters_of(inbox_folder)] == [1]
    assert len(bad_of(inbox_folder)) == 5
    assert [Path(one.origin).name for one in found if isinstance(one, Bad)] == ["Linked"]


def test_an_mdbox_and_an_empty_directory_are_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "m.1").write_bytes(b"x")
    with pytest.raises(NotASource, match="no sdbox mail") as refused:
        folders(tmp_path)
    assert "doveadm backup" in refused.value.hint
