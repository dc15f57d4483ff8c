"""Folders and UIDs of the target."""

from __future__ import annotations

import pytest

from tierproxy.importing.folders import checked, owner_path
from tierproxy.importing.letters import BadMail, NotASource
from tierproxy.importing.places import ByGuid, ByName, Mailbox, Place, mailboxes_in
from tierproxy.importing.uids import HIGHEST, Uids
from tierproxy.mail.mutf7 import decoded, encoded
from tierproxy.model import Listed

GUID, OTHER = "0" * 31 + "1", "f" * 32
LIST = f"mailbox\tguid\tuidnext\nInbox\t{GUID}\t8\nEntwürfe~Alt\t{OTHER}\t1\n"
D = "alice/mailboxes/INBOX/dbox-Mails/"


def listed(*names: str) -> list[Listed]:
    return [Listed(D + name, 10, f"etag-{name}", 0.0) for name in names]


def test_by_name_a_folder_is_a_path() -> None:
    assert ByName("example.org/alice").of(("Archive", "2024")) == Place(
        "example.org/alice/mailboxes/Archive/2024/dbox-Mails/"
    )
    with pytest.raises(BadMail, match="GUID"):
        ByName("alice").of((OTHER,))


def test_by_guid_a_folder_must_be_known() -> None:
    places = ByGuid("alice", mailboxes_in(LIST, "~"))
    assert places.of(("INBOX",)).next_uid == 8
    assert OTHER in places.of(("Entw&APw-rfe", "Alt")).directory
    assert places.of((GUID,)).next_uid == 8
    assert places.of(("a" * 32,)).next_uid == 1
    with pytest.raises(BadMail, match="mailbox create"):
        places.of(("Trash",))


def test_a_list_of_folders_with_escapes_or_without_sense() -> None:
    assert mailboxes_in(f"guid\tmailbox\n{GUID}\ta\x01tb\n") == {"a\tb": Mailbox(GUID, 1)}
    for text in ("", "INBOX\n", f"mailbox\tguid\nINBOX\t{GUID}x\n", f"mailbox\tguid\tuidnext\nI\t{GUID}\tx\n"):
        with pytest.raises(NotASource):
            mailboxes_in(text)


@pytest.mark.parametrize("owner", ["", "/", "..", "a/../b", "a//b", "a\nb", "mailboxes", "x" * 256])
def test_an_owner_that_leads_elsewhere_is_refused(owner: str) -> None:
    with pytest.raises(BadMail):
        owner_path(owner)


def test_inbox_is_inbox_however_it_is_written() -> None:
    assert checked(("Inbox", "Sub")) == ("INBOX", "Sub")
    with pytest.raises(BadMail, match="deep"):
        checked(("a",) * 17)


@pytest.mark.parametrize("name", ["Entwürfe", "a & b", "日本語/x", "😀", "~&-", ""])
def test_names_of_mailboxes_come_back_from_modified_utf7(name: str) -> None:
    assert decoded(encoded(name)) == name
    assert encoded(name).isascii()


def test_a_wanted_uid_that_is_free_is_given_and_a_taken_one_is_not() -> None:
    uids = Uids.of(D, listed("u.2", "u.5", "dovecot.index", "sub/u.9", "u.0"))
    uids.reserve(7)
    assert uids.choose(3, "a", 1) == 3
    assert uids.choose(5, "b", 1) == 8
    assert uids.choose(0, "c", 1) == 9
    assert (uids.where("b", 1), uids.where("etag-u.5", 10), uids.where("etag-u.5", 11)) == (8, 5, 0)
    assert uids.holds(5, "etag-u.5")


def test_uids_that_once_were_in_use_are_not_given_again() -> None:
    uids = Uids.of(D, [], lowest=20)
    assert [uids.choose(one, str(one), 1) for one in (3, 20, 0)] == [20, 21, 22]


def test_a_uid_somebody_else_took_is_not_chosen_again() -> None:
    uids = Uids()
    assert uids.choose(4, "a", 1) == 4
    uids.lose(4, "a", 1)
    assert uids.where("a", 1) == 0
    assert uids.choose(4, "a", 1) == 5


def test_uids_end() -> None:
    uids = Uids.of(D, listed(f"u.{HIGHEST}"))
    with pytest.raises(BadMail, match="no free UID"):
        uids.choose(0, "a", 1)
