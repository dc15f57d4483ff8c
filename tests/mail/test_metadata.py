"""What a mail says of itself, within 2 KiB, whatever a stranger wrote into it."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mail.samples import GUID, KEY, MAIL, RECEIVED, ends, sdbox
from tierproxy.alt.metadata import from_alt, to_alt
from tierproxy.mail.metadata import (
    FACTS,
    LIMIT,
    OWN,
    PREFIX,
    TEXTS,
    Whose,
    copied,
    cost,
    described,
    facts_of,
    said,
    undigested,
)
from tierproxy.mail.skeleton import skeleton
from tierproxy.model import Headers

ALICE = Whose("alice", "INBOX")


def told(content: bytes, key: str = KEY, client: dict[str, str] | None = None, whose: Whose = ALICE) -> dict[str, str]:
    """All metadata of an object."""
    mail = said(key, ends(content))
    assert mail is not None
    return described(mail, whose, 1_795_000_000.7, client or {})


def header(line: bytes) -> bytes:
    return b"Date: x\nFrom: y\n" + line + b"\n\nbody"


def test_an_sdbox_file_says_all_of_it() -> None:
    content = sdbox()
    assert facts_of(told(content)) == {
        "format": "sdbox", "created": f"{RECEIVED - 1:x}", "size": str(len(MAIL)), "received": str(RECEIVED),
        "vsize": str(len(MAIL) + MAIL.count(b"\n")), "guid": GUID, "ends": facts_of(told(content))["ends"], "uid": "7",
        "saved": "1795000000", "owner": "alice", "folder": "INBOX", "message-id": "<1@example.org>",
        "date": "1795315742", "from": "Jörg <joerg@example.org>", "subject": "Grüße aus Bonn",
        "to": "alice@example.org",
    }  # fmt: skip


def test_a_maildir_file_says_what_its_name_and_its_lines_say() -> None:
    found = facts_of(told(MAIL, "alice/Maildir/cur/1700000000.M1P2.host,S=300,W=310:2,S"))
    assert (found["format"], found["received"], found["vsize"], found["size"]) == (
        "maildir",
        "1700000000",
        "310",
        str(len(MAIL)),
    )
    assert "uid" not in found
    assert "guid" not in found


def test_any_mail_says_what_its_lines_say() -> None:
    found = facts_of(told(MAIL.replace(b"\n", b"\r\n"), "some/key.eml"))
    assert (found["format"], found["subject"]) == ("rfc5322", "Grüße aus Bonn")
    assert "received" not in found


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"\x89PNG\r\n\x1a\n" + b"\0" * 100,
        b"a: b\nc: d\n\n",
        b"Subject: only one\n\nx",
        b"{}",
        b"\n\n" + MAIL,
    ],
)
def test_what_is_not_recognised_gets_nothing(content: bytes) -> None:
    assert said(KEY, ends(content)) is None


@pytest.mark.parametrize("junk", [b"\x1f\x8b\x08" + bytes(range(256)), b"\x28\xb5\x2f\xfd" + bytes(range(256))])
def test_a_packed_sdbox_file_says_what_its_ends_say(junk: bytes) -> None:
    found = facts_of(told(sdbox(junk)))
    assert (found["format"], found["guid"]) == ("sdbox", GUID)
    assert not {"from", "subject", "message-id"} & set(found)


def test_a_mail_that_dovecot_compressed_says_all_of_it() -> None:
    assert facts_of(told(sdbox(gzip.compress(MAIL))))["subject"] == "Grüße aus Bonn"


def test_a_bomb_is_not_unpacked_beyond_the_head() -> None:
    bomb = gzip.compress(b"Subject: " + b"x" * 100 * 2**20)
    found = facts_of(told(sdbox(bomb)))
    assert len(found["subject"]) == TEXTS["subject"]


def test_the_ends_of_a_mail_that_is_a_little_longer_than_the_head_are_found() -> None:
    for extra in range(32 * 1024 - 500, 32 * 1024 + 1200, 50):
        found = facts_of(told(sdbox(MAIL + b"x" * (extra - len(MAIL)))))
        assert found["guid"] == GUID
        assert found["ends"]


# ---------------------------------------------------------------- limits


def test_the_clients_metadata_is_never_touched() -> None:
    client = {"mail-subject": "mine", "mail-guid": "mine too", "x": "y"}
    found = told(sdbox(), client=client)
    assert {name: found[name] for name in client} == client
    assert found["mail-from"]


@pytest.mark.parametrize("size", [0, 100, 1000, 1500, 1700, 1780, 1790, 1792, 1793, 2000, 2047, 2048])
def test_client_and_mail_together_stay_within_the_limit(size: int) -> None:
    client = {"c": "x" * (size - 1)} if size else {}
    found = told(sdbox(), client=client)
    assert sum(len(name.encode()) + len(value.encode()) for name, value in found.items()) <= max(LIMIT - OWN, size)
    assert {name: found[name] for name in client} == client
    assert (found == client) == (size >= LIMIT - OWN - 2)


def test_exactly_all_of_the_room_is_used_and_not_a_byte_more() -> None:
    whole = told(sdbox(), client={})
    room = LIMIT - OWN - cost(whole)
    assert told(sdbox(), client={"c": "x" * (room - 1)}).keys() == whole.keys() | {"c"}
    assert cost(told(sdbox(), client={"c": "x" * (room - 1)})) == LIMIT - OWN
    shorter = told(sdbox(), client={"c": "x" * room})
    assert cost(shorter) == LIMIT - OWN
    assert shorter["mail-to"] == whole["mail-to"][:-1]


def test_facts_come_before_texts_and_are_whole_or_not_there() -> None:
    whole = told(sdbox())
    for size in range(1, LIMIT):
        found = told(sdbox(), client={"c": "x" * size})
        facts = {name for name in found if name.removeprefix(PREFIX) in FACTS}
        assert all(found[name] == whole[name] for name in facts)
        if any(name.removeprefix(PREFIX) in TEXTS for name in found):
            assert facts == {name for name in whole if name.removeprefix(PREFIX) in FACTS}


def test_long_texts_are_cut_at_a_character_each_within_its_own_limit() -> None:
    many = "ü会🚀".encode() * 500
    found = told(header(b"Subject: " + many + b"\nTo: " + many), "x.eml")
    for name in ("subject", "to"):
        assert len(found[PREFIX + name]) <= TEXTS[name]
        assert ("ü会🚀" * 500).startswith(facts_of(found)[name])
        assert len(facts_of(found)[name]) > 10


def test_an_id_that_is_too_long_is_left_out() -> None:
    assert "message-id" not in facts_of(told(header(b"Message-ID: <" + b"a" * 400 + b"@b>"), "x.eml"))


def test_alt_is_sent_words_once_and_gives_the_same_back() -> None:
    long = told(header(b"Subject: " + "ж".encode() * 300), "x.eml", {"client": "=?UTF-8?Q?raw?=", "ü": "ü"})
    sent = to_alt(Headers(metadata=long), "0" * 32 + "-10000", (), "x").user
    assert sent["mail-subject"] == long["mail-subject"]
    assert all(value.isascii() for value in sent.values())
    assert from_alt({}, sent).headers.metadata == long
    assert cost(long) == sum(len(one.encode()) + len(value) for one, value in sent.items() if one != "tierproxy-etag")


@settings(max_examples=200, deadline=None)
@given(text=st.text(min_size=1, max_size=80), name=st.sampled_from(["x", "mail-subject", "mail-x"]))
def test_no_value_of_a_client_is_changed_by_alts_form(text: str, name: str) -> None:
    sent = to_alt(Headers(metadata={name: text}), None, (), "x").user
    assert from_alt({}, sent).headers.metadata == {name: text}
    assert cost({name: text}) >= sum(len(one) + len(value) for one, value in sent.items())


# ---------------------------------------------------------------- hostile


HOSTILE = {
    "a line of a megabyte": header(b"Subject: " + b"x" * 2**20),
    "a header of a megabyte without an end": b"Date: x\nFrom: y\nSubject: " + b"x" * 2**20,
    "a line folded ten thousand times": header(b"Subject: a" + b"\n b" * 10_000),
    "words in words": header(b"Subject: =?utf-8?q?=3D=3Futf-8=3Fq=3Fa=3F=3D?="),
    "words without ends": header(b"Subject: " + b"=?utf-8?b?" * 10_000),
    "half a word": header(b"Subject: =?utf-8?b?w6"),
    "a charset that is a codec": header(b"Subject: =?unicode_escape?q?=5Cx0a?= =?punycode?q?a-b?= =?rot13?q?n?="),
    "a charset that is a path": header(b"Subject: =?../../etc/passwd?q?a?= =?a.b.c?q?a?="),
    "a charset that is unknown": header(b"Subject: =?x-unknown?q?a?="),
    "bad base64": header(b"Subject: =?utf-8?b?!!!!?= =?utf-8?b?=?="),
    "bad UTF-8 in a word": header(b"Subject: =?utf-8?q?=ff=fe?="),
    "eight bits": header(b"Subject: Gr\xfc\xdfe"),
    "zero bytes": header(b"Subject: a\0b"),
    "an escape sequence": header(b"Subject: \x1b]0;title\x07\x1b[31mred"),
    "line ends in a word": header(b"Subject: =?utf-8?q?a=0D=0AX-Evil:_yes?="),
    "line ends of Unicode": header("Subject: a\x85b\u2028c\u2029d\u202ee".encode()),
    "bare carriage returns": header(b"Subject: a\rX-Evil: yes\r\r"),
    "twice": header(b"Subject: first\nSubject: second"),
    "no colon": header(b"no colon here at all"),
    "a name of a megabyte": header(b"x" * 2**20 + b": y"),
    "many lines": header(b"\n".join(b"X-%d: y" % number for number in range(100_000))),
    "a date of a thousand years": header(b"Date: Mon, 32 Foo 99999999999 99:99:99 +99999999"),
    "surrogates": header(b"Subject: =?utf-8?q?=ED=A0=80?= \xed\xa0\x80"),
    "iso-2022 that does not end": header(b"Subject: =?iso-2022-jp?b?GyRC?= =?iso-2022-kr?q?=1B=24=29C?="),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_header_lines_do_no_harm(what: str) -> None:
    for content in (HOSTILE[what], sdbox(HOSTILE[what])):
        found = told(content, "x/u.1")
        assert all(value.isascii() and value.isprintable() for value in found.values())
        assert cost(found) <= LIMIT - OWN
        assert all(text.isprintable() for text in facts_of(found).values())


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"Subject: a\n\tb\r\n  c", "a b c"),
        (b"sUbJeCt : odd", "odd"),
        (b"Subject: Gr\xfc\xdfe", "Grüße"),
        ("Subject: Grüße".encode(), "Grüße"),
        (b"Subject: =?utf-8?q?a=C3?= =?utf-8?q?=BCb?=", "aüb"),
        (b"Subject: =?utf-8*de?Q?a_b?=", "a b"),
        (b"Subject: =?UNKNOWN?Q?a_b?=", "=?UNKNOWN?Q?a_b?="),
        (b"Subject: =?utf-8?q?a=0D=0AX-Evil:_yes?=", "a X-Evil: yes"),
        (b"Subject: first\nSubject: second", "first"),
        (b"Subject: =?iso-2022-jp?B?GyRCMnE1RBsoQg==?=", "会議"),
        (b"Subject: =?gb2312?B?u+HS6Q==?=", "会议"),
    ],
)
def test_a_subject_is_read_as_people_read_it(line: bytes, text: str) -> None:
    assert facts_of(told(header(line), "x.eml"))["subject"] == text


@settings(max_examples=300, deadline=None)
@given(
    line=st.binary(max_size=400) | st.text(max_size=200).map(str.encode),
    name=st.sampled_from([b"Subject", b"From", b"To", b"Date", b"Message-ID"]),
    size=st.integers(0, LIMIT),
)
def test_whatever_a_line_says_the_rules_hold(line: bytes, name: bytes, size: int) -> None:
    client = {"c": "x" * (size - 1)} if size else {}
    found = told(header(name + b": " + line), "x.eml", client)
    assert {one: found[one] for one in client} == client
    assert cost(found) <= max(LIMIT - OWN, size)
    own = {one: value for one, value in found.items() if one not in client}
    assert all(value.isascii() and value.isprintable() and value == value.strip() for value in own.values())
    assert from_alt({}, to_alt(Headers(metadata=found), None, (), "x").user).headers.metadata == found


# ---------------------------------------------------------------- copies


def test_a_copy_has_owner_folder_and_uid_of_its_own_key() -> None:
    source = told(sdbox(), client={"mine": "1"})
    copy = copied(source, None, "bob/mailboxes/Sent/dbox-Mails/u.12", Whose("bob", "Sent"))
    assert facts_of(copy) == facts_of(source) | {"owner": "bob", "folder": "Sent", "uid": "12"}
    assert copy["mine"] == "1"


def test_a_copy_under_a_name_without_uid_has_none() -> None:
    assert "uid" not in facts_of(copied(told(sdbox()), None, "bob/x.eml", Whose()))


def test_a_client_that_replaces_its_metadata_leaves_the_mails() -> None:
    source = told(sdbox(), client={"mine": "1"})
    copy = copied(source, {"other": "2", "mail-subject": "mine"}, KEY, ALICE)
    assert "mine" not in copy
    assert (copy["other"], copy["mail-subject"]) == ("2", "mine")
    assert facts_of(copy) == facts_of(source) | {"subject": "mine"}


def test_a_copy_of_what_is_no_mail_stays_as_it_is() -> None:
    assert copied({"a": "b", "mail-uid": "7"}, None, KEY, ALICE) == {"a": "b", "mail-uid": "7"}
    assert copied({"a": "b"}, {"mail-ends": "0"}, KEY, ALICE) == {"mail-ends": "0"}


# ---------------------------------------------------------------- other people's words


def test_metadata_that_a_client_took_from_another_body_proves_nothing() -> None:
    old, new = sdbox(), sdbox(guid="0" * 32)
    assert len(old) == len(new)
    found = facts_of(told(new, client=told(old)))
    assert found["guid"] == GUID, "the client wins"
    assert skeleton(found, len(new)) is None
    assert skeleton(facts_of(copied(told(old), told(new), KEY, ALICE)), len(old)) is None
    assert "mail-ends" not in undigested({"mail-ends": "0"})
