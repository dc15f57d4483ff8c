"""What an operator and Dovecot can rely on, row by row (docs/mount.md)."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mount.stage import ME, SETTINGS, Stage, stage
from tierproxy.fuse.operations import ROOT, Change
from tierproxy.mount.bodies import BLOCK
from tierproxy.mount.callers import FOR, Callers
from tierproxy.mount.ports import (
    NOBODY,
    Body,
    Doubt,
    File,
    InTheWay,
    NoRoom,
    NotAllowed,
    Told,
    Upload,
    Who,
)
from tierproxy.mount.scratch import IN_MEMORY, SMALL
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.crash import FaultyFiles
from tierproxy.testing.memory_node import MemoryBucket, MemoryNode

BOX = "u1/box"
MAIL = b"From: a\n\n" + bytes(range(256)) * 100


@asynccontextmanager
async def mailbox(root: Path, mails: int = 2, **options: object) -> AsyncIterator[Stage]:
    node = MemoryNode()
    node.bucket.mark("u1/")
    node.bucket.mark(f"{BOX}/")
    for uid in range(1, mails + 1):
        node.bucket.keep(f"{BOX}/u.{uid}", MAIL + b"%d" % uid)
    async with stage(root, node, **options) as s:  # type: ignore[arg-type]
        assert not await s.exists(f"{BOX}/nothing")
        node.taken()
        yield s
        await s.settled()


async def refused(call: Awaitable[object], code: int) -> None:
    with pytest.raises(OSError) as caught:
        await call
    assert errno.errorcode[caught.value.errno or 0] == errno.errorcode[code]


# ---------------------------------------------------------------- 1. ENOENT only when it is true


async def test_a_node_that_is_down_is_an_io_error_never_a_missing_file(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        s.node.down = True
        for call in (
            s.stat(f"{BOX}/u.1"), s.stat(f"{BOX}/u.77"), s.open(f"{BOX}/u.1"), s.listdir(BOX), s.unlink(f"{BOX}/u.1"),
            s.mkdir(f"{BOX}/new"), s.rmdir(BOX),
        ):  # fmt: skip
            await refused(call, errno.EIO)
        s.node.heal()
        assert await s.read(f"{BOX}/u.1") == MAIL + b"1"


async def test_what_another_server_delivers_is_seen_at_once(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        assert not await s.exists(f"{BOX}/u.3")
        s.node.bucket.keep(f"{BOX}/u.3", b"three")
        await s.settled()
        assert await s.read(f"{BOX}/u.3") == b"three"
        s.node.bucket.keep(f"{BOX}/u.3", b"another")
        await s.settled()
        assert await s.read(f"{BOX}/u.3") == b"another"
        s.node.bucket.remove(f"{BOX}/u.3")
        await s.settled()
        assert not await s.exists(f"{BOX}/u.3")
        assert await s.listdir(BOX) == ["u.1", "u.2"]


async def test_directories_that_others_make_and_empty_come_and_go(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        s.node.bucket.keep("u1/deep/er/u.1", b"x")
        await s.settled()
        assert await s.read("u1/deep/er/u.1") == b"x"
        assert await s.listdir("u1") == ["box", "deep"]
        s.node.bucket.remove("u1/deep/er/u.1")
        await s.settled()
        assert not await s.exists("u1/deep")
        assert await s.listdir("u1") == ["box"]


async def test_an_old_deletion_that_is_told_late_hides_nothing(tmp_path: Path) -> None:
    """The feed says "gone" of the content before last, when the new one is already there."""
    async with mailbox(tmp_path) as s:
        s.node.bucket.listeners, listeners = [], s.node.bucket.listeners
        await s.unlink(f"{BOX}/u.1")
        await s.deliver(BOX, 1, MAIL)
        s.node.bucket.listeners = listeners
        s.node.bucket.tell(Told(f"{BOX}/u.1"))
        await s.settled()
        assert await s.read(f"{BOX}/u.1") == MAIL


async def test_a_change_that_another_overtook_before_it_was_answered_is_not_believed(tmp_path: Path) -> None:
    """Both are told before our answer comes: what is there is the other's."""
    async with mailbox(tmp_path) as s:
        put = s.node.put

        async def overtaken(upload: Upload, who: Who = NOBODY) -> File:
            file = await put(upload, who)
            s.node.bucket.keep(upload.key, b"theirs")
            await s.settled()
            return file

        s.node.put = overtaken  # type: ignore[method-assign]
        await s.write(f"{BOX}/.temp.1", b"ours")
        await s.rename(f"{BOX}/.temp.1", f"{BOX}/u.3")
        assert (await s.stat(f"{BOX}/u.3")).size == len(b"theirs")
        assert await s.read(f"{BOX}/u.3") == b"theirs"


async def test_without_the_feed_every_name_is_asked_for(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        s.node.lose_feed()
        s.node.bucket.listeners, listeners = [], s.node.bucket.listeners
        s.node.bucket.keep(f"{BOX}/u.3", b"three")
        s.node.bucket.remove(f"{BOX}/u.1")
        s.node.bucket.listeners = listeners
        assert await s.read(f"{BOX}/u.3") == b"three"
        assert not await s.exists(f"{BOX}/u.1")
        found = await s.lookup(f"{BOX}/u.3")
        assert (found.name_for, found.attributes_for) == (0.0, 0.0)
        s.node.find_feed()
        await s.settled()
        found = await s.lookup(f"{BOX}/u.3")
        assert (found.name_for, found.attributes_for) == (SETTINGS.believe, SETTINGS.believe)
        assert not await s.exists(f"{BOX}/u.1")


async def test_a_new_beginning_of_the_feed_forgets_everything_in_the_kernel_too(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        s.hold = True
        found = await s.lookup(f"{BOX}/u.1")
        s.kernel.names.clear()
        s.node.lose_feed()
        s.node.find_feed()
        await s.settled()
        assert "u.1" in [name for _, name in s.kernel.names]
        assert found.node in s.kernel.contents
        s.node.taken()
        await s.stat(f"{BOX}/u.1")
        assert f"children {BOX}/" in s.node.taken()


async def test_the_kernel_is_told_of_changes_by_others_and_not_of_our_own(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        s.hold = True
        one = await s.lookup(f"{BOX}/u.1")
        s.kernel.names.clear()
        s.kernel.contents.clear()
        await s.deliver(BOX, 3, MAIL)
        await s.unlink(f"{BOX}/u.2")
        await s.settled()
        assert (s.kernel.names, s.kernel.contents) == ([], [])
        s.node.bucket.keep(f"{BOX}/u.1", b"changed")
        await s.settled()
        assert "u.1" in [name for _, name in s.kernel.names]
        assert one.node in s.kernel.contents


async def test_a_listing_that_was_overtaken_by_a_change_is_not_believed(tmp_path: Path) -> None:
    async with mailbox(tmp_path, 0) as s:
        await s.mkdir("u1/other")
        s.fs._parts.tree.drop("u1/other/")
        gate = s.node.gate("children")
        looking = asyncio.create_task(s.exists("u1/other/u.1"))
        await gate.reached()
        stale = s.node.bucket.children("u1/other/")
        s.node.bucket.keep("u1/other/u.1", b"new")
        await s.settled()
        s.node.bucket.children = lambda directory: stale  # type: ignore[method-assign]
        gate.open()
        await looking
        del s.node.bucket.children
        assert await s.read("u1/other/u.1") == b"new"


# ---------------------------------------------------------------- 2. fail in open, never in read


async def test_open_fails_where_the_bytes_cannot_be_had(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        s.node.fail("open")
        await refused(s.open(f"{BOX}/u.1"), errno.EIO)
        opened = await s.open(f"{BOX}/u.1")
        s.node.down = True
        assert await opened.read_all() == MAIL + b"1"
        assert (await opened.fstat()).size == len(MAIL) + 1
        await opened.close()


async def test_the_first_bytes_of_a_stub_never_fail(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        s.node.bucket.stubbed.add(f"{BOX}/u.1")
        opened = await s.open(f"{BOX}/u.1")
        s.node.down = True
        assert await opened.pread(8192, 0) == MAIL[:8192]
        assert await opened.pread(8192, 4000) == MAIL[4000:8192]
        await refused(opened.pread(8192, 8192), errno.EIO)
        s.node.heal()
        assert await opened.pread(100, 8192) == MAIL[8192:8292]
        await opened.close()


async def test_a_stub_whose_mail_was_overwritten_is_an_error_not_a_mixture(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        s.node.bucket.stubbed.add(f"{BOX}/u.1")
        opened = await s.open(f"{BOX}/u.1")
        s.node.bucket.keep(f"{BOX}/u.1", b"x" * len(MAIL) + b"1")
        await refused(opened.pread(100, 9000), errno.EIO)
        await opened.close()


class LargeNode(MemoryNode):
    """Opens of large objects bring the first and the last bytes only."""

    async def open(self, key: str, who: Who = NOBODY, *, stub: bool = True) -> Body:
        body = await super().open(key, who, stub=stub)
        return replace(body, head=body.head[:BLOCK], tail=body.head[-4096:]) if len(body.head) > 2 * BLOCK else body


async def test_large_objects_are_read_in_pieces_of_the_content_that_was_opened(tmp_path: Path) -> None:
    large = os.urandom(3 * BLOCK + 777)
    node = LargeNode()
    node.bucket.keep("large", large)
    async with stage(tmp_path, node) as s:
        assert await s.read("large") == large
        opened = await s.open("large")
        calls = len(s.node.calls)
        assert await opened.pread(131_072, BLOCK - 1000) == large[BLOCK - 1000 : BLOCK - 1000 + 131_072]
        assert len(s.node.calls) == calls, "blocks that were read are kept with the body"
        assert await opened.pread(8192, len(large) - 55) == large[-55:]
        await opened.close()
        opened = await s.open("large")
        await s.unlink("large")
        assert await opened.read_all(100_000) == large
        await opened.close()


async def test_two_who_open_at_once_share_one_fetch(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        gate = s.node.gate("open")
        first, second = (asyncio.create_task(s.read(f"{BOX}/u.1")) for _ in range(2))
        await gate.reached()
        await s.settled()
        first.cancel()
        await asyncio.wait([first])
        gate.open()
        assert await second == MAIL + b"1"
        assert s.node.taken() == [f"open {BOX}/u.1"]


async def test_one_slow_fetch_keeps_nobody_else_waiting(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        gate = s.node.gate("open")
        slow = asyncio.create_task(s.read(f"{BOX}/u.1"))
        await gate.reached()
        await s.deliver(BOX, 3, MAIL)
        assert await s.listdir(BOX) == ["u.1", "u.2", "u.3"]
        gate.open()
        await slow


async def test_a_body_goes_when_its_time_is_over(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        await s.read(f"{BOX}/u.1")
        await s.clock.advance(SETTINGS.keep_body + 10)
        await s.read(f"{BOX}/u.1")
        assert s.node.taken() == [f"open {BOX}/u.1"] * 2


async def test_kept_bodies_are_bounded(tmp_path: Path) -> None:
    async with mailbox(tmp_path, settings=replace(SETTINGS, keep_bytes=len(MAIL) + 10)) as s:
        for uid in (1, 2, 2, 1):
            await s.read(f"{BOX}/u.{uid}")
        assert s.node.taken() == [f"open {BOX}/u.{uid}" for uid in (1, 2, 1)]


async def test_pages_the_kernel_has_are_kept_while_the_content_is_the_same(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        s.hold = True
        await s.lookup(f"{BOX}/u.1")
        opened = [await s.open(f"{BOX}/u.1") for _ in range(2)]
        s.node.bucket.keep(f"{BOX}/u.1", b"another")
        await s.settled()
        opened.append(await s.open(f"{BOX}/u.1"))
        assert [one.opened.keep for one in opened] == [False, True, False]
        for one in opened:
            await one.close()


# ---------------------------------------------------------------- 4. writing to what is there


async def test_opening_for_writing_is_reading_until_something_is_written(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        await s.read(f"{BOX}/u.1", os.O_RDWR)
        assert s.node.taken() == [f"open {BOX}/u.1"]


async def test_a_written_object_is_put_at_fsync_and_at_close(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        await s.write("u1/subscriptions", b"INBOX\n")
        s.node.taken()
        opened = await s.open("u1/subscriptions")
        await opened.pwrite(b"Trash\n", 6)
        assert s.node.bucket.bodies()["u1/subscriptions"] == b"INBOX\n"
        assert await s.read("u1/subscriptions") == b"INBOX\nTrash\n", "who opens it meanwhile sees what is written"
        await opened.fsync()
        assert s.node.bucket.bodies()["u1/subscriptions"] == b"INBOX\nTrash\n"
        await opened.pwrite(b"X", 0)
        await opened.close()
        assert s.node.bucket.bodies()["u1/subscriptions"] == b"XNBOX\nTrash\n"
        assert s.node.taken().count("put u1/subscriptions") == 2


async def test_a_written_object_that_somebody_else_changed_is_an_error(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        await s.write("u1/keywords", b"one")
        opened = await s.open("u1/keywords")
        await opened.pwrite(b"two", 0)
        s.node.bucket.keep("u1/keywords", b"theirs")
        await refused(opened.fsync(), errno.EIO)
        await refused(opened.close(), errno.EIO)
        assert s.node.bucket.bodies()["u1/keywords"] == b"theirs"
        assert s.fs.counters.private_lost == 1


async def test_truncate_with_and_without_a_descriptor(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        await s.write("u1/f", b"0123456789")
        await s.truncate("u1/f", 4)
        assert s.node.bucket.bodies()["u1/f"] == b"0123"
        await s.write("u1/f", b"x")
        assert await s.read("u1/f") == b"x"
        assert (await s.stat("u1/f")).size == 1


# ---------------------------------------------------------------- 5. delivery


async def test_a_taken_name_is_eexist_and_the_scratch_file_stays(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        await s.write(f"{BOX}/.temp.1", b"new mail")
        await refused(s.rename(f"{BOX}/.temp.1", f"{BOX}/u.1"), errno.EEXIST)
        assert await s.read(f"{BOX}/.temp.1") == b"new mail"
        assert await s.read(f"{BOX}/u.1") == MAIL + b"1"


async def test_a_name_another_server_took_a_moment_ago_is_eexist(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        s.node.bucket.listeners, listeners = [], s.node.bucket.listeners
        s.node.bucket.keep(f"{BOX}/u.3", b"theirs")
        s.node.bucket.listeners = listeners
        await s.write(f"{BOX}/.temp.1", b"ours")
        await refused(s.rename(f"{BOX}/.temp.1", f"{BOX}/u.3"), errno.EEXIST)
        assert await s.read(f"{BOX}/u.3") == b"theirs"
        await s.rename(f"{BOX}/.temp.1", f"{BOX}/u.4")
        assert await s.read(f"{BOX}/u.4") == b"ours"


@pytest.mark.parametrize("known", [True, False])
async def test_the_very_same_content_counts_as_done(tmp_path: Path, known: bool) -> None:
    async with mailbox(tmp_path) as s:
        if not known:
            s.node.bucket.listeners, listeners = [], s.node.bucket.listeners
        s.node.bucket.keep(f"{BOX}/u.3", b"same mail")
        if not known:
            s.node.bucket.listeners = listeners
        await s.settled()
        await s.write(f"{BOX}/.temp.1", b"same mail")
        await s.rename(f"{BOX}/.temp.1", f"{BOX}/u.3")
        assert not await s.exists(f"{BOX}/.temp.1")
        assert await s.read(f"{BOX}/u.3") == b"same mail"


@pytest.mark.parametrize(
    ("error", "code"),
    [(Doubt(), errno.EIO), (NoRoom(), errno.ENOSPC), (NotAllowed(), errno.EACCES), (InTheWay(), errno.EIO)],
)
async def test_a_put_that_fails_is_an_error_and_the_scratch_file_stays(
    tmp_path: Path, error: Exception, code: int
) -> None:
    async with mailbox(tmp_path) as s:
        await s.write(f"{BOX}/.temp.1", b"new mail")
        s.node.fail("put", error)
        await refused(s.rename(f"{BOX}/.temp.1", f"{BOX}/u.3"), code)
        assert not await s.exists(f"{BOX}/u.3")
        await s.rename(f"{BOX}/.temp.1", f"{BOX}/u.3")
        assert await s.read(f"{BOX}/u.3") == b"new mail"


async def test_other_names_are_overwritten(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        await s.write("u1/subscriptions", b"old")
        await s.write("u1/.subscriptions.lock", b"new")
        await s.rename("u1/.subscriptions.lock", "u1/subscriptions")
        assert await s.read("u1/subscriptions") == b"new"
        await s.write("u1/.x", b"newer")
        await refused(s.rename("u1/.x", "u1/subscriptions", 1), errno.EEXIST)
        await refused(s.rename("u1/.x", "u1/subscriptions", 2), errno.EINVAL)


async def test_one_put_per_name_when_two_mounts_deliver_the_same_uid(tmp_path: Path) -> None:
    bucket = MemoryBucket()
    bucket.mark("box/")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    async with stage(tmp_path / "a", MemoryNode(bucket)) as one, stage(tmp_path / "b", MemoryNode(bucket)) as two:
        answers = await asyncio.gather(
            one.deliver("box", 1, b"a" * 60), two.deliver("box", 1, b"b" * 60), return_exceptions=True
        )
        assert sum(answer is None for answer in answers) == 1, answers
        won = b"ab"[answers.index(None)]
        assert bucket.bodies() == {"box/u.1": bytes([won]) * 60}
        for mount in (one, two):
            await mount.settled()
            assert await mount.read("box/u.1") == bytes([won]) * 60


# ---------------------------------------------------------------- 6. aliases


async def test_an_alias_reads_as_what_it_is_another_name_of(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        await s.link(f"{BOX}/u.1", f"{BOX}/.temp.9")
        assert (await s.stat(f"{BOX}/.temp.9")).size == len(MAIL) + 1
        assert await s.read(f"{BOX}/.temp.9") == MAIL + b"1"
        await s.unlink(f"{BOX}/.temp.9")
        assert not await s.exists(f"{BOX}/.temp.9")
        assert await s.exists(f"{BOX}/u.1")


async def test_an_alias_outlives_the_name_it_was_made_from(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        await s.link(f"{BOX}/u.1", f"{BOX}/.temp.9")
        await s.unlink(f"{BOX}/u.1")
        await s.rename(f"{BOX}/.temp.9", f"{BOX}/u.9")
        assert await s.read(f"{BOX}/u.9") == MAIL + b"1"


async def test_what_cannot_be_linked_is_eperm(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        await refused(s.link(f"{BOX}/u.1", f"{BOX}/u.9"), errno.EPERM)
        await s.write(f"{BOX}/.temp.1", b"x")
        await refused(s.link(f"{BOX}/.temp.1", f"{BOX}/.temp.2"), errno.EPERM)
        await refused(s.link(BOX, f"{BOX}/.temp.2"), errno.EPERM)


async def test_an_alias_onto_a_taken_name_is_eexist(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        await s.link(f"{BOX}/u.1", f"{BOX}/.temp.9")
        await refused(s.rename(f"{BOX}/.temp.9", f"{BOX}/u.2"), errno.EEXIST)
        assert await s.read(f"{BOX}/u.2") == MAIL + b"2"


async def test_an_alias_whose_source_was_lost_elsewhere_is_an_io_error(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        await s.link(f"{BOX}/u.1", f"{BOX}/.temp.9")
        s.node.bucket.remove(f"{BOX}/u.1")
        await refused(s.rename(f"{BOX}/.temp.9", f"{BOX}/u.9"), errno.EIO)


# ---------------------------------------------------------------- 7. stat


async def test_stat_is_true_and_stable(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        kept = s.node.bucket.keep(f"{BOX}/u.3", b"three", 1_500_000_000.5, 1_600_000_000.25)
        await s.settled()
        shown = await s.stat(f"{BOX}/u.3")
        assert (shown.size, shown.mtime, shown.ctime) == (kept.size, 1_500_000_000.5, 1_600_000_000.25)
        assert (shown.uid, shown.gid, oct(shown.mode), shown.nlink) == (5000, 5000, "0o100600", 1)
        assert shown == await s.stat(f"{BOX}/u.3")
        directory = await s.stat(BOX)
        assert (oct(directory.mode), directory.nlink) == ("0o40700", 1)
    (tmp_path / "again").mkdir()
    async with mailbox(tmp_path / "again") as s:
        s.node.bucket.keep(f"{BOX}/u.3", b"three")
        await s.settled()
        assert (await s.stat(f"{BOX}/u.3")).ino == shown.ino


async def test_setting_what_is_so_already_is_fine(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s, s.at(f"{BOX}/u.1") as node:
        for change in (Change(), Change(uid=5000), Change(gid=5000), Change(mode=0o100600), Change(atime=1.0)):
            await s.fs.setattr(node, change, ME)
        await refused(s.fs.setattr(node, Change(uid=0), ME), errno.EPERM)
        assert s.node.taken() == []


async def test_times_of_an_object_are_kept(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        await s.utime(f"{BOX}/u.1", 1_400_000_000.0)
        assert (await s.stat(f"{BOX}/u.1")).mtime == 1_400_000_000.0
        await s.settled()
        assert s.node.taken() == [f"touch {BOX}/u.1"]
        assert (await s.stat(f"{BOX}/u.1")).mtime == 1_400_000_000.0


async def test_a_directorys_time_changes_with_its_entries(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        before = (await s.stat(BOX)).mtime
        await s.clock.advance(10)
        assert (await s.stat(BOX)).mtime == before
        await s.deliver(BOX, 3, MAIL)
        after = (await s.stat(BOX)).mtime
        assert after > before
        await s.clock.advance(10)
        s.node.bucket.keep(f"{BOX}/u.4", b"x")
        await s.settled()
        assert (await s.stat(BOX)).mtime > after


async def test_empty_directories_stay_and_full_ones_are_not_removed(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        await refused(s.rmdir(BOX), errno.ENOTEMPTY)
        await refused(s.mkdir(BOX), errno.EEXIST)
        await s.mkdir("u1/empty")
        await s.write("u1/empty/.temp.1", b"x")
        await refused(s.rmdir("u1/empty"), errno.ENOTEMPTY)
        await s.unlink("u1/empty/.temp.1")
        s.node.bucket.keep("u1/empty/u.1", b"x")
        await s.settled()
        await refused(s.rmdir("u1/empty"), errno.ENOTEMPTY)
        await s.unlink("u1/empty/u.1")
        await s.rmdir("u1/empty")
        assert not await s.exists("u1/empty")


async def test_a_directory_without_a_marker_does_not_vanish_with_its_last_mail(tmp_path: Path) -> None:
    node = MemoryNode()
    node.bucket.keep("import/box/u.1", b"x")
    async with stage(tmp_path, node) as s:
        await s.unlink("import/box/u.1")
        s.node.lose_feed()
        s.node.find_feed()
        await s.settled()
        assert await s.listdir("import/box") == []
        assert node.bucket.markers == {"import/box/"}


async def test_a_directory_is_renamed_onto_an_empty_one_only(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        await s.mkdir("u1/empty")
        await s.mkdir("u1/full")
        await s.write("u1/full/f", b"x")
        await refused(s.rename(BOX, "u1/full"), errno.ENOTEMPTY)
        await s.rename(BOX, "u1/empty")
        assert await s.listdir("u1") == ["empty", "full"]
        assert await s.read("u1/empty/u.2") == MAIL + b"2"
        await refused(s.rename("u1/full/f", "u1/empty"), errno.EISDIR)


# ---------------------------------------------------------------- 8. fsync, statfs, what is refused


@pytest.mark.parametrize(
    "name", ["dovecot.index", "dovecot.index.log", "dovecot.list.index.log", "dovecot-uidlist", "dovecot.map.index",
             "dovecot.mailbox.log"],
)  # fmt: skip
async def test_indexes_are_refused_and_the_log_says_what_to_set(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with mailbox(tmp_path) as s:
        with caplog.at_level(logging.ERROR):
            for _ in range(3):
                await refused(s.create(f"{BOX}/{name}"), errno.EACCES)
        assert len(caplog.records) == 1
        assert "INDEX=" in caplog.records[0].facts["hint"]  # type: ignore[attr-defined]
        await s.write(f"{BOX}/.temp.{name}", b"x")
        await refused(s.rename(f"{BOX}/.temp.{name}", f"{BOX}/{name}"), errno.EACCES)
        assert s.fs.counters.refused == 4


async def test_mdbox_is_refused(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        await s.mkdir("u1/storage")
        await refused(s.create("u1/storage/m.1"), errno.EACCES)
        await s.write("u1/m.1", b"no mdbox")


async def test_names_that_cannot_be_keys_say_so(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        for call in (s.fs.lookup(ROOT, b"\xff", ME), s.fs.mkdir(ROOT, b"a\xc3", 0o700, ME)):
            await refused(call, errno.EILSEQ)
        await refused(s.fs.lookup(ROOT, b"x" * 256, ME), errno.ENAMETOOLONG)
        deep = "/".join(["d" * 200] * 4)
        await s.makedirs(deep)
        await refused(s.mkdir(f"{deep}/{'e' * 230}"), errno.ENAMETOOLONG)


async def test_links_and_devices_are_not_made(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        await refused(s.fs.symlink(ROOT, b"l", b"target", ME), errno.EPERM)
        await refused(s.fs.mknod(ROOT, b"p", 0o010600, 0, ME), errno.EPERM)
        s.fs.forget((await s.fs.mknod(ROOT, b"f", 0o100600, 0, ME)).node, 1)
        assert s.node.bucket.bodies()["f"] == b""


async def test_statfs_shows_the_budget(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        space = await s.fs.statfs(ME)
        assert (space.total, space.free) == (1 << 30, (1 << 30) - 2 * len(MAIL) - 2)
        await s.fs.statfs(ME)
        assert s.node.taken() == ["room"]


async def test_fsync_of_a_scratch_file_is_an_fsync_if_that_is_asked_for(tmp_path: Path) -> None:
    files = FaultyFiles("fsync")
    async with mailbox(tmp_path, files=files, settings=replace(SETTINGS, scratch_fsync=True)) as s:
        await s.write(f"{BOX}/.temp.1", b"x")
        assert files.calls["fsync"] == 1
        assert scratch_files(tmp_path) == 1


async def test_small_scratch_never_touches_the_disk(tmp_path: Path) -> None:
    files = FaultyFiles("create")
    async with mailbox(tmp_path, files=files) as s:
        files.calls.clear()
        await s.deliver(BOX, 3, MAIL)
        assert not files.calls
        assert s.node.bucket.objects[f"{BOX}/u.3"].body == MAIL


@pytest.mark.parametrize("grows_by", ["write", "truncate"])
async def test_scratch_that_grows_goes_to_disk_and_is_fsynced_there(tmp_path: Path, grows_by: str) -> None:
    files = FaultyFiles("fsync")
    async with mailbox(tmp_path, files=files) as s:
        opened = await s.create(f"{BOX}/.temp.1")
        await opened.pwrite(MAIL, 0)
        await opened.fsync()
        assert (files.calls["fsync"], scratch_files(tmp_path)) == (0, 0)
        size = SMALL + 3
        await (opened.pwrite(b"end", SMALL) if grows_by == "write" else s.truncate(f"{BOX}/.temp.1", size))
        assert scratch_files(tmp_path) == 1
        await opened.pwrite(b"From: b", 0)
        await opened.fsync()
        assert files.calls["fsync"] == 1
        await opened.close()
        await s.rename(f"{BOX}/.temp.1", f"{BOX}/u.3")
        end = b"end" if grows_by == "write" else bytes(3)
        body = (b"From: b" + MAIL[7:]).ljust(SMALL, b"\0") + end
        assert s.node.bucket.objects[f"{BOX}/u.3"].body == body
        assert scratch_files(tmp_path) == 0


async def test_of_many_scratch_files_only_some_are_in_memory(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        for number in range(IN_MEMORY + 2):
            await s.write(f"{BOX}/.temp.{number}", b"x")
        assert scratch_files(tmp_path) == 2
        await s.unlink(f"{BOX}/.temp.0")
        await s.write(f"{BOX}/.temp.x", b"x")
        assert scratch_files(tmp_path) == 2
        for number in range(1, IN_MEMORY + 2):
            await s.unlink(f"{BOX}/.temp.{number}")
        assert scratch_files(tmp_path) == 0
        await s.unlink(f"{BOX}/.temp.x")


async def test_scratch_that_finds_no_room_on_disk_is_enospc_and_stays_as_it_was(tmp_path: Path) -> None:
    files = FaultyFiles("create", errno.ENOSPC, lasting=True)
    async with mailbox(tmp_path, files=files) as s:
        opened = await s.create(f"{BOX}/.temp.1")
        await opened.pwrite(MAIL, 0)
        await refused(opened.pwrite(b"x", SMALL), errno.ENOSPC)
        assert await opened.read_all() == MAIL
        await opened.close()
        await s.rename(f"{BOX}/.temp.1", f"{BOX}/u.3")
        assert s.node.bucket.objects[f"{BOX}/u.3"].body == MAIL


def scratch_files(root: Path) -> int:
    return len(list((root / "scratch" / "files").iterdir()))


async def test_a_full_scratch_disk_is_enospc(tmp_path: Path) -> None:
    files = FaultyFiles("write_at", errno.ENOSPC, nth=1)
    async with mailbox(tmp_path, files=files, settings=replace(SETTINGS, scratch_fsync=True)) as s:
        await refused(s.write(f"{BOX}/.temp.1", b"x"), errno.ENOSPC)


# ---------------------------------------------------------------- 9. open files and unlink


@pytest.mark.parametrize("stub", [True, False])
async def test_what_is_open_can_be_read_after_unlink(tmp_path: Path, stub: bool) -> None:
    async with mailbox(tmp_path) as s:
        s.node.bucket.stubbed |= {f"{BOX}/u.1"} if stub else set()
        opened = await s.open(f"{BOX}/u.1")
        await s.unlink(f"{BOX}/u.1")
        assert not await s.exists(f"{BOX}/u.1")
        assert await opened.read_all() == MAIL + b"1"
        assert (await opened.fstat()).size == len(MAIL) + 1
        await opened.close()
        scratch = await s.create(f"{BOX}/.temp.1")
        await scratch.pwrite(b"bytes", 0)
        await s.unlink(f"{BOX}/.temp.1")
        assert await scratch.read_all() == b"bytes"
        await scratch.close()


async def test_a_delete_in_doubt_is_an_error_and_the_mail_is_asked_for(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        s.node.fail("delete")
        await refused(s.unlink(f"{BOX}/u.1"), errno.EIO)
        assert await s.exists(f"{BOX}/u.1")
        s.node.fail("delete", after=True)
        await refused(s.unlink(f"{BOX}/u.1"), errno.EIO)
        assert not await s.exists(f"{BOX}/u.1")


async def test_nothing_is_left_when_the_kernel_forgets(tmp_path: Path) -> None:
    async with mailbox(tmp_path) as s:
        await s.deliver(BOX, 3, MAIL)
        await s.read(f"{BOX}/u.3")
        await s.link(f"{BOX}/u.1", f"{BOX}/.temp.2")
        await s.rename(f"{BOX}/.temp.2", f"{BOX}/u.4")
        await s.listdir(BOX)
        assert len(s.fs._nodes) == 1
        assert list((tmp_path / "scratch" / "files").iterdir()) == []


# ---------------------------------------------------------------- 10. who reads


async def test_reads_are_told_as_peoples_or_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = {1: "imap", 2: "lmtp", 3: "indexer-worker", 4: "doveadm", 5: "dsync-server", 6: "pop3", 7: ""}
    async with mailbox(tmp_path, 7) as s:
        s.fs._parts.callers = Callers(s.clock, lambda pid: programs[pid])
        for pid in programs:
            s.who = ME._replace(pid=pid)
            await s.read(f"{BOX}/u.{pid}")
        assert [who.reason for who in s.node.who] == ["person", "index", "index", "scan", "backup", "person", ""]
        assert [who.program for who in s.node.who] == list(programs.values())


async def test_a_process_number_is_believed_for_a_moment_only() -> None:
    clock = VirtualClock()
    asked: list[int] = []
    callers = Callers(clock, lambda pid: asked.append(pid) or "imap")  # type: ignore[func-returns-value]
    assert callers.who(0).reason == ""
    assert callers.who(7) == callers.who(7)
    await clock.advance(FOR)
    callers.who(7)
    assert asked == [7, 7]
    assert Callers(clock).who(os.getpid()).program
    assert Callers(clock).who(2**30).program == ""
