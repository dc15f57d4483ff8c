"""Owner and folder class of an object from its key."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierproxy.config.sections import FoldersSection, NamingSection
from tierproxy.mail.mutf7 import decoded
from tierproxy.mail.names import Naming
from tierproxy.model import ObjectName

GUID = "5f1a0b72c3d4e5f60718293a4b5c6d7e"
BUILT_IN = Naming((), FoldersSection())


def of(key: str, naming: Naming = BUILT_IN) -> tuple[str, str]:
    return naming.of(ObjectName("mail", key))


@pytest.mark.parametrize(
    ("key", "owner", "folder"),
    [
        (f"alice/mailboxes/{GUID}/u.1", "alice", "other"),
        (f"alice@example.org/mailboxes/{GUID}/u.4294967295", "alice@example.org", "other"),
        (f"example.org/alice/sdbox/mailboxes/{GUID}/u.1", "alice@example.org", "other"),
        (f"alice/mailboxes/{GUID}/dbox-Mails/u.1", "alice", "other"),
        ("alice/mailboxes/dbox-Mails/dbox-Mails/u.1", "alice", "other"),
        ("alice/mailboxes/Sent/dbox-Mails/dbox-Mails/u.1", "alice", "other"),
        ("alice/mailboxes/mailboxes/dbox-Mails/u.1", "alice", "other"),
        ("alice/Maildir/mailboxes/cur/1700000000.M1P2.host:2,S", "alice", "other"),
        ("alice/mailboxes/INBOX/dbox-Mails/u.1", "alice", "inbox"),
        ("alice/mailboxes/Sent Items/dbox-Mails/u.7", "alice", "sent"),
        ("alice/mailboxes/Entw&APw-rfe/dbox-Mails/u.1", "alice", "drafts"),
        ("alice/mailboxes/Archive/2024/dbox-Mails/u.1", "alice", "archive"),
        ("alice/mailboxes/Projects/Sent/dbox-Mails/u.1", "alice", "other"),
        ("mail/alice@example.org/mailboxes/Junk/dbox-Mails/u.1", "alice@example.org", "junk"),
        ("example.org/alice/mailboxes/Trash/dbox-Mails/u.1", "alice@example.org", "trash"),
        ("mail/example.org/a/alice/mailboxes/INBOX/dbox-Mails/u.1", "alice@example.org", "inbox"),
        ("3c/alice/mailboxes/INBOX/dbox-Mails/u.1", "alice", "inbox"),
        ("home/alice/sdbox/mailboxes/INBOX/dbox-Mails/u.1", "alice", "inbox"),
        ("mailboxes/alice/mailboxes/INBOX/dbox-Mails/u.1", "alice", "inbox"),
        ("alice/Maildir/cur/1700000000.M1P2.host,S=5:2,S", "alice", "inbox"),
        ("alice/Maildir/.Sent/cur/1700000000.M1P2.host:2,", "alice", "sent"),
        ("alice/Maildir/.INBOX.Trash/new/1700000000.M1P2.host", "alice", "trash"),
        ("alice/Maildir/Archive/2024/cur/1700000000.M1P2.host", "alice", "archive"),
        ("example.org/alice/new/1700000000.M1P2.host", "alice@example.org", "inbox"),
        (f"0a1b2c3d/alice/mailboxes/{GUID}/6b7c8d9e", "alice", "other"),
        (f"0a1b2c3d/alice@example.org/mailboxes/{GUID}/idx/bundle.1", "alice@example.org", "other"),
        ("0a1b2c3d/alice/idx/bundle.2", "alice", ""),
        ("photos/new/img.png", "", ""),
        ("mailboxes/INBOX/dbox-Mails/u.1", "", ""),
        ("u.1", "", ""),
        ("alice/mailboxes//dbox-Mails/u.1", "", ""),
    ],
)
def test_the_built_in_shapes(key: str, owner: str, folder: str) -> None:
    assert of(key) == (owner, folder)


def test_patterns_of_the_configuration_replace_the_built_in_shapes_and_the_first_that_matches_counts() -> None:
    naming = Naming(
        (
            NamingSection(pattern=r"(?P<owner>[^/]+)/(?P<folder>[^/]+)/[0-9]+", bucket="mail"),
            NamingSection(pattern=r"(?P<owner>[^/]+)/.*"),
        ),
        FoldersSection(),
    )
    assert of("ann/Sent/1", naming) == ("ann", "sent")
    assert of("ann/Sent/x", naming) == ("ann", ""), "the whole key has to match"
    assert naming.of(ObjectName("other", "ann/Sent/1")) == ("ann", "")
    assert of("alone", naming) == ("", "")


def test_classes_are_those_of_the_configuration() -> None:
    naming = Naming((), FoldersSection(archive=("keep/*",)))
    assert of("a/mailboxes/KEEP/2024/dbox-Mails/u.1", naming) == ("a", "archive")
    assert of("a/mailboxes/Archive/dbox-Mails/u.1", naming) == ("a", "other")


def test_another_pattern_or_class_is_another_fingerprint() -> None:
    plain = BUILT_IN.fingerprint()
    assert plain == Naming((), FoldersSection()).fingerprint()
    others = {
        Naming((NamingSection(pattern="(?P<owner>a)"),), FoldersSection()).fingerprint(),
        Naming((NamingSection(pattern="(?P<owner>a)", bucket="b"),), FoldersSection()).fingerprint(),
        Naming((), dataclasses.replace(FoldersSection(), inbox=())).fingerprint(),
    }
    assert len(others | {plain}) == 4
    assert all(0 < one < 2**63 for one in others | {plain})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Entw&APw-rfe", "Entwürfe"),
        ("A&-B", "A&B"),
        ("&2D3cqQ-", "💩"),
        ("&bad", "&bad"),
        ("&AP-x", "&AP-x"),
        ("a&!-", "a&!-"),
    ],
)
def test_modified_utf_7_is_decoded_and_what_is_none_stays(name: str, text: str) -> None:
    assert decoded(name) == text


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(["a", "/", ".", "mailboxes", "dbox-Mails", "cur", "&", "-", "Maildir", "0a1b2c3d", "idx", "@"]),
        max_size=120,
    )
)
def test_no_key_breaks_the_built_in_shapes(steps: list[str]) -> None:
    owner, folder = of("".join(steps))
    assert "/" not in owner
    assert folder in {"", "other", "inbox", "sent", "drafts", "trash", "junk", "archive"}


@pytest.mark.parametrize(
    ("key", "folder"),
    [
        (f"alice/mailboxes/{GUID}/u.1", GUID),
        ("alice/mailboxes/Work/Entw&APw-rfe/2026/dbox-Mails/u.1", "Work/Entwürfe/2026"),
        ("alice/mailboxes/dbox-Mails/dbox-Mails/u.1", "dbox-Mails"),
        ("alice/mailboxes/dbox-Mails/Sent/dbox-Mails/u.1", "dbox-Mails/Sent"),
        ("alice/mailboxes/Sent/dbox-Mails/dbox-Mails/u.1", "Sent/dbox-Mails"),
        ("alice/mailboxes/mailboxes/mailboxes/dbox-Mails/u.1", "mailboxes/mailboxes"),
        (f"alice/mailboxes/{GUID}/Sub/dbox-Mails/u.1", f"{GUID}/Sub"),
    ],
)
def test_folders_are_said_as_they_are_called_in_both_layouts(key: str, folder: str) -> None:
    naming = Naming([], FoldersSection())
    assert naming.said(ObjectName("mail", key)) == ("alice", folder)
