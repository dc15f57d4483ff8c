"""The check of alt's buckets at start."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tierproxy.alt.bucket import BucketCheck, Level, check_buckets, dangers
from tierproxy.alt.mapping import Place
from tierproxy.alt.stores import check_section
from tierproxy.config.sections import AltSection
from tierproxy.config.values import Duration, Size
from tierproxy.embedded import EmbeddedS3
from tierproxy.errors import ConfigError


@pytest.fixture(scope="module")
def check(seaweed: EmbeddedS3) -> Iterator[BucketCheck]:
    seaweed.make_bucket("checked")
    with contextlib.closing(BucketCheck(seaweed.section())) as one:
        yield one


def test_a_good_bucket_has_no_warnings_and_no_probe_left(check: BucketCheck) -> None:
    found = check.run([Place("checked", "mail/")])
    assert found
    assert all(finding.level is Level.INFO for finding in found)
    assert check._client.list_objects_v2(Bucket="checked")["KeyCount"] == 0


def test_a_missing_bucket_is_an_error(check: BucketCheck) -> None:
    (finding,) = check.run([Place("nowhere")])
    assert finding.level is Level.ERROR
    assert "create it" in finding.text


def test_a_bucket_can_be_made_twice(check: BucketCheck) -> None:
    check.create("checked")


def test_versioning_is_a_warning(check: BucketCheck) -> None:
    check.create("versioned")
    check._client.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    assert [f.level for f in check.run([Place("versioned")]) if "versioning" in f.text] == [Level.WARNING]


def test_a_server_that_is_down_is_an_error() -> None:
    section = AltSection(
        endpoint="http://127.0.0.1:1", access_key_id="a", secret_access_key="b", connect_timeout=Duration(1)
    )
    (finding,) = check_buckets(section, [Place("mail")])
    assert finding.level is Level.ERROR


@pytest.mark.parametrize(
    ("rule", "count"),
    [
        ({"Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 30}}, 1),
        ({"Status": "Enabled", "Prefix": "mail/old/", "Expiration": {"Date": "2030-01-01"}}, 1),
        ({"Status": "Enabled", "Filter": {"And": {"Prefix": "ma"}}, "Transitions": [{"StorageClass": "GLACIER"}]}, 1),
        (
            {
                "Status": "Enabled",
                "Filter": {},
                "Transitions": [{"StorageClass": "DEEP_ARCHIVE"}],
                "Expiration": {"Days": 9},
            },
            2,
        ),
        ({"Status": "Enabled", "Filter": {}, "Transitions": [{"StorageClass": "STANDARD_IA"}]}, 0),
        ({"Status": "Enabled", "Filter": {}, "Expiration": {"ExpiredObjectDeleteMarker": True}}, 0),
        ({"Status": "Enabled", "Filter": {}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}, 0),
        ({"Status": "Disabled", "Filter": {}, "Expiration": {"Days": 30}}, 0),
        ({"Status": "Enabled", "Filter": {"Prefix": "other/"}, "Expiration": {"Days": 30}}, 0),
    ],
)
def test_rules_that_delete_or_freeze_mail_are_dangers(rule: dict[str, Any], count: int) -> None:
    assert len(dangers(rule, ["mail/"])) == count


@pytest.mark.parametrize(
    "options",
    [
        {"storage_class": "GLACIER"}, {"storage_class": "DEEP_ARCHIVE"}, {"server_side_encryption": "rot13"},
        {"sse_kms_key_id": "key"}, {"endpoint": "localhost:9000"}, {"multipart_part_size": Size(2**20)},
    ],
)  # fmt: skip
def test_options_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        check_section(AltSection(**options))
