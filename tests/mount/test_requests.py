"""What each of Dovecot's actions costs in requests, by the system calls it makes in their order.

The table of docs/mount.md. Directories have been listed once; the change feed is alive.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.mount.stage import Stage, stage
from tierproxy.testing.memory_node import MemoryNode

MAIL = b"2 M1e C6b01d1df\n\x01\x02N          000000000000952F\n" + b"Subject: hello\n\n" + b"body\n" * 4000
BOX = "u1/mailboxes/INBOX/dbox-Mails"


@asynccontextmanager
async def warm(root: Path, mails: int = 3) -> AsyncIterator[Stage]:
    """A mailbox with some mails, all directories of it seen once."""
    node = MemoryNode()
    for directory in ("u1/", "u1/mailboxes/", "u1/mailboxes/INBOX/", f"{BOX}/"):
        node.bucket.mark(directory)
    for uid in range(1, mails + 1):
        node.bucket.keep(f"{BOX}/u.{uid}", MAIL + b"%d" % uid)
    async with stage(root, node) as s:
        assert not await s.exists(f"{BOX}/u.9999")
        node.taken()
        yield s
        await s.settled()


async def test_a_delivery_is_one_put(tmp_path: Path) -> None:
    async with warm(tmp_path) as s:
        with pytest.raises(FileNotFoundError):
            await s.stat("u1/dbox-alt-root")
        await s.stat(BOX)
        await s.deliver(BOX, 4, MAIL)
        assert s.node.taken() == [f"put {BOX}/u.4"]
        await s.settled()
        await s.listdir("u1/mailboxes")
        await s.stat("u1/mailboxes/INBOX")
        await s.deliver(BOX, 5, MAIL)
        assert s.node.taken() == [f"put {BOX}/u.5"]
        assert s.node.bucket.objects[f"{BOX}/u.5"].body == MAIL


async def test_the_first_mail_is_read_while_it_gets_its_name(tmp_path: Path) -> None:
    async with warm(tmp_path, 0) as s:
        await s.write(f"{BOX}/.temp.1", MAIL)
        opened = await s.open(f"{BOX}/.temp.1")
        assert await opened.pread(8192, 0) == MAIL[:8192]
        await s.rename(f"{BOX}/.temp.1", f"{BOX}/u.1")
        assert await opened.read_all() == MAIL
        await opened.close()
        assert s.node.taken() == [f"put {BOX}/u.1"]


async def test_select_status_flags_and_not_there_cost_nothing(tmp_path: Path) -> None:
    async with warm(tmp_path) as s:
        for path in ("u1/dbox-alt-root", f"{BOX}/u.77", "u1/mailboxes/Nope", "u1/mailboxes/Nope/dbox-Mails"):
            assert not await s.exists(path)
        for path in ("u1/mailboxes/INBOX", BOX, f"{BOX}/u.1"):
            await s.stat(path)
        assert await s.listdir("u1/mailboxes") == ["INBOX"]
        assert await s.listdir(BOX) == ["u.1", "u.2", "u.3"]
        assert s.node.taken() == []


async def test_a_read_is_one_get(tmp_path: Path) -> None:
    async with warm(tmp_path) as s:
        opened = await s.open(f"{BOX}/u.1", os.O_RDWR)
        assert (await opened.fstat()).size == len(MAIL) + 1
        assert await opened.read_all() == MAIL + b"1"
        assert (await opened.pread(55, len(MAIL) - 54)) == (MAIL + b"1")[-55:]
        await opened.close()
        assert s.node.taken() == [f"open {BOX}/u.1"]


async def test_ten_kilobyte_pieces_are_one_get(tmp_path: Path) -> None:
    async with warm(tmp_path) as s:
        for offset in range(0, len(MAIL), 10_024):
            opened = await s.open(f"{BOX}/u.1")
            assert await opened.pread(10_024, offset) == (MAIL + b"1")[offset : offset + 10_024]
            await opened.close()
        assert s.node.taken() == [f"open {BOX}/u.1"]


async def test_headers_and_dates_of_a_purged_mail_fetch_nothing(tmp_path: Path) -> None:
    async with warm(tmp_path) as s:
        s.node.bucket.stubbed.add(f"{BOX}/u.1")
        opened = await s.open(f"{BOX}/u.1")
        assert opened.opened.direct
        assert await opened.pread(8192, 0) == MAIL[:8192]
        assert await opened.pread(55, len(MAIL) - 54) == (MAIL + b"1")[-55:]
        assert s.node.taken() == [f"open {BOX}/u.1"]
        assert await opened.read_all() == MAIL + b"1"
        await opened.close()
        assert s.node.taken() == [f"fetch {BOX}/u.1"]


async def test_copy_is_one_copy_and_move_one_delete_more(tmp_path: Path) -> None:
    async with warm(tmp_path) as s:
        await s.makedirs("u1/mailboxes/Trash/dbox-Mails")
        await s.listdir("u1/mailboxes/Trash/dbox-Mails")
        s.node.taken()
        target = "u1/mailboxes/Trash/dbox-Mails"
        await s.stat(f"{BOX}/u.1")
        await s.link(f"{BOX}/u.1", f"{target}/.temp.2")
        assert not await s.exists(f"{target}/u.1")
        await s.rename(f"{target}/.temp.2", f"{target}/u.1")
        await s.fsync_dir(target)
        assert s.node.taken() == [f"copy {BOX}/u.1 {target}/u.1"]
        await s.unlink(f"{BOX}/u.1")
        assert s.node.taken() == [f"delete {BOX}/u.1"]
        assert (await s.read(f"{target}/u.1")) == MAIL + b"1"


async def test_an_expunge_is_one_delete(tmp_path: Path) -> None:
    async with warm(tmp_path) as s:
        await s.unlink(f"{BOX}/u.2")
        await s.settled()
        assert not await s.exists(f"{BOX}/u.2")
        assert s.node.taken() == [f"delete {BOX}/u.2"]


async def test_altmove_of_one_mail_is_one_put_and_keeps_its_time(tmp_path: Path) -> None:
    async with warm(tmp_path) as s:
        opened = await s.create(f"{BOX}/.temp.9", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        for offset in range(0, len(MAIL), 8192):
            await opened.pwrite(MAIL[offset : offset + 8192], offset)
        await opened.fsync()
        await opened.close()
        await s.utime(f"{BOX}/.temp.9", 1_600_000_000.5)
        await s.rename(f"{BOX}/.temp.9", f"{BOX}/u.9")
        await s.fsync_dir(BOX)
        assert s.node.taken() == [f"put {BOX}/u.9"]
        assert (await s.stat(f"{BOX}/u.9")).mtime == 1_600_000_000.5
        assert s.node.bucket.objects[f"{BOX}/u.9"].file.modified == 1_600_000_000.5


async def test_create_rename_and_delete_of_a_mailbox(tmp_path: Path) -> None:
    async with warm(tmp_path) as s:
        with pytest.raises(FileNotFoundError):
            await s.mkdir("u1/mailboxes/X/dbox-Mails")
        await s.mkdir("u1/mailboxes/X")
        await s.mkdir("u1/mailboxes/X/dbox-Mails")
        assert await s.listdir("u1/mailboxes/X/dbox-Mails") == []
        await s.utime("u1/mailboxes/X/dbox-Mails", 1_700_000_500.0)
        assert s.node.taken() == ["mark u1/mailboxes/X/", "mark u1/mailboxes/X/dbox-Mails/"]
        await s.deliver("u1/mailboxes/X/dbox-Mails", 1, MAIL)
        s.node.taken()
        await s.rename("u1/mailboxes/X", "u1/mailboxes/Y")
        assert sorted(s.node.taken()) == sorted(
            [
                "mark u1/mailboxes/Y/", "mark u1/mailboxes/Y/dbox-Mails/",
                "copy u1/mailboxes/X/dbox-Mails/u.1 u1/mailboxes/Y/dbox-Mails/u.1",
                "delete u1/mailboxes/X/dbox-Mails/u.1", "delete u1/mailboxes/X/dbox-Mails/", "delete u1/mailboxes/X/",
            ]
        )  # fmt: skip
        assert not await s.exists("u1/mailboxes/X")
        assert await s.read("u1/mailboxes/Y/dbox-Mails/u.1") == MAIL
        s.node.taken()
        await s.unlink("u1/mailboxes/Y/dbox-Mails/u.1")
        await s.rmdir("u1/mailboxes/Y/dbox-Mails")
        await s.rmdir("u1/mailboxes/Y")
        assert [call.split()[0] for call in s.node.taken()] == ["delete"] * 3
        assert await s.listdir("u1/mailboxes") == ["INBOX"]


async def test_a_maildir_delivery_is_one_put_and_a_flag_one_copy_and_one_delete(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        for name in ("cur", "new", "tmp"):
            await s.makedirs(f"md/{name}")
        await s.listdir("md/cur")
        s.node.taken()
        await s.write("md/tmp/1.M1P2.host", MAIL)
        assert await s.listdir("md/tmp") == ["1.M1P2.host"]
        await s.rename("md/tmp/1.M1P2.host", "md/new/1.M1P2.host,S=9")
        assert s.node.taken() == ["put md/new/1.M1P2.host,S=9"]
        await s.rename("md/new/1.M1P2.host,S=9", "md/cur/1.M1P2.host,S=9:2,")
        assert s.node.taken() == [
            "copy md/new/1.M1P2.host,S=9 md/cur/1.M1P2.host,S=9:2,", "delete md/new/1.M1P2.host,S=9",
        ]  # fmt: skip
        await s.rename("md/cur/1.M1P2.host,S=9:2,", "md/cur/1.M1P2.host,S=9:2,S")
        assert len(s.node.taken()) == 2
        assert await s.listdir("md/cur") == ["1.M1P2.host,S=9:2,S"]
        assert await s.listdir("md/new") == []
        assert await s.read("md/cur/1.M1P2.host,S=9:2,S") == MAIL


async def test_force_resync_of_purged_mails_opens_stubs_only(tmp_path: Path) -> None:
    async with warm(tmp_path, 20) as s:
        s.node.bucket.stubbed |= set(s.node.bucket.objects)
        for name in await s.listdir(BOX):
            opened = await s.open(f"{BOX}/{name}")
            await opened.fstat()
            assert await opened.pread(8192, 0) == MAIL[:8192]
            await opened.close()
        assert {call.split()[0] for call in s.node.taken()} == {"open"}
