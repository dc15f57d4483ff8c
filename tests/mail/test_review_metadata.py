"""Mails written to break what reads them, their metadata, or the terminal it is shown on."""

from __future__ import annotations

import gzip
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mail.samples import KEY
from tierproxy.alt.metadata import USER_LIMIT, from_alt, to_alt
from tierproxy.mail.dbox import written
from tierproxy.mail.metadata import LIMIT, OWN, PREFIX, Whose, cost, described, facts_of, said
from tierproxy.mail.skeleton import DIGEST, skeleton
from tierproxy.model import Headers
from tierproxy.store.describing import ends_in

TOP = b"Date: x\nFrom: "
CLIENTS: list[dict[str, str]] = [
    {}, {"a": "x" * 2040}, {"a": "𝕳" * 200}, {"Ω": "ж" * 400},
    {"mail-subject": "mine", "mail-guid": "zz", "mail-ends": "0" * 16, "mail-format": "\x1b[2J", "mail-uid": "\u202e"},
]  # fmt: skip
HOSTILE = {
    "zero bytes": TOP + b"\0" * 32_000 + b"\nSubject: " + b"a\0b" * 1000 + b"\n\n",
    "a line of 100 kB": b"X: " + b"a" * 100_000 + b"\nSubject: x\n\n",
    "a subject of 100 kB": b"Subject: " + b"a " * 50_000 + b"\n\n",
    "11,000 header lines": b"a:\n" * 11_000 + b"\n",
    "16,000 folds": b"Subject: x\n" + b" \n" * 16_000 + b"y\n\n",
    "words that never begin": TOP + b"=?" * 2000 + b"\nSubject: " + b"=?utf-8?q?" * 400 + b"\n\n",
    "words within words": TOP + b"=?utf-8?b?PT91dGYtOD9iP1BUOTFkR1l0T0Q5aVB6MD0/PQ==?= " * 70 + b"\n\n",
    "charsets that change their state": TOP + b"=?iso-2022-jp?q?=1b$B=ff=fe=80?= " * 150 + b"\nSubject: x\n\n",
    "halves of characters": TOP + b"=?utf-8?q?=ED=A0=80?=" * 100 + b"\nSubject: " + b"\xed\xa0\x80" * 900 + b"\n\n",
    "accents without end": TOP + ("e" + "\u0301" * 1900).encode() + b"\nSubject: x\n\n",
    "right to left": TOP + ("\u202e\u2066abc" * 500).encode() + b"\nSubject: \xe2\x80\xae\n\n",
    "escapes": TOP + b"\x1b[31m" * 500 + b"\nSubject: =?utf-8?q?=1B[2J=07=C2=9B?= \x9b31m\nTo: \xc2\x9b31m\n\n",
    "outside the first plane": TOP + ("𝕳" * 1000).encode() + b"\nSubject: " + ("𝕳" * 1000).encode() + b"\n\n",
    "a gzip bomb": gzip.compress(b"Subject: x\n" + b" y" * 5_000_000, 9),
    "a date beyond all": b"Date: Mon, 99999999999999999999 Jan 9999999999 99:99:99 +9999999999\nFrom: x\n\n",
    "an id that is a word": b"Message-ID: <a=?utf-8?q?x?=b>\nDate: x\n\n",
}


def holds(message: bytes, client: dict[str, str], whose: Whose) -> None:
    """Whatever it is: within the limit with what alt gets beside it, plain to S3, and plain to read."""
    content = written(message, created=1, received=1, guid="5f1a0b72c3d4e5f60718293a4b5c6d7e")
    mail = said(KEY, ends_in(content))
    assert mail is not None
    found = described(mail, whose, 0.0, client)
    own = {name: value for name, value in found.items() if name not in client or name == PREFIX + DIGEST}
    assert {name: value for name, value in found.items() if name not in own} == {
        name: value for name, value in client.items() if name != PREFIX + DIGEST
    }
    assert all(value.isascii() and value.isprintable() for value in own.values())
    assert cost(found) <= max(LIMIT - OWN, cost(client))
    assert all(one == " " or unicodedata.category(one)[0] not in "CZ" for one in "".join(facts_of(found).values()))
    stored = to_alt(Headers(metadata=found), "0" * 32, (), KEY)
    assert sum(len(name) + len(value) for name, value in stored.user.items()) <= max(USER_LIMIT, cost(client))
    assert from_alt(stored.system, stored.user).headers.metadata == {one.lower(): found[one] for one in found}
    made = skeleton(facts_of(found), len(content))
    assert made is None or (content.startswith(made.head) and content.endswith(made.tail))


@pytest.mark.parametrize("client", CLIENTS, ids=["none", "full", "wide", "names", "ours"])
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_mails_have_metadata_like_others(case: str, client: dict[str, str]) -> None:
    holds(HOSTILE[case], client, Whose("alice", "INBOX"))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [b"=?", b"?=", b"utf-8", b"?q?", b"?b?", b"\n", b" ", b"\r", b"Subject:", b"From:", b"To:", b"\0", b"\x1b",
             b">", b"\xff", b"\xed\xa0\x80", b"\xe2\x80\xae", b"=1B", b"QUJD", b"=D8", b"\t", b"Message-ID: <"]
        ), min_size=20, max_size=900,
    ), st.sampled_from(["alice", "a\x1bb", "\u202e", "ж" * 300]), st.sampled_from(CLIENTS),
)  # fmt: skip
def test_no_mail_made_of_the_odd_breaks_anything(pieces: list[bytes], owner: str, client: dict[str, str]) -> None:
    holds(b"From: a\nDate: b\n" + b"".join(pieces), client, Whose(owner, owner))
