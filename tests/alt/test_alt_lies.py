"""What the alt tier makes of answers that contradict themselves or lack what they must have."""

from __future__ import annotations

import asyncio

import pytest

from tests.alt.liars import DATE, Behaviour, Liar, in_turn, liar, says
from tests.alt.test_alt_trouble import KEYS, NAME, ODD, alt_at, create, failures, get, put
from tierproxy.errors import AltCorrupt, AltError, AltPrecondition, AltUnavailable, AltUncertain
from tierproxy.model import ByteRange, ListRequest, ObjectName
from tierproxy.testing.lies import reset_now

HEAD_OF_A_LISTING = "<ListBucketResult><Name>mail</Name><IsTruncated>{more}</IsTruncated>{token}"
ITEM = (
    "<Contents><Key>{key}</Key><LastModified>2015-10-21T07:28:00Z</LastModified>"
    '<ETag>"5d41402abc4b2a76b9719d911017c592"</ETag><Size>5</Size></Contents>'
)


def listing(*keys: str, more: str = "false", token: str = "", item: str = ITEM) -> Behaviour:
    given = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    body = HEAD_OF_A_LISTING.format(more=more, token=given) + "".join(item.format(key=key) for key in keys)
    return says(200, headers=b"Content-Type: application/xml\r\n", body=f"{body}</ListBucketResult>".encode())


async def page(behave: Behaviour, after: str = "", prefix: str = "") -> list[str]:
    async with liar(behave) as server, alt_at(server.endpoint) as alt:
        found = await alt.page(ListRequest("mail", prefix=prefix, after=after))
        return [one.key for one in found.objects]


async def walk(behave: Behaviour) -> list[str]:
    async with liar(behave) as server, alt_at(server.endpoint) as alt, asyncio.timeout(60):
        return [found.name.key async for batch in alt.walk("mail") for found in batch]


async def test_a_listing_as_it_should_be() -> None:
    assert await page(listing("a", "b")) == ["a", "b"]
    assert await walk(in_turn(listing("a", "b", more="true", token="t1"), listing("c"))) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "answer",
    [b"", b"<html><body>Sign in</body></html>", b'<?xml version="1.0"?><ListAllMyBucketsResult/>'],
    ids=["empty", "a portal", "another document"],
)
async def test_what_is_no_listing_is_corrupt_and_not_an_empty_bucket(answer: bytes) -> None:
    for call in (page, walk):
        with pytest.raises(AltCorrupt):
            await call(says(200, headers=b"Content-Type: application/xml\r\n", body=answer))


async def test_keys_of_another_prefix_are_corrupt() -> None:
    with pytest.raises(AltCorrupt):
        await page(listing("other/1"), prefix="mine/")


async def test_items_without_an_etag_are_no_listing() -> None:
    bare = "<Contents><Key>{key}</Key><Size>5</Size></Contents>"
    for call in (page, walk):
        with pytest.raises(AltUnavailable):
            await call(listing("a", item=bare))


async def test_a_page_that_goes_back_is_corrupt() -> None:
    with pytest.raises(AltCorrupt):
        await page(listing("a", "b", more="true"), after="b")
    assert await page(listing("c", more="true"), after="b") == ["c"]


async def test_a_page_of_a_directory_at_a_time_is_none_that_goes_back() -> None:
    """SeaweedFS lists o/a/1 before o/a-b, which is less in bytes."""
    assert await page(listing("o/a-b", more="true"), after="o/a/1") == ["o/a-b"]


async def test_more_to_come_without_a_word_of_where_is_corrupt() -> None:
    with pytest.raises(AltCorrupt):
        await walk(listing("a", more="true"))
    with pytest.raises(AltCorrupt):
        await page(listing(more="true"))


async def test_a_walk_in_a_circle_ends() -> None:
    with pytest.raises(AltCorrupt):
        await walk(listing("a", more="true", token="again"))
    turns = [listing("a", more="true", token="1"), listing("b", more="true", token="2")]
    with pytest.raises(AltCorrupt):
        await walk(in_turn(*turns, listing("c", more="true", token="1")))


async def test_a_page_that_comes_again_under_another_token_ends_the_walk() -> None:
    with pytest.raises(AltCorrupt):
        await walk(in_turn(listing("a", more="true", token="1"), listing("a", more="true", token="2")))


@KEYS
async def test_a_put_that_is_confirmed_without_an_etag_is_uncertain(name: ObjectName) -> None:
    assert await failures(says(200, body=b""), name, (put, create), retries=0) == [AltUncertain] * 2


async def test_an_object_without_a_date_is_no_answer_to_boto3() -> None:
    """obstore makes one up."""
    assert await failures(says(200, headers=b'ETag: "x"\r\n', body=b"hello"), ODD, (get,)) == [AltUnavailable]


async def test_a_copy_that_is_confirmed_without_an_etag_is_uncertain() -> None:
    found = says(200, headers=b'ETag: "x"\r\n' + DATE, body=b"")
    made = says(200, headers=b"Content-Type: application/xml\r\n", body=b"<CopyObjectResult></CopyObjectResult>")
    async with liar(in_turn(found, made)) as server, alt_at(server.endpoint, retries=0) as alt:
        with pytest.raises(AltUncertain):
            await alt.copy(NAME, ObjectName("mail", "u/2"), None)


@KEYS
async def test_another_object_than_the_one_that_was_demanded_is_a_failed_condition(name: ObjectName) -> None:
    part = says(206, headers=b'Content-Range: bytes 0-4/100\r\nETag: "other"\r\n' + DATE, body=b"hello")
    async with liar(part) as server, alt_at(server.endpoint) as alt:
        with pytest.raises(AltPrecondition):
            await alt.get(name, ByteRange(0, 5), etag="mine")
        body = await alt.get(name, ByteRange(0, 5), etag="other")
        await body.close()


@KEYS
async def test_a_range_that_is_there_and_is_denied_is_corrupt(name: ObjectName) -> None:
    async def behave(one: Liar, head: bytes, writer: asyncio.StreamWriter) -> None:
        found = says(200, headers=b'ETag: "x"\r\n' + DATE, body=b"hello")
        denied = says(416, "InvalidRange")
        await (found if head.startswith(b"HEAD") else denied)(one, head, writer)

    async with liar(behave) as server, alt_at(server.endpoint) as alt:
        with pytest.raises(AltCorrupt):
            await alt.get(name, ByteRange(1, 2))
        with pytest.raises(AltError):
            await alt.get(ODD if name is NAME else NAME, ByteRange(1, 2))


@KEYS
async def test_a_reset_after_the_request_is_no_failed_connection(name: ObjectName) -> None:
    """Its error says "ConnectionReset", which begins as "Connect"."""

    async def behave(_one: Liar, _head: bytes, writer: asyncio.StreamWriter) -> None:
        reset_now(writer)

    assert await failures(behave, name, (put, create), retries=0) == [AltUncertain] * 2
