"""What a delivery costs in requests of the kernel to the mount: really mounted, over a node in memory.

The system calls are those of Dovecot 2.3's lmtp for one mail, in their order. Each request is a wake-up of the mount,
so none may creep in.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fuse.world import needs_fuse
from tierproxy.clock import SystemClock
from tierproxy.disk.fsio import Files
from tierproxy.fuse.mounting import MountOptions
from tierproxy.fuse.notify import Notifier
from tierproxy.fuse.protocol import Opcode
from tierproxy.fuse.session import Session
from tierproxy.mount.filesystem import Filesystem
from tierproxy.mount.scratch import Scratch
from tierproxy.mount.settings import MountSettings
from tierproxy.offload import ThreadPool
from tierproxy.testing.memory_node import MemoryNode

pytestmark = needs_fuse
BOX = "u1/mailboxes/INBOX/dbox-Mails"
SETTINGS = MountSettings(uid=os.getuid(), gid=os.getgid())
CHILD = r"""
import os, sys, traceback
os.chdir(sys.argv[1])
BOX = "u1/mailboxes/INBOX/dbox-Mails"

def there(path):
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True

def listed(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fstat(fd)
        return sorted(os.listdir(fd))
    finally:
        os.close(fd)

def deliver(uid):
    try:
        os.readlink("u1/dbox-alt-root")
    except FileNotFoundError:
        pass
    os.stat("u1/mailboxes/INBOX")
    temporary = f"{BOX}/.temp.1763772000.P1Q{uid}M1.host"
    fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    os.fstat(fd)
    os.write(fd, b"h" * 16)
    os.write(fd, b"b" * 9000)
    os.pwrite(fd, b"H" * 30, 16)
    os.fdatasync(fd)
    os.close(fd)
    assert not there(f"{BOX}/u.{uid}")
    os.rename(temporary, f"{BOX}/u.{uid}")
    fd = os.open(BOX, os.O_RDONLY)
    os.fdatasync(fd)
    os.close(fd)
    listed("u1/mailboxes")
    listed("u1/mailboxes/INBOX")

for line in sys.stdin:
    try:
        print(repr(eval(line)), flush=True)
    except BaseException:
        print(traceback.format_exc().replace("\n", " | "), flush=True)
"""


@dataclass
class Mounted:
    node: MemoryNode
    session: Session
    child: asyncio.subprocess.Process

    async def does(self, expression: str) -> str:
        """What the child says to it."""
        assert self.child.stdin
        assert self.child.stdout
        self.child.stdin.write(f"{expression}\n".encode())
        await self.child.stdin.drain()
        async with asyncio.timeout(60):
            return (await self.child.stdout.readline()).decode().strip()

    async def told(self) -> None:
        """What the node has said is heard, and the kernel knows it."""
        for _ in range(20):
            await asyncio.sleep(0)
        assert isinstance(self.session.kernel, Notifier)
        await self.session.kernel.settled()

    async def asked(self, expression: str) -> Counter[str]:
        """Requests that it costs, those that nobody waits for (release, forget) among them."""
        before = self._counts()
        assert await self.does(expression) == "None"
        await self.does("os.statvfs('.').f_bsize")  # whatever came before was read before
        counts = self._counts()
        counts.subtract(before)
        counts["statfs"] -= 1
        return +counts

    def _counts(self) -> Counter[str]:
        return Counter({opcode.name.lower(): self.session.asked.of(opcode) for opcode in Opcode})


@asynccontextmanager
async def mounted(root: Path, settings: MountSettings = SETTINGS) -> AsyncIterator[Mounted]:
    """A mailbox of an sdbox, and a child process that uses it."""
    node = MemoryNode()
    for directory in ("u1/", "u1/mailboxes/", "u1/mailboxes/INBOX/", f"{BOX}/"):
        node.bucket.mark(directory)
    point = root / "mnt"
    point.mkdir()
    clock, threads = SystemClock(), ThreadPool("scratch", 2)
    session = Session(point, MountOptions(), clock, patience=5)
    fs = Filesystem(node, session.kernel, Scratch(root / "scratch", Files(), threads), settings, clock, threads)
    await fs.start()
    life = asyncio.create_task(fs.run())
    try:
        while not node.fresh:
            await asyncio.sleep(0)
        async with session.serving(fs):
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", "-c", CHILD, str(point), stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            try:
                yield Mounted(node, session, child)
            finally:
                await child.communicate(b"")
    finally:
        life.cancel()
        await asyncio.wait([life])
        await fs.close()
        await threads.close()


async def test_requests_of_a_delivery(tmp_path: Path) -> None:
    async with mounted(tmp_path) as m:
        for uid in (1, 2):
            await m.asked(f"deliver({uid})")
        assert await m.asked("deliver(3)") == {
            "lookup": 3,  # the scratch name before it is made, the mail's by stat and by rename
            "create": 1, "write": 3, "fsync": 1, "release": 1, "rename": 1,
            "getattr": 2,  # of dbox-Mails, which has changed twice: the kernel checks permissions
            "opendir": 3, "releasedir": 3,
        }  # fmt: skip
        body = b"h" * 16 + b"H" * 30 + b"b" * 8970
        assert [m.node.bucket.objects[f"{BOX}/u.{uid}"].body for uid in (1, 2, 3)] == [body] * 3


async def test_a_name_that_is_not_there_is_asked_for_once_until_somebody_makes_it(tmp_path: Path) -> None:
    async with mounted(tmp_path) as m:
        assert await m.does("there('u1/Sent')") == "False"
        assert await m.asked("there('u1/Sent') or None") == {}
        m.node.bucket.keep("u1/Sent/deep/u.1", b"x")
        await m.told()
        assert await m.does("there('u1/Sent')") == "True"
        m.node.bucket.remove("u1/Sent/deep/u.1")
        await m.told()
        assert await m.does("there('u1/Sent')") == "False"
        assert await m.does("os.mkdir('u1/Sent')") == "None"
        assert await m.does("there('u1/Sent')") == "True"


async def test_nothing_is_believed_missing_while_changes_are_not_heard(tmp_path: Path) -> None:
    async with mounted(tmp_path) as m:
        assert await m.does("there('u1/Sent')") == "False"
        m.node.lose_feed()
        m.node.find_feed()
        await m.told()
        m.node.lose_feed()
        for _ in range(2):
            assert (await m.asked("there('u1/Sent') or None"))["lookup"] >= 1
        m.node.bucket.listeners, listeners = [], m.node.bucket.listeners
        m.node.bucket.keep("u1/Sent/u.1", b"x")
        m.node.bucket.listeners = listeners
        assert await m.does("there('u1/Sent')") == "True"


async def test_a_node_that_is_lost_is_an_io_error_also_for_what_was_not_there(tmp_path: Path) -> None:
    async with mounted(tmp_path) as m:
        assert await m.does("there('u1/Sent')") == "False"
        m.node.down = True
        m.node.find_feed()
        await m.told()
        assert "Input/output error" in await m.does("there('u1/Sent')")


async def test_a_failed_delivery_leaves_no_name_that_is_believed_missing(tmp_path: Path) -> None:
    async with mounted(tmp_path) as m:
        assert await m.does("there('u1/note')") == "False"
        m.node.fail("put", after=True)
        assert "Input/output error" in await m.does("open('u1/note', 'wb').close()")
        await m.told()
        assert await m.does("there('u1/note')") == "True"


async def test_a_directory_is_read_once_until_something_changes_in_it(tmp_path: Path) -> None:
    async with mounted(tmp_path) as m:
        again = {"opendir": 1, "releasedir": 1}
        for _ in range(2):
            assert await m.does("listed('u1/mailboxes')") == "['INBOX']"
        assert await m.asked("listed('u1/mailboxes') and None") == again
        m.node.bucket.mark("u1/mailboxes/Sent/")
        await m.told()
        assert await m.does("listed('u1/mailboxes')") == "['INBOX', 'Sent']"
        await m.does("os.stat('u1/mailboxes')")
        assert await m.asked("listed('u1/mailboxes') and None") == again
        assert await m.does("os.mkdir('u1/mailboxes/Trash')") == "None"
        assert await m.does("listed('u1/mailboxes')") == "['INBOX', 'Sent', 'Trash']"
        assert await m.does("os.rmdir('u1/mailboxes/Trash')") == "None"
        m.node.bucket.remove("u1/mailboxes/Sent/")
        await m.told()
        assert await m.does("listed('u1/mailboxes')") == "['INBOX']"
        m.node.lose_feed()
        m.node.bucket.mark("u1/mailboxes/Unheard/")
        assert await m.does("listed('u1/mailboxes')") == "['INBOX', 'Unheard']"


async def test_who_has_read_half_of_a_directory_leaves_nothing_old_for_others(tmp_path: Path) -> None:
    async with mounted(tmp_path) as m:
        await m.does("globals().update(half=os.scandir('u1/mailboxes'))")
        m.node.bucket.mark("u1/mailboxes/A/")
        await m.told()
        assert await m.does("listed('u1/mailboxes')") == "['A', 'INBOX']"
        assert await m.does("[one.name for one in half]") == "['INBOX']"
        assert await m.does("listed('u1/mailboxes')") == "['A', 'INBOX']"
        assert await m.does("listed('u1/mailboxes')") == "['A', 'INBOX']"


async def test_a_scratch_file_is_mapped_by_who_opens_it_again(tmp_path: Path) -> None:
    async with mounted(tmp_path) as m:
        temporary, mail = f"{BOX}/.temp.1", f"{BOX}/u.1"
        await m.does("globals().update(mmap=__import__('mmap').mmap)")
        await m.does(f"globals().update(fd=os.open({temporary!r}, os.O_RDWR | os.O_CREAT))")
        await m.does("os.write(fd, b'a' * 5000)")
        assert "No such device" in await m.does("mmap(fd, 5000)")
        await m.does(f"globals().update(again=os.open({temporary!r}, os.O_RDWR))")
        await m.does("globals().update(mapped=mmap(again, 5000))")
        await m.does("mapped.__setitem__(0, 98)")
        await m.does("mapped.flush()")
        await m.does(f"os.rename({temporary!r}, {mail!r})")
        assert m.node.bucket.objects[mail].body == b"b" + b"a" * 4999
        await m.does("mapped.__setitem__(1, 99)")
        await m.does("[mapped.close(), os.close(again), os.close(fd)] and None")
        await m.does("os.statvfs('.').f_bsize")
        assert await m.does(f"open({mail!r}, 'rb').read() == b'bc' + b'a' * 4998") == "True"


async def test_a_scratch_file_reads_as_it_was_written_whoever_reads(tmp_path: Path) -> None:
    """Its writes do not go through the kernel's pages; those of others who have it open must not be older."""
    async with mounted(tmp_path) as m:
        temporary, mail = f"{BOX}/.temp.1", f"{BOX}/u.1"
        await m.does(f"globals().update(fd=os.open({temporary!r}, os.O_RDWR | os.O_CREAT))")
        await m.does("os.write(fd, b'a' * 5000)")
        await m.does(f"globals().update(other=os.open({temporary!r}, os.O_RDONLY))")
        assert await m.does("os.pread(other, 9999, 0) == b'a' * 5000 == os.pread(fd, 9999, 0)") == "True"
        await m.does("os.pwrite(fd, b'b' * 5000, 2500)")
        assert await m.does("os.pread(other, 9999, 0) == b'a' * 2500 + b'b' * 5000") == "True"
        assert await m.does("os.fstat(other).st_size") == "7500"
        await m.does(f"os.rename({temporary!r}, {mail!r})")
        await m.does("os.pwrite(fd, b'c', 0)")
        assert await m.does("os.pread(other, 9, 0)") == "b'caaaaaaaa'"
        await m.does("[os.close(one) for one in (fd, other)] and None")
        await m.does("os.statvfs('.').f_bsize")
        assert m.node.bucket.objects[mail].body == b"c" + b"a" * 2499 + b"b" * 5000
        assert await m.does(f"open({mail!r}, 'rb').read() == b'c' + b'a' * 2499 + b'b' * 5000") == "True"
