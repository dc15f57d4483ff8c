"""What a copy of a known source costs, and what protects it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.alt.liars import Behaviour, in_turn, liar, says
from tests.alt.test_alt_trouble import NAME, alt_at
from tests.alt.test_review_alt import COPIED, OTHER
from tests.mail.samples import KEY, sdbox
from tierproxy.alt.mapping import BucketMap
from tierproxy.alt.s3 import S3Alt
from tierproxy.config.sections import BucketSection
from tierproxy.config.values import Duration
from tierproxy.embedded import EmbeddedS3
from tierproxy.errors import AltCorrupt, AltMissing, AltUncertain
from tierproxy.model import AltObject, Headers
from tierproxy.offload import ThreadPool
from tierproxy.testing.faults import BytesSource
from tierproxy.testing.rig import BUCKET, Rig, name, rig
from tierproxy.testing.s3relay import S3Relay, counted

KNOWN = AltObject(NAME, 5, "0" * 32, 0.0, Headers())
BOB = "bob/mailboxes/Sent/dbox-Mails/u.12"
LARGE = bytes(range(251)) * 50_000


@pytest.fixture(scope="module")
def relay(seaweed: EmbeddedS3) -> Iterator[S3Relay]:
    there = urlsplit(seaweed.endpoint)
    with S3Relay(there.hostname or "", there.port or 0) as one:
        yield one


@asynccontextmanager
async def node(
    tmp_path: Path, seaweed: EmbeddedS3, relay: S3Relay, place: str, **options: object
) -> AsyncIterator[Rig]:
    """A whole store over SeaweedFS, with somebody who counts in between."""
    pool, bucket = ThreadPool("alt-test", 4), BucketSection(name=BUCKET, alt_bucket=place, **options)  # type: ignore[arg-type]
    endpoint = replace(seaweed.section(), endpoint=f"http://127.0.0.1:{relay.port}")
    alt = S3Alt(endpoint, BucketMap([bucket]), pool)
    try:
        async with rig(tmp_path, alt=alt, bucket=(bucket,)) as r:
            yield r
    finally:
        await alt.close()
        await pool.close()


@pytest.mark.parametrize("described", [True, False])
async def test_a_copy_and_a_move_cost_what_the_contract_says(
    tmp_path: Path, seaweed: EmbeddedS3, relay: S3Relay, new_bucket: Callable[[], str], described: bool
) -> None:
    async with node(tmp_path, seaweed, relay, new_bucket(), mail_metadata=described) as r:
        await r.put(KEY, sdbox(), headers=Headers(metadata={"mtime": "7"}))
        await r.put("large", LARGE)
        await r.drained()
        relay.take()
        await r.parts.store.copy(name(KEY), name(BOB))
        assert counted(relay.take()) == {"COPY": 1}
        await r.parts.store.copy(name(BOB), name(KEY + "0"))  # a copy of a copy
        await r.parts.store.delete(name(BOB))
        await r.drained()
        assert counted(relay.take()) == {"COPY": 1, "DELETE": 1}
        await r.purge()
        await r.parts.store.copy(name("large"), name("larger"))
        await r.parts.store.copy(name("large"), name("large"), headers=Headers(content_type="text/new"))
        assert counted(relay.take()) == {"COPY": 2}
        for key, body in ((KEY + "0", sdbox()), ("larger", LARGE), ("large", LARGE)):
            await r.purge()
            found = await r.parts.alt.head(name(key))
            entry = await r.parts.store.head(name(key))
            assert found.headers is not None
            assert entry.headers is not None
            assert (found.client_etag or found.etag, found.headers.metadata) == (entry.etag, entry.headers.metadata)
            assert await r.get(key) == body


async def test_a_shared_bucket_looks_at_the_source(
    tmp_path: Path, seaweed: EmbeddedS3, relay: S3Relay, new_bucket: Callable[[], str]
) -> None:
    async with node(tmp_path, seaweed, relay, new_bucket(), exclusive=False, revalidate=Duration(3600)) as r:
        await r.put("one", b"a mail")
        await r.purge()
        assert await r.get("one") == b"a mail"
        await r.parts.alt.put(name("one"), BytesSource(b"a mail"), Headers(metadata={"of": "somebody"}), md5="")
        relay.take()
        await r.parts.store.copy(name("one"), name("two"))
        assert counted(relay.take()) == {"HEAD": 1, "COPY": 1}
        found = await r.parts.alt.head(name("two"))
        assert found.headers is not None
        assert found.headers.metadata == {"of": "somebody"}


# ------------------------------------------------------------ servers that do not keep to the condition


def answered(put: Behaviour, head: Behaviour) -> Behaviour:
    async def behave(one: object, request: bytes, writer: object) -> None:
        await (put if request.startswith(b"PUT") else head)(one, request, writer)  # type: ignore[arg-type]

    return behave


def made(etag: bytes) -> Behaviour:
    return says(200, body=COPIED.replace(b"0123", etag))


LOOKED = says(200, headers=b'ETag: "%s"\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n' % (b"1" * 32))


async def test_a_copy_of_another_content_is_found_out() -> None:
    async with liar(answered(made(b"1" * 32), LOOKED)) as server, alt_at(server.endpoint) as alt:
        with pytest.raises(AltCorrupt):
            await alt.copy(NAME, OTHER, Headers(), match=KNOWN.etag, known=KNOWN)


async def test_an_etag_that_is_no_md5_says_nothing() -> None:
    async with liar(answered(made(b"1" * 32 + b"-2"), LOOKED)) as server, alt_at(server.endpoint) as alt:
        assert await alt.copy(NAME, OTHER, Headers(), known=KNOWN) == "1" * 32 + "-2"
        multipart = replace(KNOWN, etag="0" * 32 + "-3")
        assert await alt.copy(NAME, OTHER, Headers(), known=multipart) == "1" * 32 + "-2"
        assert [request.split()[0] for request in server.requests] == ["PUT", "PUT"]


async def test_an_encrypted_source_says_nothing() -> None:
    secret = says(200, headers=b'ETag: "x"\r\nx-amz-server-side-encryption: aws:kms\r\n')
    async with liar(answered(made(b"1" * 32), secret)) as server, alt_at(server.endpoint) as alt:
        assert await alt.copy(NAME, OTHER, Headers(), known=KNOWN) == "1" * 32


async def test_a_copy_that_cannot_be_compared_is_uncertain() -> None:
    async with liar(answered(made(b"1" * 32), says(403, "AccessDenied"))) as server, alt_at(server.endpoint) as alt:
        with pytest.raises(AltUncertain):
            await alt.copy(NAME, OTHER, Headers(), known=KNOWN)


async def test_a_servers_own_word_for_a_source_that_is_not_there_is_understood() -> None:
    refused = in_turn(says(400, "InvalidCopySource"))
    async with liar(answered(refused, says(404, "NoSuchKey"))) as server, alt_at(server.endpoint) as alt:
        with pytest.raises(AltMissing):
            await alt.copy(NAME, OTHER, Headers(), known=KNOWN)
