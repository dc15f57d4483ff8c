"""Names of folders, which people choose, are names of directories: none of them may hide mail, or leave something that
cannot be finished."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable
from pathlib import Path

import pytest

from tests.mount.stage import Stage, stage
from tierproxy.mount.names import LONGEST_KEY, LONGEST_MAIL
from tierproxy.mount.ports import Doubt, NotAllowed
from tierproxy.testing.memory_node import MemoryNode

ROOT = "u1/mailboxes"


async def folder(s: Stage, *names: str) -> str:
    """As Dovecot makes it, with a mail. Returns where its mails are."""
    path = "u1"
    for name in ("mailboxes", *names, "dbox-Mails"):
        path = f"{path}/{name}"
        if not await s.exists(path):
            await s.mkdir(path)
    await s.deliver(path, 1, b"a mail")
    return path


async def refused(attempt: Awaitable[object], code: int) -> None:
    with pytest.raises(OSError) as found:
        await attempt
    assert found.value.errno == code


async def test_folders_called_as_the_directories_of_a_maildir_keep_their_mails(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await s.mkdir("u1")
        boxes = [await folder(s, name) for name in ("tmp", "new", "cur")]
        below = await folder(s, "tmp", "below")
        for box in (*boxes, below):
            assert await s.read(f"{box}/u.1") == b"a mail"


@pytest.mark.parametrize(
    "name", [".hidden", "v1.2", "u.5", "dovecot.index", "m.1", "storage", "mailboxes", "Gr&APYA3w-e"]
)
async def test_a_folder_may_be_called_as_it_likes(tmp_path: Path, name: str) -> None:
    async with stage(tmp_path) as s:
        await s.mkdir("u1")
        box = await folder(s, name)
        await s.rename(f"{ROOT}/{name}", f"{ROOT}/other")
        await s.rename(f"{ROOT}/other", f"{ROOT}/{name}")
        assert await s.read(f"{box}/u.1") == b"a mail"


async def test_a_directory_named_as_scratch_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await s.mkdir("u1")
        await refused(s.mkdir("u1/.temp.x"), errno.EACCES)
        await folder(s, "Work")
        await refused(s.rename(f"{ROOT}/Work", f"{ROOT}/.temp.x"), errno.EACCES)
        assert not [key for key in s.node.bucket.bodies() if ".temp" in key]


async def test_a_directory_has_room_for_its_mails_or_is_not_made(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        path = "u1"
        await s.mkdir(path)
        while len(path) < 800:
            path = f"{path}/{'x' * 100}"
            await s.mkdir(path)
        last = path + "/" + "y" * (LONGEST_KEY - LONGEST_MAIL - len(path) - 2)
        await refused(s.mkdir(last + "y"), errno.ENAMETOOLONG)
        await s.mkdir(last)
        await s.deliver(last, 4294967295, b"a mail")  # by a scratch name that is longer
        assert len(f"{last}/u.4294967295") == LONGEST_KEY


async def test_a_directory_whose_mails_would_have_too_long_keys_keeps_its_name(tmp_path: Path) -> None:
    async with stage(tmp_path) as s:
        await s.mkdir("u1")
        box = await folder(s, "Work", *["x" * 200] * 4)
        await refused(s.rename(f"{ROOT}/Work", f"{ROOT}/{'t' * 250}"), errno.ENAMETOOLONG)
        assert await s.read(f"{box}/u.1") == b"a mail"
        assert list((tmp_path / "scratch" / "intents").iterdir()) == []


@pytest.mark.parametrize("error", [NotAllowed("no"), Doubt("no answer")], ids=["refused", "doubtful"])
async def test_a_directory_whose_new_name_is_refused_stays_where_it_is(tmp_path: Path, error: Exception) -> None:
    async with stage(tmp_path) as s:
        await s.mkdir("u1")
        box = await folder(s, "Work")
        s.node.fail("mark", error)
        with pytest.raises(OSError):
            await s.rename(f"{ROOT}/Work", f"{ROOT}/Projects")
        s.node.heal()
        assert list((tmp_path / "scratch" / "intents").iterdir()) == []
        assert await s.read(f"{box}/u.1") == b"a mail"


async def test_a_rename_of_a_directory_that_breaks_off_is_undone(tmp_path: Path) -> None:
    """By the process itself as soon as the node answers, and by the next one."""
    node = MemoryNode()
    async with stage(tmp_path, node) as s:
        await s.mkdir("u1")
        box = await folder(s, "Work")
        await s.deliver(box, 2, b"another")
        for uid in range(3, 30):
            await s.deliver(box, uid, b"mail %d" % uid)
        before = s.node.bucket.bodies()
        s.node.fail("delete", Doubt("no answer"), lasting=True)
        await refused(s.rename(f"{ROOT}/Work", f"{ROOT}/Projects"), errno.EIO)
        assert any("Projects" in key for key in s.node.bucket.bodies())
        await refused(s.read(f"{box}/u.1"), errno.EIO)
        s.node.heal()
        assert await s.read(f"{box}/u.2") == b"another"
        assert s.node.bucket.bodies() == before
        s.node.fail("delete", Doubt("no answer"), lasting=True)
        await refused(s.rename(f"{ROOT}/Work", f"{ROOT}/Projects"), errno.EIO)
    node.heal()
    async with stage(tmp_path, node) as s:
        assert s.node.bucket.bodies() == before
        assert not await s.exists(f"{ROOT}/Projects")
        await s.rename(f"{ROOT}/Work", f"{ROOT}/Projects")
        assert await s.read(f"{ROOT}/Projects/dbox-Mails/u.1") == b"a mail"


async def test_who_reads_in_a_directory_that_is_renamed_waits_and_finds_its_mail(tmp_path: Path) -> None:
    """Half of the mails have their new names already: for Dovecot, those would be lost."""
    async with stage(tmp_path) as s:
        await s.mkdir("u1")
        box = await folder(s, "Work")
        gate = s.node.gate("delete")
        async with s.at(f"{box}/u.1") as node:
            rename = asyncio.create_task(s.rename(f"{ROOT}/Work", f"{ROOT}/Projects"))
            gate.allow(1)
            await gate.reached(2)
            assert f"{box}/u.1" not in s.node.bucket.bodies()
            read = asyncio.create_task(s.fs.open(node, 0, s.who))
            stat = asyncio.create_task(s.fs.getattr(node, None, s.who))
            for _ in range(100):
                await asyncio.sleep(0)
            assert not read.done()
            assert not stat.done()
            gate.open()
            await rename
            opened = await read
            assert bytes(await s.fs.read(node, opened.handle, 0, 100, s.who)) == b"a mail"
            await s.fs.release(node, opened.handle)
            assert (await stat)[0].size == len(b"a mail")
