"""Which keys go through obstore, and how names become alt's keys."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.alt.liars import HELLO, liar
from tests.alt.test_alt_trouble import alt_at, head
from tierproxy.alt.keys import is_plain, may_be_merged
from tierproxy.alt.mapping import BucketMap, Place, hash_prefix
from tierproxy.config.sections import BucketSection, DynamicBucketsSection
from tierproxy.errors import ConfigError, NoSuchBucket
from tierproxy.model import ObjectName

text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
segments = st.sampled_from(["a", ".", "..", "...", "", "%2F", "é", " ", "a\\b"])
keys = st.one_of(text, st.lists(segments, min_size=1).map("/".join).filter(bool))


@pytest.mark.parametrize("key", ["a", "a/b", "a b", "a%2Fb", "é/日本/😀", "...", "a.", ".a", "a\\b", "\x85", "~!*'()"])
def test_usual_keys_go_through_obstore(key: str) -> None:
    assert is_plain(key)


@pytest.mark.parametrize(
    "key", ["/", "/a", "a/", "a//b", ".", "..", "./a", "a/.", "a/../b", "a/./b", "a\nb", "a\x00", "\x7f", "a\uffff"]
)
def test_keys_obstore_would_change_or_refuse_do_not(key: str) -> None:
    assert not is_plain(key)


@pytest.mark.parametrize("key", ["a//b", "/a", "a\\b", "a/../b", "..", "./a", "a/."])
def test_keys_that_a_server_may_merge_are_known(key: str) -> None:
    assert may_be_merged(key)
    assert not may_be_merged("a/b...c/.d/e./f/")


async def test_every_key_is_sent_as_exactly_itself() -> None:
    """Sends many keys to a server that only listens, and reads the request line."""
    sent: list[str] = []

    @settings(max_examples=150, deadline=None)
    @given(keys)
    def collect(key: str) -> None:
        if not may_be_merged(key):
            sent.append(key)

    collect()
    async with liar(HELLO) as server, alt_at(server.endpoint) as alt:
        for key in sent:
            await head(alt, ObjectName("mail", key))
    seen = [unquote(request.split(" ")[1].removeprefix("/mail/")) for request in server.requests]
    assert seen == sent


@given(keys, st.booleans(), st.sampled_from(["", "p/", "p"]))
@settings(max_examples=200, deadline=None)
def test_a_key_comes_back_from_alt(key: str, hashed: bool, prefix: str) -> None:
    place = Place("b", prefix, hashed)
    assert place.client_key(place.key(key)) == key


def test_foreign_keys_are_nobodys() -> None:
    assert Place("b", "p/").client_key("q/a") is None
    assert Place("b", "p/").client_key("p/") is None
    assert Place("b", "p/", hashed=True).client_key("p/0000/a") is None


def test_the_hash_prefix_never_changes() -> None:
    assert [hash_prefix(key) for key in ("", "a", "u/1", "é")] == ["2d06/", "e6c6/", "bc2c/", "f794/"]


def test_buckets_lie_where_the_configuration_says() -> None:
    sections = [
        BucketSection(name="mail"),
        BucketSection(name="more", alt_bucket="big", alt_prefix="m/"),
        BucketSection(name="spread", alt_bucket="big", alt_prefix="s/", hash_prefix=True),
    ]
    buckets = BucketMap(sections, DynamicBucketsSection(enabled=True, alt_bucket="big"))
    assert buckets.locate(ObjectName("mail", "k")) == ("mail", "k")
    assert buckets.locate(ObjectName("more", "k")) == ("big", "m/k")
    assert buckets.locate(ObjectName("spread", "a")) == ("big", "s/e6c6/a")
    assert buckets.locate(ObjectName("made", "k")) == ("big", "buckets/made/k")


def test_an_unknown_bucket_does_not_exist() -> None:
    with pytest.raises(NoSuchBucket):
        BucketMap([BucketSection(name="mail")]).place("other")


@pytest.mark.parametrize(("first", "second"), [("", "p/"), ("p/", "p/"), ("p", "p/"), ("a/", "a/b/")])
def test_buckets_that_share_keys_are_refused(first: str, second: str) -> None:
    with pytest.raises(ConfigError):
        BucketMap([
            BucketSection(name="one", alt_bucket="b", alt_prefix=first),
            BucketSection(name="two", alt_bucket="b", alt_prefix=second),
        ])  # fmt: skip
