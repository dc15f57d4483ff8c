"""Every operation, by system calls of another process on a real mount."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from tests.fuse.world import line, memory_mount, needs_fuse, tell, until
from tierproxy.fuse.protocol import Opcode

pytestmark = needs_fuse


async def test_files_are_made_written_read_and_removed(tmp_path: Path) -> None:
    async with memory_mount(tmp_path) as world:
        await world.run("""
fd = os.open("new", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640)
fails(errno.EEXIST, os.open, "new", os.O_CREAT | os.O_EXCL)
assert os.write(fd, b"hello world") == 11
assert os.pwrite(fd, b"H", 0) == 1
assert os.pread(fd, 100, 0) == b"Hello world"
os.fsync(fd); os.fdatasync(fd); os.close(fd)
fd = os.open("new", os.O_WRONLY | os.O_APPEND); os.write(fd, b"!"); os.close(fd)
found = os.stat("new")
assert (found.st_size, found.st_mode, found.st_uid, found.st_nlink) == (12, 0o100640, 0, 1), found
os.truncate("new", 5)
with open("new") as file:
    assert file.read() == "Hello"
os.unlink("new")
fails(errno.ENOENT, os.stat, "new")
""")
        assert world.fs.synced == [False, True]
        assert world.fs.root.children == {}
        assert world.session.asked.of(Opcode.CREATE) == 1


async def test_opening_to_empty_a_file_empties_it(tmp_path: Path) -> None:
    async with memory_mount(tmp_path) as world:
        inode = world.fs.add(b"a", b"content")
        await world.run("os.close(os.open('a', os.O_WRONLY | os.O_TRUNC)); assert os.stat('a').st_size == 0")
        assert not inode.content


async def test_names_move_and_do_not_fall_on_others_unasked(tmp_path: Path) -> None:
    async with memory_mount(tmp_path) as world:
        world.fs.add(b"a", b"A")
        world.fs.add(b"b", b"B")
        world.fs.add(b"c", b"C")
        await world.run("""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
assert libc.renameat2(-100, b"a", -100, b"b", 1) == -1 and ctypes.get_errno() == errno.EEXIST
assert libc.renameat2(-100, b"a", -100, b"new", 1) == 0
os.rename("new", "b")
os.mkdir("d", 0o700); os.rename("b", "d/b")
assert sorted(os.listdir(".")) == ["c", "d"] and os.listdir("d") == ["b"]
fails(errno.ENOTEMPTY, os.rmdir, "d")
os.unlink("d/b"); os.rmdir("d")
fails(errno.EPERM, os.link, "c", "e")
os.symlink("c", "s")
assert os.readlink("s") == "c" and open("s").read() == "C"
os.mkfifo("f"); os.unlink("f")
""")


async def test_modes_owners_and_times_are_set(tmp_path: Path) -> None:
    async with memory_mount(tmp_path) as world:
        inode = world.fs.add(b"a")
        await world.run("""
os.chmod("a", 0o600); os.chown("a", 5000, 5001); os.utime("a", ns=(1500000000, 2250000000))
found = os.stat("a")
assert (found.st_mode, found.st_uid, found.st_gid) == (0o100600, 5000, 5001)
assert (found.st_atime_ns, found.st_mtime_ns) == (1500000000, 2250000000)
os.utime("a"); assert abs(os.stat("a").st_mtime - time.time()) < 60
""")
        assert inode.uid == 5000


async def test_others_are_held_to_owner_and_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    async with memory_mount(tmp_path) as world:
        world.fs.add(b"a").mode = 0o100600
        await world.run("""
os.setgid(65534); os.setuid(65534)
os.stat("a"); fails(errno.EACCES, os.open, "a", os.O_RDONLY); fails(errno.EACCES, os.mkdir, "d")
""")


async def test_a_directory_of_5000_files_is_listed_whole_in_order_of_the_file_system(tmp_path: Path) -> None:
    async with memory_mount(tmp_path, believe=60) as world:
        for number in range(5000):
            world.fs.add(b"u.%d" % number)
        await world.run("""
assert os.listdir(".") == [f"u.{number}" for number in range(5000)]
assert sum(1 for one in os.scandir(".") if one.stat().st_size == 0) == 5000
""")
        assert world.fs.listings == {}


async def test_references_come_back_when_the_kernel_forgets(tmp_path: Path) -> None:
    async with memory_mount(tmp_path, believe=60) as world:
        for number in range(300):
            world.fs.add(b"u.%d" % number)
        await world.run("[one.stat() for one in os.scandir('.')]; [os.unlink(name) for name in os.listdir('.')]")
        await until(lambda: len(world.fs.inodes) == 1)


async def test_what_is_removed_while_open_is_still_read(tmp_path: Path) -> None:
    async with memory_mount(tmp_path) as world:
        world.fs.add(b"a", b"content")
        await world.run("""
fd = os.open("a", os.O_RDONLY); os.unlink("a"); assert os.read(fd, 100) == b"content"; os.close(fd)
""")


async def test_space_is_told(tmp_path: Path) -> None:
    async with memory_mount(tmp_path) as world:
        await world.run("""
space = os.statvfs(".")
assert space.f_frsize * space.f_blocks == 1 << 30 and space.f_bavail * space.f_frsize == 1 << 28, space
""")


async def test_large_writes_and_reads_arrive_whole(tmp_path: Path) -> None:
    async with memory_mount(tmp_path) as world:
        await world.run("""
content = os.urandom(5_000_001)
fd = os.open("a", os.O_RDWR | os.O_CREAT)
assert os.write(fd, content) == len(content)
os.close(fd)
assert open("a", "rb").read() == content
""")
        assert world.session.asked.of(Opcode.WRITE) == 5, "1 MiB each"


async def test_a_direct_read_may_be_answered_short(tmp_path: Path) -> None:
    async with memory_mount(tmp_path) as world:
        world.fs.add(b"a", bytes(5000)).direct = True
        await world.run("fd = os.open('a', os.O_RDONLY); assert len(os.read(fd, 4000)) == 1000")


async def test_what_is_not_supported_fails_as_it_should(tmp_path: Path) -> None:
    async with memory_mount(tmp_path) as world:
        world.fs.add(b"a")
        await world.run("""
import fcntl
fails(errno.EOPNOTSUPP, os.setxattr, "a", "user.x", b"1")
fd = os.open("a", os.O_RDWR)
fcntl.lockf(fd, fcntl.LOCK_EX); fcntl.flock(fd, fcntl.LOCK_EX)
import ctypes
assert ctypes.CDLL(None, use_errno=True).fallocate(fd, 0, 0, 100) == -1
assert ctypes.get_errno() in (0, errno.EOPNOTSUPP)
""")


async def test_a_backed_file_is_read_and_written_without_asking(tmp_path: Path) -> None:
    below = tmp_path / "below"
    below.write_bytes(b"content")
    fd = os.open(below, os.O_RDWR)
    async with memory_mount(tmp_path) as world:
        world.fs.add(b"a").backing = fd
        await world.run("""
fd = os.open("a", os.O_RDWR)
assert os.read(fd, 100) == b"content"
os.pwrite(fd, b"C", 0); os.pwrite(fd, b"more", 7)
os.close(fd)
assert open("a").read() == "Contentmore"
""")
        agreement = world.session.agreement
        passed = agreement is not None and agreement.passthrough
        asked = world.session.asked
        assert not passed or (asked.of(Opcode.READ), asked.of(Opcode.WRITE)) == (0, 0)
        await until(lambda: not world.fs.opens)
    os.close(fd)
    assert not passed or below.read_bytes() == b"Contentmore"


# ------------------------------------------------------------ what the kernel is told


async def test_a_name_that_was_believed_is_asked_for_again(tmp_path: Path) -> None:
    async with memory_mount(tmp_path, believe=3600) as world:
        world.fs.add(b"a", b"old")
        child = await world.begin(
            "print(os.stat('a').st_size); sys.stdout.flush(); input(); print(os.stat('a').st_size)"
        )
        assert await line(child) == "3"
        world.fs.add(b"a", b"another")
        world.notifier.forget_name(1, b"a")
        await world.notifier.settled()
        await tell(child)
        assert await line(child) == "7"
        await child.communicate()


async def test_content_that_was_kept_is_read_again(tmp_path: Path) -> None:
    async with memory_mount(tmp_path, believe=3600) as world:
        inode = world.fs.add(b"a", b"old")
        child = await world.begin("for _ in 'ab':\n    print(open('a').read()); sys.stdout.flush(); input()")
        assert await line(child) == "old"
        inode.content[:] = b"new"
        world.notifier.forget_content(inode.number)
        await world.notifier.settled()
        await tell(child)
        assert await line(child) == "new"
        await tell(child)
        await child.communicate()


async def test_all_names_are_forgotten_at_once_where_the_kernel_can(tmp_path: Path) -> None:
    async with memory_mount(tmp_path, believe=3600) as world:
        world.fs.add(b"a", b"old")
        child = await world.begin(
            "print(os.stat('a').st_size); sys.stdout.flush(); input(); print(os.stat('a').st_size)"
        )
        assert await line(child) == "3"
        world.fs.add(b"a", b"another")
        could = world.notifier.forget_names()
        await world.notifier.settled()
        await tell(child)
        assert await line(child) == ("7" if could else "3")
        await child.communicate()


async def test_pages_that_are_stored_before_an_open_are_not_asked_for(tmp_path: Path) -> None:
    async with memory_mount(tmp_path, believe=3600) as world:
        inode = world.fs.add(b"a", b"content")
        await world.run("os.stat('a')")
        assert world.session.kernel.store(inode.number, 0, b"content")
        assert not world.session.kernel.store(4711, 0, b"content")
        await world.run("assert open('a').read() == 'content'")
        assert world.session.asked.of(Opcode.READ) == 0


async def test_a_name_forgotten_while_somebody_waits_in_its_directory_stops_nobody(tmp_path: Path) -> None:
    async with memory_mount(tmp_path, believe=3600) as world:
        slow = world.fs.add(b"slow-to-find")
        slow.gate = asyncio.Event()
        world.fs.add(b"a", b"old")
        child = await world.begin("os.stat('slow-to-find')")
        await until(lambda: world.session.waiting == 1)
        world.notifier.forget_name(1, b"a")
        await world.run("os.stat('a')")
        slow.gate.set()
        await child.communicate()
        assert child.returncode == 0


# ------------------------------------------------------------ waiting


async def test_a_slow_read_of_one_file_does_not_keep_another_waiting(tmp_path: Path) -> None:
    async with memory_mount(tmp_path) as world:
        slow = world.fs.add(b"slow", b"slow content")
        slow.gate = asyncio.Event()
        world.fs.add(b"fast", b"fast content")
        child = await world.begin("print(open('slow').read())")
        await until(lambda: world.session.waiting >= 1)
        await world.run("assert open('fast').read() == 'fast content'; os.listdir('.'); os.stat('slow')")
        slow.gate.set()
        said, _ = await child.communicate()
        assert said == b"slow content\n"


async def test_a_signal_ends_a_wait_that_changes_nothing(tmp_path: Path) -> None:
    async with memory_mount(tmp_path) as world:
        world.fs.add(b"slow-to-find").gate = asyncio.Event()
        child = await world.begin("""
import signal
signal.signal(signal.SIGUSR1, lambda *_: (_ for _ in ()).throw(KeyError))
try:
    os.stat("slow-to-find")
except KeyError:
    print("interrupted")
""")
        await until(lambda: world.session.waiting >= 1)
        child.send_signal(signal.SIGUSR1)
        said, _ = await child.communicate()
        assert said == b"interrupted\n"
        assert world.session.asked.failures()["lookup", "EINTR"] == 1


async def test_a_killed_process_does_not_take_a_change_with_it(tmp_path: Path) -> None:
    async with memory_mount(tmp_path) as world:
        slow = world.fs.add(b"slow")
        slow.gate = asyncio.Event()
        child = await world.begin("os.rename('slow', 'new')")
        await until(lambda: world.session.waiting == 1)
        child.kill()
        await world.run("os.listdir('.') if False else os.statvfs('.')")
        slow.gate.set()
        await child.communicate()
        assert list(world.fs.root.children) == [b"new"]
