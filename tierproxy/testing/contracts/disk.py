"""What every disk tier promises (``tierproxy.ports.DiskTier``).

Each promise is an ``async def`` that takes a ``Rig``; run every one of ``PROMISES`` on a fresh rig:

    @pytest.mark.parametrize("promise", PROMISES, ids=name)
    async def test_disk_contract(promise, tmp_path):
        async with my_rig(tmp_path) as rig:
            await promise(rig)
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import xxhash

from tierproxy.errors import BadBody, BlobCorrupt, BlobMissing, DiskError
from tierproxy.model import BlobFacts, BlobLabel, Headers, ObjectName, SealedBlob, Stub
from tierproxy.ports import DiskTier, OpenBlob, Staged

SIZES = (0, 1, 16_384, 65_537, 262_144, 262_145, 1_048_576, 1_048_577, 2_500_000)


@dataclass(frozen=True, slots=True)
class Rig:
    """A tier without blobs, and a way to damage it: ``damage(blob, offset)`` flips one bit of the blob's file at
    ``offset`` (negative: from the end); ``lose(blob)`` removes the file."""

    disk: DiskTier
    damage: Callable[[str, int], None]
    lose: Callable[[str], None]


class Md5Check:
    """The smallest ``tierproxy.ports.BodyCheck``: the ETag, and a length."""

    def __init__(self, size: int | None = None) -> None:
        self._size = size
        self._md5 = hashlib.md5(usedforsecurity=False)

    def update(self, data: bytes | bytearray | memoryview) -> None:
        self._md5.update(data)

    def verify(self, size: int) -> None:
        if self._size is not None and size != self._size:
            raise BadBody(f"{size} bytes came, {self._size} were declared", code="IncompleteBody")

    def etag(self) -> str:
        return self._md5.hexdigest()

    def checksums(self) -> dict[str, str]:
        return {}


LABEL = BlobLabel(
    name=ObjectName("mail", "u/ä\u2028/1"),
    generation=7,
    etag="0123456789abcdef0123456789abcdef-2",
    headers=Headers(
        content_type="message/rfc822",
        metadata={"flag": "seen", "from": "ö@example.org"},
        checksums={"crc32": "AAAAAA=="},
        checksum_type="FULL_OBJECT",
    ),
    written_at=1_700_000_000.25,
    parts=(5_242_880, 17),
)


def body_of(size: int) -> bytes:
    """``size`` bytes that look like nothing else and are the same every time."""
    return hashlib.shake_128(b"%d" % size).digest(size)


async def put(disk: DiskTier, body: bytes, label: BlobLabel = LABEL, *, piece: int = 100_000) -> SealedBlob:
    """Stage, keep, close."""
    staged = disk.stage()
    try:
        await write(staged, body, piece)
        keeping = staged.keep(label)
        await keeping.wait()
    finally:
        await staged.close()
    return keeping.sealed


async def write(staged: Staged, body: bytes, piece: int = 100_000) -> None:
    for start in range(0, len(body), piece):
        await staged.write(memoryview(body)[start : start + piece])
    await staged.finish()


async def reopen(disk: DiskTier, sealed: SealedBlob, label: BlobLabel = LABEL) -> OpenBlob:
    return await disk.open(sealed.name, size=sealed.size, generation=label.generation, xxh3=sealed.xxh3)


async def read_back(disk: DiskTier, sealed: SealedBlob, label: BlobLabel = LABEL) -> bytes:
    blob = await reopen(disk, sealed, label)
    try:
        return await blob.read(0, blob.size)
    finally:
        await blob.close()


async def names(disk: DiskTier) -> set[str]:
    return {name async for batch in disk.scan() for name in batch}


async def raised(awaitable: Awaitable[object], kind: type[BaseException]) -> BaseException:
    try:
        await awaitable
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


# ---------------------------------------------------------------- promises


async def a_published_blob_reads_back_with_its_label(rig: Rig) -> None:
    for size in SIZES:
        body = body_of(size)
        sealed = await put(rig.disk, body)
        assert (sealed.size, sealed.xxh3) == (size, xxhash.xxh3_128_digest(body))
        assert sealed.footprint >= size
        blob = await reopen(rig.disk, sealed)
        assert (blob.label, blob.size, blob.xxh3) == (LABEL, size, sealed.xxh3)
        assert await blob.read(0, size + 1) == body
        assert blob.content in (None, body)
        await blob.close()
        await blob.close()


async def every_range_of_a_blob_is_exact(rig: Rig) -> None:
    body = body_of(700_000)
    blob = await reopen(rig.disk, await put(rig.disk, body))
    for start in (0, 1, 262_143, 262_144, 300_000, 524_288, 699_999, 700_000, 800_000):
        for length in (0, 1, 262_144, 262_145, 700_000):
            assert await blob.read(start, length) == body[start : start + length]
    await blob.close()


async def what_blobs_occupy_is_said_without_reading_them(rig: Rig) -> None:
    sealed = [await put(rig.disk, body_of(size)) for size in SIZES]
    rig.damage(sealed[-1].name, 0)
    rig.lose(sealed[0].name)
    found = await rig.disk.footprints([one.name for one in sealed])
    assert found == [None, *(one.footprint for one in sealed[1:])]


async def small_blobs_come_with_their_content(rig: Rig) -> None:
    blob = await reopen(rig.disk, await put(rig.disk, b"hello"))
    assert blob.content == b"hello"
    await blob.close()


async def a_staged_body_can_be_read_while_it_grows(rig: Rig) -> None:
    body = body_of(2_500_000)
    staged = rig.disk.stage()
    for start in range(0, len(body), 300_000):
        await staged.write(body[start : start + 300_000])
        size = staged.size
        assert size == min(start + 300_000, len(body))
        assert await staged.read(0, size) == body[:size]
        assert await staged.read(max(0, size - 1_400_000), 1_400_001) == body[max(0, size - 1_400_000) : size]
        assert await staged.read(size, 10) == b""
    await staged.close()


async def a_staged_body_can_be_read_until_it_is_closed(rig: Rig) -> None:
    for size in (10, 2_000_000):
        body = body_of(size)
        kept, dropped = rig.disk.stage(), rig.disk.stage()
        await write(kept, body)
        await kept.seal(LABEL)
        await kept.publish()
        await write(dropped, body)
        await dropped.discard()
        for staged in (kept, dropped):
            assert await staged.read(size // 2, size) == body[size // 2 :]
            await staged.close()


async def the_check_sees_the_whole_body_before_the_seal(rig: Rig) -> None:
    for size in (0, 100, 100_000, 1_500_000):
        check = Md5Check(size)
        staged = rig.disk.stage(check)
        await write(staged, body_of(size), piece=33_333)
        await staged.finish()
        check.verify(staged.size)
        assert check.etag() == hashlib.md5(body_of(size), usedforsecurity=False).hexdigest()
        await staged.close()


async def only_published_blobs_are_found_by_a_scan(rig: Rig) -> None:
    published = {(await put(rig.disk, body_of(size))).name for size in (0, 5, 300_000)}
    sealed, growing = rig.disk.stage(), rig.disk.stage()
    await sealed.write(b"x")
    await sealed.seal(LABEL)
    await growing.write(body_of(1_500_000))
    assert await names(rig.disk) == published
    await sealed.close()
    await growing.close()
    assert await names(rig.disk) == published
    assert await rig.disk.clear_staging() == 0


async def discard_and_close_can_be_repeated(rig: Rig) -> None:
    for size in (10, 1_500_000):
        staged = rig.disk.stage()
        await staged.write(body_of(size))
        await staged.discard()
        await staged.discard()
        await raised(staged.seal(LABEL), DiskError)
        await staged.close()
        await staged.close()
        await staged.discard()
    assert await names(rig.disk) == set()


async def names_are_never_used_twice(rig: Rig) -> None:
    first = {(await put(rig.disk, b"")).name for _ in range(20)}
    await rig.disk.remove(list(first))
    assert len(first | {(await put(rig.disk, b"")).name for _ in range(20)}) == 40


async def a_removed_blob_is_missing_and_removing_it_again_is_fine(rig: Rig) -> None:
    sealed, other = await put(rig.disk, b"one"), await put(rig.disk, b"two")
    await rig.disk.remove([sealed.name])
    await raised(reopen(rig.disk, sealed), BlobMissing)
    await raised(rig.disk.verify(sealed.name), BlobMissing)
    await rig.disk.remove([sealed.name, "no such name"])
    await rig.disk.remove([])
    assert await read_back(rig.disk, other) == b"two"


async def an_open_blob_outlives_its_removal(rig: Rig) -> None:
    for size in (100, 600_000):
        sealed = await put(rig.disk, body_of(size))
        blob = await reopen(rig.disk, sealed)
        await rig.disk.remove([sealed.name])
        assert await blob.read(0, size) == body_of(size)
        await blob.close()


async def a_blob_that_is_not_the_expected_one_is_corrupt(rig: Rig) -> None:
    for size in (100, 600_000):
        sealed = await put(rig.disk, body_of(size))
        for wrong in (
            {"size": size + 1, "generation": 7, "xxh3": sealed.xxh3},
            {"size": size, "generation": 8, "xxh3": sealed.xxh3},
            {"size": size, "generation": 7, "xxh3": bytes(16)},
        ):
            await raised(rig.disk.open(sealed.name, **wrong), BlobCorrupt)
        blob = await rig.disk.open(sealed.name, size=size, generation=7, xxh3=None)
        await blob.close()


async def a_damaged_blob_is_never_read(rig: Rig) -> None:
    for size in (100, 600_000):
        for offset in (0, size // 2, size - 1, -1, -5, -200):
            sealed = await put(rig.disk, body_of(size))
            rig.damage(sealed.name, offset)
            await raised(read_back(rig.disk, sealed), BlobCorrupt)
            await raised(rig.disk.verify(sealed.name), BlobCorrupt)


async def a_damaged_block_spoils_no_other(rig: Rig) -> None:
    body = body_of(1_000_000)
    sealed = await put(rig.disk, body)
    rig.damage(sealed.name, 300_000)
    blob = await reopen(rig.disk, sealed)
    assert await blob.read(0, 262_144) == body[:262_144]
    assert await blob.read(524_288, 400_000) == body[524_288:924_288]
    await raised(blob.read(262_000, 1000), BlobCorrupt)
    await blob.close()


async def verify_tells_what_a_blob_says_of_itself(rig: Rig) -> None:
    for size in SIZES:
        sealed = await put(rig.disk, body_of(size))
        assert await rig.disk.verify(sealed.name) == (LABEL, sealed)


async def a_lost_file_is_missing(rig: Rig) -> None:
    sealed = await put(rig.disk, b"x")
    rig.lose(sealed.name)
    await raised(reopen(rig.disk, sealed), BlobMissing)
    await raised(rig.disk.quarantine(sealed.name), BlobMissing)


async def a_quarantined_blob_is_no_blob_any_more(rig: Rig) -> None:
    sealed = await put(rig.disk, b"x")
    await rig.disk.quarantine(sealed.name)
    await raised(reopen(rig.disk, sealed), BlobMissing)
    assert await names(rig.disk) == set()


async def ends_of_blobs_are_exact_and_verified(rig: Rig) -> None:
    sealed = [await put(rig.disk, body_of(size)) for size in SIZES]
    facts = [BlobFacts(one.name, one.size, LABEL.generation, one.xxh3) for one in sealed]
    for head, tail in ((64, 64), (8192, 1024), (300_000, 300_000)):
        for one, stub in zip(sealed, await rig.disk.ends(facts, head, tail), strict=True):
            body = body_of(one.size)
            all_of_it = one.size <= head + tail
            assert stub == Stub(one.size, body if all_of_it else body[:head], b"" if all_of_it else body[-tail:])
    assert await rig.disk.ends([], 1, 1) == []
    rig.lose(sealed[0].name)
    rig.damage(sealed[3].name, 10)
    rig.damage(sealed[8].name, 2_000_000)  # no block of its ends
    facts[1] = facts[1]._replace(generation=LABEL.generation + 1)
    found = await rig.disk.ends(facts, 8192, 1024)
    assert [number for number, stub in enumerate(found) if stub is None] == [0, 1, 3]
    rig.damage(sealed[8].name, 2_500_000 - 10)
    assert await rig.disk.ends(facts[8:], 8192, 1024) == [None]


async def parts_are_kept_apart_from_blobs(rig: Rig) -> None:
    for size in (10, 1_500_000):
        body, check = body_of(size), Md5Check()
        staged = rig.disk.stage(check)
        await write(staged, body)
        file = await rig.disk.keep_part(staged)
        await staged.close()
        assert await rig.disk.scan_parts() == [file]
        assert await names(rig.disk) == set()
        part = await rig.disk.open_part(file, size, check.etag())
        assert await part.read(0, size) == body
        await part.close()
        await raised(rig.disk.open_part(file, size + 1, check.etag()), BlobCorrupt)
        await rig.disk.remove_parts([file, file])
        assert await rig.disk.scan_parts() == []
        await raised(rig.disk.open_part(file, size, check.etag()), BlobMissing)


async def many_write_at_once(rig: Rig) -> None:
    labels = [replace(LABEL, generation=number) for number in range(40)]
    sealed = await asyncio.gather(*(put(rig.disk, body_of(n * 1000), label) for n, label in enumerate(labels)))
    assert await names(rig.disk) == {blob.name for blob in sealed}
    bodies = await asyncio.gather(*map(read_back, [rig.disk] * 40, sealed, labels))
    assert bodies == [body_of(n * 1000) for n in range(40)]


async def a_blob_is_the_same_whichever_way_it_is_made(rig: Rig) -> None:
    for size in SIZES:
        staged, kept = rig.disk.stage(), await put(rig.disk, body_of(size))
        await write(staged, body_of(size))
        sealed = await staged.seal(LABEL)
        await staged.publish()
        await staged.close()
        assert replace(kept, name=sealed.name) == sealed
        assert await rig.disk.verify(kept.name) == (LABEL, kept)
        assert await rig.disk.verify(sealed.name) == (LABEL, sealed)


async def whoever_waits_for_a_blob_is_told_once(rig: Rig) -> None:
    staged = rig.disk.stage()
    await write(staged, b"x")
    keeping = staged.keep(LABEL)
    told: list[BaseException | None] = []
    if not keeping.then(told.append):
        told.append(keeping.failure)
    await keeping.wait()
    assert told == [None]
    assert not keeping.then(told.append), "known already"
    assert told == [None]
    await staged.close()
    assert await read_back(rig.disk, keeping.sealed) == b"x"


async def free_space_is_told(rig: Rig) -> None:
    free = rig.disk.free()
    assert 0 <= free.free_bytes <= free.total_bytes


Promise = Callable[[Rig], Awaitable[None]]

PROMISES: tuple[Promise, ...] = (
    a_published_blob_reads_back_with_its_label,
    every_range_of_a_blob_is_exact,
    what_blobs_occupy_is_said_without_reading_them,
    small_blobs_come_with_their_content,
    a_staged_body_can_be_read_while_it_grows,
    a_staged_body_can_be_read_until_it_is_closed,
    the_check_sees_the_whole_body_before_the_seal,
    only_published_blobs_are_found_by_a_scan,
    discard_and_close_can_be_repeated,
    names_are_never_used_twice,
    a_removed_blob_is_missing_and_removing_it_again_is_fine,
    an_open_blob_outlives_its_removal,
    a_blob_that_is_not_the_expected_one_is_corrupt,
    a_damaged_blob_is_never_read,
    a_damaged_block_spoils_no_other,
    verify_tells_what_a_blob_says_of_itself,
    a_lost_file_is_missing,
    a_quarantined_blob_is_no_blob_any_more,
    ends_of_blobs_are_exact_and_verified,
    parts_are_kept_apart_from_blobs,
    many_write_at_once,
    a_blob_is_the_same_whichever_way_it_is_made,
    whoever_waits_for_a_blob_is_told_once,
    free_space_is_told,
)
