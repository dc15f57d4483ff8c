"""Clients at random, while the disk and alt fail, hang and get well at random: whatever was acknowledged is there in
the end, on every tier that was said to have it, and what was deleted is gone."""

from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.store.sick import Ward, ward
from tierproxy.config.sections import MemorySection, QueueSection, WriteSection
from tierproxy.config.values import Duration, Size
from tierproxy.errors import NoSuchKey, TierproxyError
from tierproxy.model import Ack, ByteRange, Headers, OnAltDown
from tierproxy.store.body import Md5Check
from tierproxy.testing.rig import name, pieces

KEYS = tuple(f"u.{number}" for number in range(5))
SIZES = (0, 20, 5_000, 300_000, 1_300_000)
STEPS = 25


class Clients:
    """``may[key]``: what a read of it may find; None: nothing. A key has one client, so its changes have an order."""

    def __init__(self, ward: Ward, seed: int) -> None:
        self.w = ward
        self.dice = random.Random(seed)
        self.may: dict[str, set[bytes | None]] = {key: {None} for key in KEYS}
        self.story: list[str] = []
        self.busy: set[str] = set()

    def body(self) -> bytes:
        return self.dice.randbytes(self.dice.choice(SIZES))

    # ------------------------------------------------------------ what clients do

    async def change(self, key: str, new: bytes | None, work: Awaitable[object]) -> None:
        before = self.may[key]
        self.may[key] = before | {new}
        try:
            await work
        except TierproxyError as error:
            self.story.append(f"{key}: {type(error).__name__}")
        else:
            self.may[key] = {new}
            self.story.append(f"{key}: done")

    async def put(self, key: str) -> None:
        body, ack = self.body(), self.dice.choice([None, Ack.DISK, Ack.ALT])
        await self.change(key, body, self.w.rig.put(key, body, ack=ack, piece=self.dice.choice([1000, 2**20])))

    async def delete(self, key: str) -> None:
        await self.change(key, None, self.w.rig.delete(key))

    async def copy(self, key: str) -> None:
        """Onto itself's neighbour: of a content that is certain."""
        source = self.dice.choice([one for one in KEYS if one != key])
        if source in self.busy or len(self.may[source]) != 1 or None in self.may[source]:
            return
        (content,) = self.may[source]
        self.busy.add(source)
        try:
            await self.change(key, content, self.w.rig.parts.store.copy(name(source), name(key)))
        finally:
            self.busy.discard(source)

    async def multipart(self, key: str) -> None:
        store, body = self.w.rig.parts.store.multipart, self.body()

        async def upload() -> None:
            up = await store.create(name(key), Headers(), None, None, None)
            try:
                part = await store.put_part(up, 1, len(body), pieces(body, 2**18), Md5Check(len(body)))
                await store.complete(up, [(1, part.etag)])
            finally:
                if store._catalogue.upload(up.id) is not None:
                    await store.abort(up)

        await self.change(key, body, upload())

    async def read(self, key: str) -> None:
        may, part = self.may[key], self.dice.random() < 0.3
        try:
            found: bytes | None = await self.w.rig.get(
                key, (lambda entry: ByteRange(0, entry.size // 2) if entry.size > 1 else None) if part else _whole
            )
        except NoSuchKey:
            found = None
        except TierproxyError:
            return
        fine = [one for one in may if one == found or (part and found and one and one[: len(one) // 2] == found)]
        assert fine, f"{key}: read what it never had; {self.story[-10:]}"

    async def leave(self, key: str) -> None:
        """In the middle of it."""
        task = asyncio.ensure_future(self.put(key))
        for _ in range(self.dice.randrange(30)):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    # ------------------------------------------------------------ what happens to them

    async def happen(self) -> None:
        w, what = self.w, self.dice.randrange(12)
        if what == 0:
            w.files.fail(self.dice.choice([errno.EIO, errno.EROFS, errno.ENOSPC]))
            w.doubt()
        elif what == 1:
            w.files.hang(self.dice.choice(["fsync", "write_at", "rename", "unlink", "fsync_dir"]))
        elif what in {2, 3}:
            w.files.heal()
        elif what == 4:
            w.alt.down()
        elif what in {5, 6}:
            w.alt.heal()
        elif what == 7:
            await w.outcome(w.rig.purge())
        elif what == 8:
            await w.rig.parts.catalogue.hurry(None, w.clock.now())
            w.rig.parts.queue.wake()
        self.story.append(f"happens {what}")

    async def work(self, key: str) -> None:
        acts: list[Callable[[str], Awaitable[None]]] = [
            self.put, self.put, self.delete, self.copy, self.multipart, self.read, self.read, self.leave,
        ]  # fmt: skip
        if key not in self.busy:
            self.busy.add(key)
            try:
                await self.dice.choice(acts)(key)
            finally:
                self.busy.discard(key)

    async def step(self) -> None:
        await self.happen()
        await self.w.outcome(_all([self.work(key) for key in self.dice.sample(KEYS, self.dice.randrange(1, 5))]))
        await self.w.passes(self.dice.choice([0, 0.5, 3, 40]))

    # ------------------------------------------------------------ what is left

    async def judge(self) -> None:
        w = self.w
        await w.recovers()
        await w.down()
        await w.recovers()  # looked through: what could not be removed before is gone
        for _ in range(200):
            if not w.rig.journal():
                break
            await w.clock.advance(5)
            await w.rig.parts.catalogue.hurry(None, w.clock.now())
            w.rig.parts.queue.wake()
            await w.passes(0.5)
            await w.rig.idle()
        assert not w.rig.journal()
        for key in KEYS:
            try:
                found: bytes | None = await w.rig.get(key)
            except NoSuchKey:
                found = None
            assert found in self.may[key], f"{key}: {self.story[-15:]}"
            await w.rig.idle()
            row = w.rig.row(key)
            assert found is None or w.in_alt(key) == found, f"{key}: alt has another; {self.story[-15:]}"
            assert (row is None) == (found is None)
        blobs = {row.blob for key in KEYS if (row := w.rig.row(key)) is not None and row.blob is not None}
        assert {path.name for path in w.files_left() if path.parent.name != "staging"} == blobs
        space, catalogue = w.rig.parts.space, w.rig.parts.catalogue
        assert (space.reserved, space.used) == (0, catalogue.totals().blob_bytes + catalogue.part_bytes())
        assert not [alarm for alarm, _ in w.rig.parts.alarms.active() if "damaged" in alarm or "lost" in alarm]


def _whole(_entry: object) -> None:
    return None


async def _all(works: list[Awaitable[None]]) -> None:
    for outcome in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


async def told(root: Path, seed: int) -> None:
    dice = random.Random(f"{seed}/house")
    write = WriteSection(on_alt_down=dice.choice(list(OnAltDown)), alt_patience=Duration(10))
    memory = MemorySection(max_bytes=Size(dice.choice([0, 2**20])))
    queue = QueueSection(backoff=Duration(5), max_backoff=Duration(20))
    async with ward(root, check=False, write=write, memory=memory, queue=queue) as w:
        clients = Clients(w, seed)
        for _ in range(STEPS):
            await clients.step()
        await clients.judge()


@pytest.mark.parametrize("seed", range(2))
async def test_whatever_fails_what_was_acknowledged_is_there_in_the_end(tmp_path: Path, seed: int) -> None:
    await told(tmp_path, seed)
