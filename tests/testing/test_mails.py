"""The generated mails are mails: parseable, CRLF, of real sizes, and always the same."""

from __future__ import annotations

import email
import hashlib
import re
import statistics
from email import policy

import pytest

from tierproxy.testing.mails import BUILDERS, LARGEST, SMALLEST, Mail, mail, mails

SAMPLE = list(mails(90, seed=3))


def first_of(kind: str) -> Mail:
    return next(one for one in SAMPLE if one.kind == kind)


def test_every_kind_occurs() -> None:
    assert {one.kind for one in SAMPLE} == set(BUILDERS)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    again = {one.key: hashlib.sha256(one.content).digest() for one in mails(30, seed=3)}
    assert again == {one.key: hashlib.sha256(one.content).digest() for one in SAMPLE[:30]}
    assert mail(5, seed=4).content != mail(5, seed=3).content


def test_a_mail_does_not_depend_on_those_before_it() -> None:
    assert list(mails(2, seed=3, first=40)) == SAMPLE[40:42]


def test_keys_are_paths_of_a_mail_store_and_unique() -> None:
    keys = [one.key for one in SAMPLE]
    assert len(set(keys)) == len(keys)
    assert all(re.fullmatch(r"[a-z]+/mailboxes/[^/]+/dbox-Mails/u\.\d+", key) for key in keys)


@pytest.mark.parametrize("one", SAMPLE, ids=lambda one: one.kind)
def test_lines_end_with_crlf_and_are_not_too_long(one: Mail) -> None:
    assert re.search(rb"(?<!\r)\n|\r(?!\n)", one.content) is None
    assert max(map(len, one.content.split(b"\r\n"))) <= 998, "RFC 5322 2.1.1"


@pytest.mark.parametrize("kind", sorted(BUILDERS))
def test_every_kind_parses_with_headers_and_body(kind: str) -> None:
    message = email.message_from_bytes(first_of(kind).content, policy=policy.default)
    assert message["From"]
    assert message["Message-ID"].endswith("@example.org>")
    assert any(part.get_content_maintype() == "text" for part in message.walk())
    faults = [fault for part in message.walk() for fault in part.defects]
    assert not faults or kind == "odd-headers"


def test_attachments_are_random_binary_in_base64() -> None:
    message = email.message_from_bytes(first_of("attachments").content, policy=policy.default)
    [*parts] = message.iter_attachments()
    assert all(part["Content-Transfer-Encoding"] == "base64" for part in parts)
    assert all(isinstance(part.get_content(), bytes) for part in parts)


def test_eight_bit_mails_have_bytes_above_127_that_decode_in_their_charset() -> None:
    content = first_of("eight-bit").content
    body = content.partition(b"\r\n\r\n")[2]
    assert any(byte > 127 for byte in body)
    charset = email.message_from_bytes(content, policy=policy.default).get_content_charset()
    assert charset is not None
    assert body.decode(charset)


def test_nested_mails_hold_a_mail_in_a_mail() -> None:
    message = email.message_from_bytes(first_of("nested").content, policy=policy.default)
    kinds = [part.get_content_type() for part in message.walk()]
    assert kinds.count("message/rfc822") == 2


def test_odd_headers_are_there() -> None:
    content = first_of("odd-headers").content
    for line in (b"X-Empty:\r\n", b"X-Duplicate: one\r\nX-Duplicate: two\r\n", b"Gr\xfc\xdfe", b"=?utf-8?b?"):
        assert line in content


def test_sizes_spread_as_those_of_real_mail() -> None:
    sizes = [len(one.content) for one in mails(300)]
    assert min(sizes) >= SMALLEST
    assert max(sizes) <= LARGEST
    assert max(sizes) >= 10_000_000
    assert 8_000 < statistics.median(sizes) < 30_000
    assert sum(sizes) < 150_000_000
