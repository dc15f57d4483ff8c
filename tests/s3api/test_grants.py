"""What an access key may do."""

from __future__ import annotations

import pytest

from tierproxy.s3api.grants import Grants


@pytest.mark.parametrize(
    ("pattern", "bucket", "key", "allowed"),
    [
        ("*", "mail", "ann/1", True),
        ("mail", "mail", "ann/1", True),
        ("mail", "mail2", "ann/1", False),
        ("mail/ann", "mail", "ann/1", True),
        ("mail/ann", "mail", "ann", True),
        ("mail/ann", "mail", "anna/1", False),
        ("mail/ann/", "mail", "ann", False),
        ("mail/ann*", "mail", "anna/1", True),
        ("mail/ann", "mail", "", False),
        ("mail/ann*", "mail", "", False),
        ("mail/*", "mail", "", True),
        ("mail", "mail", "", True),
        ("", "mail", "a", False),
    ],
)
def test_a_grant_covers_its_bucket_or_prefix(pattern: str, bucket: str, key: str, allowed: bool) -> None:
    assert Grants.of([pattern], "write").allows(bucket, key, write=True) is allowed


def test_a_reader_may_not_write() -> None:
    grants = Grants.of(["mail"], "read")
    assert grants.allows("mail", "a", write=False)
    assert not grants.allows("mail", "a", write=True)


@pytest.mark.parametrize(
    ("pattern", "prefix", "allowed"),
    [
        ("mail", "", True),
        ("mail/ann", "", False),
        ("mail/ann", "ann/", True),
        ("mail/ann", "ann", False),  # would list anna
        ("mail/ann", "ann/inbox", True),
        ("mail/ann*", "ann", True),
        ("mail/ann/", "bob/", False),
        ("other", "", False),
    ],
)
def test_a_listing_shows_nothing_that_may_not_be_read(pattern: str, prefix: str, allowed: bool) -> None:
    assert Grants.of([pattern], "read").lists("mail", prefix) is allowed


def test_a_key_sees_the_buckets_it_has_any_part_of() -> None:
    grants = Grants.of(["mail/ann", "logs"], "read")
    assert [bucket for bucket in ("mail", "logs", "other") if grants.sees(bucket)] == ["mail", "logs"]
