"""The rows "disk ..." and "blob ..." of the table of outcomes under trouble, cell by cell."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import MemorySection, QueueSection
from tierproxy.config.values import Duration, Size
from tierproxy.disk.fsio import Files
from tierproxy.disk.layout import DataDirectory
from tierproxy.errors import BadBody, DiskUnavailable, NoSuchKey, OutOfSpace, Unreadable
from tierproxy.model import Ack, ByteRange, JobKind, State, Tier
from tierproxy.offload import ThreadPool
from tierproxy.store.body import Md5Check
from tierproxy.store.calls import Write
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.rig import Rig, name, pieces, rig

PATIENT = QueueSection(backoff=Duration(3600), max_backoff=Duration(3600))
NO_MEMORY = MemorySection(max_bytes=Size(0))
MIB = 2**20
LARGE = bytes(range(251)) * (3 * MIB // 251)
HUGE = LARGE * 4  # too large to be received whole in memory
CODES = pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=["full", "failing"])


class FailingFiles(Files):
    """Every call of ``kinds`` from the ``nth`` on fails while ``code`` is set."""

    def __init__(self) -> None:
        self.code = 0
        self.kinds = {"mkdir", "create", "write_at", "fsync", "rename"}
        self.nth = 1
        self.calls: Counter[str] = Counter()

    def fail(self, code: int, *kinds: str, nth: int = 1) -> None:
        self.code, self.kinds, self.nth = code, set(kinds) or self.kinds, nth
        self.calls.clear()

    def call(self, kind: str, function: Callable[..., Any], *args: Any) -> Any:
        if self.code and kind in self.kinds:
            self.calls[""] += 1
            if self.calls[""] >= self.nth:
                raise OSError(self.code, os.strerror(self.code))
        return super().call(kind, function, *args)


@asynccontextmanager
async def failing(root: Path, **sections: Any) -> AsyncIterator[tuple[Rig, FaultyAlt, FailingFiles]]:
    alt, files = FaultyAlt(MemoryAlt()), FailingFiles()
    async with rig(root, alt=alt, files=files, **{"queue": PATIENT, "memory": NO_MEMORY, **sections}) as r:
        yield r, alt, files
        files.code = 0
        await r.check()


def in_alt(alt: FaultyAlt, key: str) -> bytes | None:
    assert isinstance(alt.alt, MemoryAlt)
    return alt.alt.content(name(key))


def blob_of(r: Rig, key: str) -> Path:
    row = r.row(key)
    assert row is not None
    assert row.blob is not None
    return DataDirectory(r.root).blob(row.blob)


def flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "truncated": lambda path: os.truncate(path, path.stat().st_size - 1),
    "bit-flipped": lambda path: flip(path, 3),
    "zeroed": lambda path: path.write_bytes(bytes(path.stat().st_size)),
}
DAMAGES = pytest.mark.parametrize("damage", DAMAGE)
BODIES = pytest.mark.parametrize("body", [b"a mail" * 10, LARGE], ids=["small", "large"])


# ---------------------------------------------------------------- disk full, disk failing: writes


@CODES
@pytest.mark.parametrize("kind", ["create", "write_at", "fsync", "rename", "fsync_dir"])
@pytest.mark.parametrize("body", [b"", b"a mail", LARGE, HUGE], ids=["empty", "small", "large", "huge"])
async def test_a_write_goes_to_alt_alone_when_the_disk_cannot_take_it(
    tmp_path: Path, body: bytes, kind: str, code: int
) -> None:
    async with failing(tmp_path) as (r, alt, files):
        await r.put("u.1", b"old")
        files.fail(code, kind)
        written = await r.put("u.1", body)
        assert written.entry.tiers == ("alt",)
        files.code = 0
        assert in_alt(alt, "u.1") == body
        assert await r.read("u.1") == (Tier.ALT, body)
        assert written.entry.etag == _md5(body)


@pytest.mark.parametrize("nth", [1, 2, 3, 5, 12])
@pytest.mark.parametrize("piece", [1000, MIB, MIB + 1, 3 * MIB, 64 * MIB])
@pytest.mark.parametrize("body", [LARGE, HUGE], ids=["large", "huge"])
async def test_a_disk_that_fails_in_the_middle_of_a_body_costs_no_byte_of_it(
    tmp_path: Path, body: bytes, piece: int, nth: int
) -> None:
    if piece == 1000 and nth > 2:
        return
    async with failing(tmp_path) as (r, alt, files):
        files.fail(errno.EIO, "write_at", nth=nth)
        written = await r.put("u.1", body, piece=piece)
        assert in_alt(alt, "u.1") == body
        assert written.entry.etag == _md5(body)


async def test_a_wrong_body_is_noticed_although_the_disk_failed_in_the_middle_of_it(tmp_path: Path) -> None:
    async with failing(tmp_path) as (r, alt, files):
        for body in (LARGE, HUGE):
            files.fail(errno.EIO, "write_at", nth=2)
            call = Write(name("u.1"), _headers(), len(body), pieces(body[:-1], MIB), Md5Check(len(body)))
            with pytest.raises(BadBody):
                await r.parts.store.write(call)
            assert in_alt(alt, "u.1") is None
            assert r.row("u.1") is None


@CODES
@pytest.mark.parametrize("body", [b"a mail", LARGE], ids=["small", "large"])
async def test_ack_disk_is_refused_when_the_disk_cannot_take_it(tmp_path: Path, body: bytes, code: int) -> None:
    async with failing(tmp_path) as (r, alt, files):
        await r.put("u.1", b"old")
        files.fail(code)
        with pytest.raises(OutOfSpace if code == errno.ENOSPC else DiskUnavailable):
            await r.put("u.1", body, ack=Ack.DISK)
        assert await r.get("u.1") == b"old"
        assert in_alt(alt, "u.1") == b"old"


async def test_with_neither_disk_nor_alt_nothing_is_acknowledged_and_nothing_changed(tmp_path: Path) -> None:
    async with failing(tmp_path) as (r, alt, files):
        await r.put("u.1", b"old")
        files.fail(errno.ENOSPC)
        alt.down()
        from tierproxy.errors import AltUnavailable

        for body in (b"new", LARGE):
            with pytest.raises(AltUnavailable):
                await r.put("u.1", body)
        assert await r.get("u.1") == b"old"
        row = r.row("u.1")
        assert row is not None
        assert row.state is State.CLEAN


@CODES
async def test_deletes_lists_and_heads_work_with_a_disk_that_cannot_write_blobs(tmp_path: Path, code: int) -> None:
    async with failing(tmp_path) as (r, alt, files):
        await r.put("u.1", b"a mail")
        await r.put("u.2", b"a mail")
        await r.idle()
        files.fail(code)
        await r.delete("u.1")
        assert in_alt(alt, "u.1") is None
        assert (await r.parts.store.head(name("u.2"))).size == 6
        with pytest.raises(NoSuchKey):
            await r.get("u.1")


# ---------------------------------------------------------------- disk full, disk failing: reads


@CODES
@BODIES
@pytest.mark.parametrize("kind", ["create", "write_at", "fsync", "rename"])
async def test_a_miss_is_passed_when_the_disk_cannot_take_a_copy(
    tmp_path: Path, body: bytes, kind: str, code: int
) -> None:
    async with failing(tmp_path) as (r, _alt, files):
        await r.put("u.1", body)
        await r.purge()
        files.fail(code, kind)
        for _ in range(2):
            assert await r.read("u.1") == (Tier.ALT, body)
            await r.idle()
        row = r.row("u.1")
        assert row is not None
        assert row.blob is None
        assert not r.parts.space.used


@pytest.mark.parametrize("nth", [1, 2, 3])
async def test_a_disk_that_fails_in_the_middle_of_a_fill_costs_the_reader_nothing(tmp_path: Path, nth: int) -> None:
    async with failing(tmp_path) as (r, _alt, files):
        await r.put("u.1", LARGE)
        await r.purge()
        files.fail(errno.EIO, "write_at", nth=nth)
        assert await r.get("u.1") == LARGE


@BODIES
async def test_a_copy_that_cannot_be_read_is_served_from_alt(tmp_path: Path, body: bytes) -> None:
    async with failing(tmp_path) as (r, _alt, _files):
        await r.put("u.1", body)
        r.parts.disk.open = _failing_open  # type: ignore[method-assign]
        try:
            assert await r.read("u.1") == (Tier.ALT, body)
        finally:
            del r.parts.disk.open


async def _failing_open(*_args: object, **_kwargs: object) -> Any:
    raise DiskUnavailable("EIO")


async def test_the_only_copy_that_cannot_be_read_is_an_error_and_not_not_there(tmp_path: Path) -> None:
    async with failing(tmp_path) as (r, alt, _files):
        alt.down()
        await r.put("u.1", b"a mail")
        r.parts.disk.open = _failing_open  # type: ignore[method-assign]
        try:
            with pytest.raises(DiskUnavailable):
                await r.get("u.1")
        finally:
            del r.parts.disk.open


# ---------------------------------------------------------------- damage


@DAMAGES
@BODIES
async def test_a_damaged_clean_blob_is_repaired_in_the_same_request(tmp_path: Path, body: bytes, damage: str) -> None:
    async with failing(tmp_path) as (r, _alt, _files):
        await r.put("u.1", body)
        DAMAGE[damage](blob_of(r, "u.1"))
        assert await r.get("u.1") == body
        await r.idle()
        assert not r.parts.alarms.active()
        await r.get("u.1")
        await r.idle()
        assert await r.read("u.1") == (Tier.DISK, body), "there is a copy on disk again"
        assert r.parts.counters.repairs == 1


@pytest.mark.parametrize("offset", [0, 300_000, len(LARGE) - 1])
@pytest.mark.parametrize("part", [None, ByteRange(1000, len(LARGE) - 500), ByteRange(290_000, 310_000)], ids=str)
async def test_a_block_damaged_in_the_middle_of_a_large_body_is_replaced_by_alts_bytes(
    tmp_path: Path, offset: int, part: ByteRange | None
) -> None:
    async with failing(tmp_path) as (r, _alt, _files):
        await r.put("u.1", LARGE)
        flip(blob_of(r, "u.1"), offset)
        wanted = LARGE if part is None else LARGE[part.start : part.stop]
        assert await r.get("u.1", lambda _entry: part) == wanted
        assert await r.get("u.1") == LARGE


async def test_a_blob_damaged_while_it_is_read_is_replaced_by_alts_bytes(tmp_path: Path) -> None:
    async with failing(tmp_path) as (r, _alt, _files):
        await r.put("u.1", LARGE)
        reading = await r.parts.store.open(name("u.1"))
        assert reading.tier is Tier.DISK
        flip(blob_of(r, "u.1"), len(LARGE) - 10)
        assert b"".join([chunk async for chunk in reading.chunks()]) == LARGE
        await reading.close()
        row = r.row("u.1")
        assert row is not None
        assert row.blob is None


@DAMAGES
@BODIES
async def test_a_damaged_dirty_blob_is_an_alarm_and_never_wrong_bytes(tmp_path: Path, body: bytes, damage: str) -> None:
    alt = FaultyAlt(MemoryAlt())
    alt.calls.clear()
    async with rig(tmp_path, alt=alt, queue=PATIENT, memory=NO_MEMORY, check=False) as r:
        alt.down()
        await r.put("u.1", body)
        while not next(iter(r.parts.catalogue.jobs())).attempts:  # a try under way has the file open
            await asyncio.sleep(0)
        DAMAGE[damage](blob_of(r, "u.1"))
        with pytest.raises(Unreadable):
            await r.get("u.1")
        assert ("only copy damaged", str(name("u.1"))) in r.parts.alarms.active()
        row = r.row("u.1")
        assert row is not None
        assert row.state is State.DIRTY, "an operator may still save it"
        alt.heal()
        await r.parts.catalogue.hurry(None, r.parts.clock.now())
        r.parts.queue.wake()
        for _ in range(3):
            await r.idle()
        assert in_alt(alt, "u.1") is None, "wrong bytes are not uploaded"
        assert r.journal() == [("u.1", JobKind.PUT)]


@BODIES
async def test_a_damaged_clean_blob_is_unavailable_while_alt_is_down(tmp_path: Path, body: bytes) -> None:
    from tierproxy.errors import AltUnavailable

    async with failing(tmp_path) as (r, alt, _files):
        await r.put("u.1", body)
        flip(blob_of(r, "u.1"), 0)
        alt.down()
        with pytest.raises(AltUnavailable):
            await r.get("u.1")
        alt.heal()
        assert await r.get("u.1") == body


# ---------------------------------------------------------------- a staged file after a failed write


@pytest.mark.parametrize("pieces_of", [1000, MIB, MIB + 7, 5 * MIB])
@pytest.mark.parametrize("nth", [1, 2, 3])
async def test_what_was_handed_to_a_staged_file_is_all_there_after_a_failed_write(
    tmp_path: Path, pieces_of: int, nth: int
) -> None:
    from tierproxy.clock import SystemClock
    from tierproxy.disk.blobs import DiskBlobs

    pool, files = ThreadPool("test", 2), FailingFiles()
    disk = await DiskBlobs.start(tmp_path, files, pool, SystemClock())
    check = Md5Check()
    staged = disk.stage(check)
    files.fail(errno.ENOSPC, "write_at", nth=nth)
    handed = b""
    try:
        for offset in range(0, len(HUGE), pieces_of):
            piece = HUGE[offset : offset + pieces_of]
            handed += piece
            await staged.write(piece)
        raise AssertionError("the disk did not fail")
    except OutOfSpace:
        pass
    assert staged.size == len(handed)
    assert b"".join([await staged.read(at, MIB) for at in range(0, staged.size, MIB)]) == handed
    assert check.etag() == _md5(handed)
    await staged.close()
    await disk.close()
    await pool.close()


def _md5(body: bytes) -> str:
    check = Md5Check()
    check.update(body)
    return check.etag()


def _headers() -> Any:
    from tierproxy.model import Headers

    return Headers()
