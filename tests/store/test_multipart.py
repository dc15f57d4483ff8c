"""Multipart uploads: durable parts, one object, nothing half done."""

from __future__ import annotations

import asyncio
import errno
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import QueueSection, WriteSection
from tierproxy.config.values import Duration
from tierproxy.disk.layout import DataDirectory
from tierproxy.errors import (
    AltUnavailable,
    BadBody,
    BlobMissing,
    InvalidPart,
    NoSuchBucket,
    NoSuchKey,
    NoSuchUpload,
    PreconditionFailed,
)
from tierproxy.model import Ack, ByteRange, Headers, ObjectName, OnAltDown, Part, State, Tier, Upload
from tierproxy.store.body import Md5Check
from tierproxy.store.calls import Precondition, Written
from tierproxy.store.multipart import multipart_etag
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.rig import Rig, name, pieces, rig

MIB = 2**20
FIRST, SECOND = b"1" * 600_000, b"2" * 1000
PATIENT = QueueSection(backoff=Duration(3600), max_backoff=Duration(3600))


async def begin(r: Rig, key: str = "u.1", ack: Ack | None = None) -> Upload:
    r.parts.store.multipart._min_part = 1000  # parts of 5 MiB would only make these tests slow
    return await r.parts.store.multipart.create(name(key), Headers(content_type="message/rfc822"), ack, None, None)


async def part(r: Rig, up: Upload, number: int, body: bytes) -> Part:
    return await r.parts.store.multipart.put_part(up, number, len(body), pieces(body, MIB), Md5Check(len(body)))


async def both(r: Rig, up: Upload) -> list[tuple[int, str]]:
    return [(number, (await part(r, up, number, body)).etag) for number, body in ((1, FIRST), (2, SECOND))]


@pytest.mark.parametrize("ack", list(Ack))
async def test_parts_become_one_object_on_both_tiers(tmp_path: Path, ack: Ack) -> None:
    alt = MemoryAlt()
    async with rig(tmp_path, alt=alt) as r:
        up = await begin(r, ack=ack)
        chosen = await both(r, up)
        written = await r.parts.store.multipart.complete(up, chosen)
        await r.drained()
        assert written.entry.etag == multipart_etag([etag for _, etag in chosen])
        assert written.entry.parts == (len(FIRST), len(SECOND))
        assert alt.content(name("u.1")) == FIRST + SECOND
        assert await r.get("u.1") == FIRST + SECOND
        await r.purge()
        assert await r.read("u.1") == (Tier.ALT, FIRST + SECOND)
        entry = await r.parts.store.head(name("u.1"))
        assert (entry.etag, entry.parts) == (written.entry.etag, written.entry.parts)
        with pytest.raises(NoSuchUpload):
            r.parts.store.multipart.find(up.id, up.name)


async def test_the_object_is_not_there_before_it_is_complete(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        up = await begin(r)
        await both(r, up)
        with pytest.raises(NoSuchKey):
            await r.get("u.1")


async def test_parts_survive_a_restart(tmp_path: Path) -> None:
    alt = MemoryAlt()
    async with rig(tmp_path, alt=alt) as r:
        up = await begin(r)
        chosen = await both(r, up)
    async with rig(tmp_path, alt=alt) as r:
        r.parts.store.multipart._min_part = 1000
        found = r.parts.store.multipart.find(up.id, up.name)
        assert [one.number for one in r.parts.store.multipart.parts(found)] == [1, 2]
        await r.parts.store.multipart.complete(found, chosen)
        assert await r.get("u.1") == FIRST + SECOND


async def test_a_part_sent_again_replaces_the_old_one(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        up = await begin(r)
        old = await part(r, up, 1, b"old")
        new = await part(r, up, 1, b"new part")
        with pytest.raises(InvalidPart):
            await r.parts.store.multipart.complete(up, [(1, old.etag)])
        await r.parts.store.multipart.complete(up, [(1, new.etag)])
        assert await r.get("u.1") == b"new part"


async def test_a_completion_that_is_refused_leaves_the_upload_as_it_was(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.put("u.1", b"there")
        up = await begin(r)
        small = await part(r, up, 1, b"small")
        last = await part(r, up, 2, b"last")
        multipart = r.parts.store.multipart
        for chosen, error in (
            ([(1, small.etag), (2, last.etag)], BadBody), ([(3, "0" * 32)], InvalidPart), ([(1, "0" * 32)], InvalidPart)
        ):  # fmt: skip
            with pytest.raises(error):
                await multipart.complete(up, chosen)
        with pytest.raises(PreconditionFailed):
            await multipart.complete(up, [(1, small.etag)], precondition=Precondition(create=True))
        assert await r.get("u.1") == b"there"
        assert len(multipart.parts(up)) == 2
        await r.check()
        await multipart.complete(up, [(1, small.etag)])
        assert await r.get("u.1") == b"small"


async def test_a_completion_asked_for_twice_at_once_happens_once(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        up = await begin(r)
        chosen = await both(r, up)
        calls = (r.parts.store.multipart.complete(up, chosen) for _ in range(3))
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(one, NoSuchUpload) for one in ended) == 2
        assert sum(isinstance(one, Written) for one in ended) == 1
        assert await r.get("u.1") == FIRST + SECOND


async def test_a_part_that_arrives_while_the_upload_is_completed_leaves_nothing(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    async with rig(tmp_path, alt=alt) as r:
        up = await begin(r)
        chosen = await both(r, up)
        gate = alt.gate("put")
        completing = asyncio.ensure_future(r.parts.store.multipart.complete(up, chosen))
        await gate.reached()
        late = asyncio.ensure_future(part(r, up, 3, b"too late"))
        await asyncio.wait([late], timeout=0.05)
        gate.open()
        await completing
        with pytest.raises(NoSuchUpload):
            await late
        assert await r.get("u.1") == FIRST + SECOND
        await r.check()


async def test_a_completion_and_an_abort_at_once_do_not_leave_half(tmp_path: Path) -> None:
    for first in (0, 1):
        async with rig(tmp_path / str(first)) as r:
            up = await begin(r)
            chosen = await both(r, up)
            multipart = r.parts.store.multipart
            calls = [multipart.complete(up, chosen), multipart.abort(up)]
            ended = await asyncio.gather(*(calls if not first else reversed(calls)), return_exceptions=True)
            failed = [one for one in ended if isinstance(one, BaseException)]
            assert all(isinstance(one, NoSuchUpload | BlobMissing) for one in failed), failed
            try:
                assert await r.get("u.1") == FIRST + SECOND
            except NoSuchKey:
                assert len(failed) == 1
            await r.check()


async def test_an_abort_while_a_part_arrives_leaves_nothing(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        up = await begin(r)

        async def body() -> AsyncIterator[bytes]:
            yield b"half"
            await r.parts.store.multipart.abort(up)
            yield b"half"

        with pytest.raises(NoSuchUpload):
            await r.parts.store.multipart.put_part(up, 1, 8, body(), Md5Check(8))
        assert (r.parts.space.used, r.parts.space.reserved) == (0, 0)


async def test_a_part_with_a_wrong_body_is_not_kept(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        up = await begin(r)
        with pytest.raises(BadBody):
            await r.parts.store.multipart.put_part(up, 1, 8, pieces(b"short", 2), Md5Check(8))
        assert r.parts.store.multipart.parts(up) == []


async def test_completion_while_alt_is_down_is_queued_or_changes_nothing(tmp_path: Path) -> None:
    for mode, ack in itertools.product(OnAltDown, (None, Ack.DISK)):
        alt = FaultyAlt(MemoryAlt())
        where = tmp_path / f"{mode}{ack}"
        async with rig(where, alt=alt, queue=PATIENT, write=WriteSection(on_alt_down=mode)) as r:
            up = await begin(r, ack=ack)
            chosen = await both(r, up)
            alt.down()
            if mode is OnAltDown.REFUSE and ack is None:
                with pytest.raises(AltUnavailable):
                    await r.parts.store.multipart.complete(up, chosen)
                assert len(r.parts.store.multipart.parts(up)) == 2
                alt.heal()
            await r.parts.store.multipart.complete(up, chosen)
            assert await r.get("u.1") == FIRST + SECOND
            alt.heal()
            await r.drained_now()
            assert r.row("u.1").state is State.CLEAN  # type: ignore[union-attr]


async def test_a_damaged_part_is_never_made_into_an_object(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        up = await begin(r)
        one = await part(r, up, 1, FIRST)
        path = next(path for path in DataDirectory(tmp_path).parts.iterdir() if path.name == one.file)
        content = bytearray(path.read_bytes())
        content[300_000] ^= 1
        path.write_bytes(content)
        with pytest.raises(Exception, match="not what was written"):
            await r.parts.store.multipart.complete(up, [(1, one.etag)])
        with pytest.raises(NoSuchKey):
            await r.get("u.1")
        await r.parts.store.multipart.abort(up)


async def test_a_part_can_be_a_range_of_an_object(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.put("source", FIRST)
        up = await begin(r)
        copied = await r.parts.store.multipart.copy_part(up, 1, name("source"), lambda _entry: ByteRange(10, 60))
        assert copied.size == 50
        await r.parts.store.multipart.complete(up, [(1, copied.etag)])
        assert await r.get("u.1") == FIRST[10:60]


async def test_abandoned_uploads_expire_and_others_do_not(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with rig(tmp_path, clock=clock, write=WriteSection(multipart_expiry=Duration(1e9))) as r:
        multipart = r.parts.store.multipart
        old = await begin(r, "old")
        await part(r, old, 1, b"part")
        await clock.advance(80)
        new = await begin(r, "new")
        assert await multipart.expire(clock.now() - 40) == 1
        assert [up.id for up in multipart.uploads("mail")] == [new.id]
        assert r.parts.space.used == 0


async def test_expiry_goes_on_when_a_client_was_quicker_or_the_catalogue_fails(tmp_path: Path) -> None:
    async with rig(tmp_path, clock=VirtualClock()) as r:
        multipart = r.parts.store.multipart
        for key in ("a", "b"):
            await begin(r, key)
        await asyncio.gather(*(multipart.expire(r.parts.clock.now() + 1) for _ in range(3)))
        assert multipart.uploads("mail") == []


async def test_uploads_need_a_bucket_and_their_own_object(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        with pytest.raises(NoSuchBucket):
            await r.parts.store.multipart.create(ObjectName("nobody", "u.1"), Headers(), None, None, None)
        up = await begin(r)
        with pytest.raises(NoSuchUpload):
            r.parts.store.multipart.find(up.id, name("another"))


async def test_the_disk_being_full_refuses_a_part_and_keeps_the_others(tmp_path: Path) -> None:
    from tierproxy.errors import OutOfSpace

    from .test_trouble_disk import FailingFiles

    files = FailingFiles()
    async with rig(tmp_path, files=files) as r:
        up = await begin(r)
        one = await part(r, up, 1, SECOND)
        for kind in ("create", "write_at", "fsync", "rename", "fsync_dir"):
            files.fail(errno.ENOSPC, kind)
            with pytest.raises(OutOfSpace):
                await part(r, up, 2, FIRST)
        files.code = 0
        assert [kept.number for kept in r.parts.store.multipart.parts(up)] == [1]
        await r.parts.store.multipart.complete(up, [(1, one.etag)])
        assert await r.get("u.1") == SECOND
