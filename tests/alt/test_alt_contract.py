"""The contract of the alt tier on the memory one, the faulty one without faults, and the real one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count

import boto3
import pytest

from tierproxy.alt.client import boto_session
from tierproxy.alt.limit import Counted, Limited
from tierproxy.alt.mapping import BucketMap
from tierproxy.alt.memory import MemoryAlt
from tierproxy.alt.s3 import S3Alt
from tierproxy.config.sections import BucketSection
from tierproxy.config.values import Size
from tierproxy.embedded import EmbeddedS3
from tierproxy.offload import ThreadPool
from tierproxy.testing.contracts.alt import PROMISES, Promise, Rig, name
from tierproxy.testing.faults import FaultyAlt

THRESHOLD = 6 * 2**20
PART = 5 * 2**20
prefixes: Iterator[int] = count()


HASHED = [promise for promise in PROMISES if name(promise) in {
    "what_is_put_is_got_byte_for_byte", "the_clients_etag_and_parts_come_back", "a_large_object_goes_in_parts",
    "a_stream_is_not_stored_over_another_object", "a_copy_is_not_made_over_another_object",
    "a_copy_keeps_or_replaces_headers", "a_delete_can_be_said_twice", "a_walk_meets_every_object_once",
}]  # fmt: skip


@pytest.fixture(scope="module")
def session(seaweed: EmbeddedS3) -> boto3.Session:
    """One for all: a session's first client reads megabytes of service models."""
    seaweed.make_bucket("contract")
    return boto_session(seaweed.section())


@asynccontextmanager
async def s3_rig(server: EmbeddedS3, session: boto3.Session, bucket: BucketSection) -> AsyncIterator[Rig]:
    pool = ThreadPool("alt-test", 4)
    section = server.section(multipart_threshold=Size(THRESHOLD), multipart_part_size=Size(PART))
    alt = Limited(Counted(S3Alt(section, BucketMap([bucket]), pool, session=session)), 8)
    try:
        yield Rig(alt, bucket.name, f"t{next(prefixes)}/", THRESHOLD, byte_order=False)
        assert alt.running == 0
    finally:
        await alt.close()
        await pool.close()


@pytest.mark.parametrize("promise", PROMISES, ids=name)
async def test_memory(promise: Promise) -> None:
    await promise(Rig(MemoryAlt(multipart_threshold=THRESHOLD, part_size=PART), "mail", "", THRESHOLD))


@pytest.mark.parametrize("promise", PROMISES, ids=name)
async def test_faulty_without_faults(promise: Promise) -> None:
    alt = FaultyAlt(MemoryAlt(multipart_threshold=THRESHOLD, part_size=PART))
    await promise(Rig(alt, "mail", "", THRESHOLD))


@pytest.mark.parametrize("promise", PROMISES, ids=name)
async def test_s3(promise: Promise, seaweed: EmbeddedS3, session: boto3.Session) -> None:
    section = BucketSection(name="mail", alt_bucket="contract", alt_prefix="mail/")
    async with s3_rig(seaweed, session, section) as rig:
        await promise(rig)


@pytest.mark.parametrize("promise", HASHED, ids=name)
async def test_s3_with_hash_prefix(promise: Promise, seaweed: EmbeddedS3, session: boto3.Session) -> None:
    section = BucketSection(name="mail", alt_bucket="contract", alt_prefix="hashed/", hash_prefix=True)
    async with s3_rig(seaweed, session, section) as rig:
        await promise(rig)
