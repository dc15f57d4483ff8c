"""Options that contradict each other, or that S3 would not take, are refused before anything starts."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tierproxy.config.checks import bucket_name_fault, examine, host_and_port, is_loopback
from tierproxy.config.convert import Problems, place
from tierproxy.config.sections import (
    BucketSection,
    Config,
    DynamicBucketsSection,
    KeySection,
    NamingSection,
    PolicySection,
)
from tierproxy.config.values import Duration, Share, Size
from tierproxy.errors import ConfigError
from tierproxy.model import Ack, OnAltDown

GOOD = Config(
    bucket=(BucketSection(name="mail"),),
    key=(KeySection(access_key_id="A", secret="a-secret-of-enough-letters"),),
)


def findings(config: Config) -> list[str]:
    problems = Problems()
    examine(config, problems, [])
    return [f"{place(path)}: {text}" for path, text in problems.found]


def doubts(config: Config) -> list[str]:
    warnings: list[str] = []
    examine(config, Problems(), warnings)
    return warnings


def changed(section: str, **options: Any) -> Config:
    return dataclasses.replace(GOOD, **{section: dataclasses.replace(getattr(GOOD, section), **options)})


def buckets(*entries: BucketSection) -> Config:
    return dataclasses.replace(GOOD, bucket=entries)


def keys(*entries: KeySection) -> Config:
    return dataclasses.replace(GOOD, key=entries)


def test_a_good_configuration_has_neither_problems_nor_doubts() -> None:
    assert findings(GOOD) == []
    assert doubts(GOOD) == []


@pytest.mark.parametrize(
    ("section", "options", "expected"),
    [
        ("node", {"data_dir": ""}, "node.data_dir: must not be empty"),
        ("listen", {"address": ""}, "listen: nothing to listen on"),
        ("listen", {"address": "localhost"}, "listen.address: 'localhost' is not host:port"),
        ("listen", {"address": "localhost:70000"}, "listen.address: 'localhost:70000' is not host:port"),
        ("listen", {"address": "::1:9300"}, "write an IPv6 address in brackets"),
        ("listen", {"address": "0.0.0.0:9300", "auth": "none"}, "listen.auth: none lets everybody who reaches"),
        ("listen", {"unix_socket_mode": "rw"}, "listen.unix_socket_mode: 'rw' is not an octal file mode"),
        ("listen", {"domain": "a b"}, "listen.domain: 'a b' is not a host name"),
        ("listen", {"region": ""}, "listen.region: must not be empty"),
        ("listen", {"tls_certificate": "/dev/null"}, "listen.tls_key: is missing"),
        ("listen", {"tls_key": "/dev/null"}, "listen.tls_certificate: is missing"),
        ("listen", {"tls_key": "/nonexistent", "tls_certificate": "/dev/null"}, "cannot read /nonexistent"),
        ("alt", {"endpoint": "s3.example.com"}, "alt.endpoint: 's3.example.com' is not a URL"),
        ("alt", {"endpoint": "https://s3.example.com/mail"}, "alt.endpoint: has more than scheme, host and port"),
        ("alt", {"access_key_id": "B"}, "alt: access_key_id and its secret come together"),
        ("alt", {"secret_access_key": "x"}, "alt: access_key_id and its secret come together"),
        ("alt", {"profile": "p", "access_key_id": "B", "secret_access_key": "x"}, "alt.profile: is given with"),
        ("alt", {"region": ""}, "alt.region: must not be empty"),
        ("alt", {"storage_class": "DEEP_ARCHIVE"}, "alt.storage_class: objects of DEEP_ARCHIVE cannot be read"),
        ("alt", {"sse_kms_key_id": "k"}, "alt.sse_kms_key_id: needs server_side_encryption"),
        ("alt", {"multipart_part_size": Size(6 * 2**30)}, "are at most 5GiB"),
        ("disk", {"low_water": 0.95}, "disk: low_water < high_water <= hard_limit is not so: 0.95, 0.95, 1.1"),
        ("disk", {"hard_limit": 0.9}, "is not so: 0.8, 0.95, 0.9"),
        ("disk", {"low_water": 0.0}, "is not so: 0.0, 0.95, 1.1"),
        ("disk", {"min_free": Share(percent=100)}, "disk.min_free: 100% of the file system can never be free"),
        ("queue", {"max_backoff": Duration(0.5)}, "queue.max_backoff: is shorter than backoff"),
        ("memory", {"max_bytes": Size(10)}, "memory.max_object: is larger than max_bytes"),
        ("stubs", {"max_bytes": Size(10**6)}, "stubs.max_bytes: is less than 1MiB: write that, or 0 for no stubs"),
        ("stubs", {"head": Size(16 * 2**20)}, "stubs.head: head and tail are too large: not even 16 such stubs fit"),
        ("dynamic_buckets", {"enabled": True}, "dynamic_buckets.alt_bucket: is missing"),
        ("dynamic_buckets", {"enabled": True, "alt_bucket": "UP"}, "dynamic_buckets.alt_bucket: a bucket name has"),
    ],
)
def test_a_contradiction_within_a_section_is_refused(section: str, options: dict[str, Any], expected: str) -> None:
    found = findings(changed(section, **options))
    assert any(expected in text for text in found), found


def test_auth_none_is_allowed_on_loopback_and_on_a_unix_socket_without_any_key() -> None:
    for listen in ({"auth": "none"}, {"auth": "none", "address": "", "unix_socket": "/run/t.sock"}):
        assert findings(dataclasses.replace(changed("listen", **listen), key=())) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mail", ""),
        ("mail-2.archive", ""),
        ("ab", "3 to 63 characters"),
        ("a" * 64, "3 to 63 characters"),
        ("Mail", "has only a-z"),
        ("mail_x", "has only a-z"),
        ("-mail", "begins and ends"),
        ("mail.", "begins and ends"),
        ("a..b", "two dots"),
        ("192.168.0.1", "IP address"),
        ("xn--mail", "keeps names"),
        ("mail-s3alias", "keeps names"),
    ],
)
def test_bucket_names_follow_the_rules_of_s3(name: str, expected: str) -> None:
    fault = bucket_name_fault(name)
    assert expected in fault
    assert bool(fault) is bool(expected)


def test_two_buckets_of_one_name_are_refused() -> None:
    pair = buckets(BucketSection(name="mail"), BucketSection(name="mail", alt_bucket="other"))
    assert "bucket[0].name: there are 2 buckets called mail" in findings(pair)


@pytest.mark.parametrize(("first", "second"), [("", ""), ("", "a/"), ("a/", "a/b/"), ("a/b/", "a/")])
def test_buckets_that_share_keys_in_alt_are_refused(first: str, second: str) -> None:
    pair = buckets(
        BucketSection(name="mail", alt_bucket="store", alt_prefix=first),
        BucketSection(name="more", alt_bucket="store", alt_prefix=second),
    )
    assert any("share keys in alt" in text for text in findings(pair))


def test_buckets_with_prefixes_of_their_own_may_share_an_alt_bucket() -> None:
    pair = buckets(
        BucketSection(name="mail", alt_bucket="store", alt_prefix="a/"),
        BucketSection(name="more", alt_bucket="store", alt_prefix="b/"),
    )
    assert findings(pair) == []


def test_dynamic_buckets_may_not_lie_inside_a_configured_one() -> None:
    config = dataclasses.replace(GOOD, dynamic_buckets=DynamicBucketsSection(enabled=True, alt_bucket="mail"))
    assert any(
        "mail and [dynamic_buckets]" in text or "[dynamic_buckets] and mail" in text for text in findings(config)
    )


@pytest.mark.parametrize("prefix", ["/mail", "a//b", "../x/", "a/./b/"])
def test_a_prefix_clients_do_not_agree_on_is_refused(prefix: str) -> None:
    assert any("alt_prefix" in text for text in findings(buckets(BucketSection(name="mail", alt_prefix=prefix))))


def test_a_prefix_that_leaves_no_room_for_keys_is_refused() -> None:
    config = buckets(BucketSection(name="mail", alt_prefix="é" * 129))
    assert any("longer than 256 bytes" in text for text in findings(config))


def test_an_empty_key_pattern_is_refused() -> None:
    config = buckets(BucketSection(name="mail", policy=(PolicySection(key=""),)))
    assert any("matches nothing" in text for text in findings(config))


def test_a_configuration_without_buckets_or_keys_is_refused() -> None:
    found = findings(Config())
    assert [text.partition(":")[0] for text in found] == ["bucket", "key"]


def test_a_key_for_a_bucket_that_does_not_exist_is_refused_with_the_nearest() -> None:
    config = keys(dataclasses.replace(GOOD.key[0], buckets=("mial/alice",)))
    assert findings(config) == ["key[0].buckets: there is no bucket 'mial'; did you mean mail?"]


def test_two_keys_of_one_id_and_odd_ids_are_refused() -> None:
    assert "key[0].access_key_id: there are 2 keys called A" in findings(keys(GOOD.key[0], GOOD.key[0]))
    odd = keys(dataclasses.replace(GOOD.key[0], access_key_id="a/b"))
    assert any("is not made of letters" in text for text in findings(odd))


def test_what_has_no_effect_is_warned_about() -> None:
    entry = BucketSection(
        name="mail", ack=Ack.ALT, on_alt_down=OnAltDown.QUEUE, revalidate=Duration(5), alt_prefix="mail"
    )
    assert doubts(buckets(entry)) == [
        "bucket mail: on_alt_down has no effect with ack = alt",
        "bucket mail: revalidate has no effect with exclusive = true",
        "bucket mail: alt_prefix mail does not end with /: keys follow it directly",
    ]


def test_a_short_secret_is_warned_about_without_showing_it() -> None:
    [warning] = doubts(keys(KeySection(access_key_id="A", secret="hush")))
    assert "short" in warning
    assert "hush" not in warning


def test_addresses_are_split_and_loopback_is_known() -> None:
    assert host_and_port("127.0.0.1:9300") == ("127.0.0.1", 9300)
    assert host_and_port("[::1]:0") == ("::1", 0)
    assert host_and_port(":9300") == ("0.0.0.0", 9300)
    for text in ("", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000", "::1:9300"):
        with pytest.raises(ConfigError):
            host_and_port(text)
    assert [is_loopback(host) for host in ("localhost", "127.9.9.9", "::1", "10.0.0.1", "example.org")] == [
        True, True, True, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("(?P<owner>[^/]+", "naming[1].pattern: is no regular expression"),
        ("([^/]+)/.*", "naming[1].pattern: has no group owner"),
        ("(?P<owner>a)(?P<user>b)", "naming[1].pattern: has the group user"),
    ],
)
def test_a_naming_pattern_must_compile_and_name_an_owner(pattern: str, expected: str) -> None:
    good = NamingSection(pattern="(?P<owner>[^/]+)/(?P<folder>.*)/[^/]*")
    found = findings(dataclasses.replace(GOOD, naming=(good, NamingSection(pattern=pattern))))
    assert len(found) == 1
    assert expected in found[0]
    assert findings(dataclasses.replace(GOOD, naming=(good,))) == []
