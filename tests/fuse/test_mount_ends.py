"""However a mount ends, nothing stays that hangs."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import uvloop

from tests.fuse.world import line, memory_mount, needs_fuse, tell, until
from tierproxy.clock import SystemClock
from tierproxy.fuse.mounting import FUSERMOUNT, CannotMount, MountOptions, mounted, unmount
from tierproxy.fuse.point import AlreadyMounted, BadPoint, clear, dead, examine
from tierproxy.fuse.session import serve
from tierproxy.testing.memory_fs import MemoryFs

pytestmark = needs_fuse
KIND = "fuse.tierproxy"
SERVER = """
import asyncio, sys
from pathlib import Path
from tierproxy.clock import SystemClock
from tierproxy.fuse.mounting import MountOptions
from tierproxy.fuse.session import serve
from tierproxy.testing.memory_fs import MemoryFs

async def main():
    async with serve(MemoryFs, Path(sys.argv[1]), MountOptions(), SystemClock()):
        print("mounted", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_an_unmount_by_somebody_else_is_noticed(tmp_path: Path) -> None:
    async with memory_mount(tmp_path) as world:
        await world.run("os.chdir('/')\nimport subprocess; subprocess.run(['umount', here], check=True)")
        async with asyncio.timeout(60):
            await world.ended.wait()


def test_an_unmount_is_noticed_by_a_loop_of_uvloop_as_well(tmp_path: Path) -> None:
    async def noticed() -> None:
        async with memory_mount(tmp_path) as world:
            world.fs.add(b"a", b"content")
            shell = "test $(cat a) = content && cd / && umount $OLDPWD"
            done = await asyncio.to_thread(subprocess.run, ["sh", "-c", shell], cwd=world.point, check=False)
            assert done.returncode == 0
            async with asyncio.timeout(60):
                await world.ended.wait()

    uvloop.run(noticed())


async def test_a_mount_in_use_is_taken_away_and_its_open_files_fail(tmp_path: Path) -> None:
    async with memory_mount(tmp_path) as world:
        world.fs.add(b"a", b"content")
        child = await world.begin("""
fd = os.open("a", os.O_RDONLY); print("open"); sys.stdout.flush(); input()
fails(errno.ENOTCONN, os.pread, fd, 5, 0); print("failed")
""")
        assert await line(child) == "open"
    assert not mounted(world.point)
    await tell(child)
    assert await line(child) == "failed"
    await child.communicate()


async def test_an_exception_inside_unmounts(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with memory_mount(tmp_path):
            raise ZeroDivisionError
    assert not mounted(tmp_path / "mnt")


async def test_a_request_under_way_is_answered_before_the_end(tmp_path: Path) -> None:
    async with memory_mount(tmp_path) as world:
        slow = world.fs.add(b"slow", b"content")
        slow.gate = asyncio.Event()
        child = await world.begin("os.rename('slow', 'new')")
        await until(lambda: world.session.waiting == 1)
        asyncio.get_running_loop().call_later(0.05, slow.gate.set)
    await child.communicate()
    assert child.returncode == 0
    assert list(world.fs.root.children) == [b"new"]


async def test_a_notice_that_waits_for_a_directory_does_not_keep_the_end_waiting(tmp_path: Path) -> None:
    async with memory_mount(tmp_path, believe=3600) as world:
        slow = world.fs.add(b"slow-to-find")
        slow.gate = asyncio.Event()
        child = await world.begin("fails(errno.EINTR, os.stat, 'slow-to-find')")
        await until(lambda: world.session.waiting == 1)
        world.notifier.forget_name(1, b"slow-to-find")
        world.session._patience = 0.1
    await child.communicate()
    assert child.returncode == 0


async def test_what_cannot_be_mounted_says_why(tmp_path: Path) -> None:
    with pytest.raises(CannotMount, match="No such file"):
        async with serve(MemoryFs, tmp_path / "missing", MountOptions(), SystemClock()):
            pass


@pytest.mark.skipif(not shutil.which(FUSERMOUNT), reason="no fusermount3")
async def test_who_may_not_mount_has_fusermount_do_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 5000)
    async with memory_mount(tmp_path) as world:
        (line,) = mounted(world.point)
        assert (line.kind, line.source) == (KIND, "tierproxy")
        await world.run("os.mkdir('d')")


async def test_a_mount_is_named_as_asked(tmp_path: Path) -> None:
    options = MountOptions("example", "somewhere:bucket/a b")
    async with serve(MemoryFs, tmp_path, options, SystemClock()) as session:
        (line,) = mounted(tmp_path)
        assert (line.kind, line.source) == ("fuse.example", "somewhere:bucket/a b")
        assert repr(session) == f"<Session {tmp_path}>"


def serving(point: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(point)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "mounted\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    if process.stdout:
        process.stdout.close()


def test_a_killed_server_leaves_a_dead_mount_that_is_cleared(tmp_path: Path) -> None:
    point = tmp_path / "m nt"
    point.mkdir(0o755)
    process = serving(point)
    held = os.open(point, os.O_RDONLY)
    try:
        assert not dead(point)
        with pytest.raises(AlreadyMounted, match="already"):
            clear(point, KIND)
        end(process)
        with pytest.raises(OSError, match="not connected"):
            point.stat()
        assert dead(point)
        assert clear(point, KIND) == 1
    finally:
        os.close(held)
        end(process)
        if mounted(point):
            unmount(point, lazily=True)
    assert not mounted(point)
    assert clear(point, KIND) == 0
    asyncio.run(used_again(tmp_path))


async def used_again(directory: Path) -> None:
    (directory / "mnt").mkdir(exist_ok=True)
    async with memory_mount(directory) as world:
        await world.run("os.mkdir('d')")


def test_a_frozen_server_is_not_taken_for_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tierproxy.fuse.point.ANSWER", 0.2)
    point = tmp_path / "mnt"
    point.mkdir()
    process = serving(point)
    try:
        process.send_signal(signal.SIGSTOP)
        assert not dead(point)
    finally:
        end(process)
        unmount(point, lazily=True, force=True)


def test_a_foreign_file_system_is_left_alone(tmp_path: Path) -> None:
    point = tmp_path / "mnt"
    point.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(point)], check=True)
    try:
        with pytest.raises(AlreadyMounted, match="tmpfs"):
            clear(point, KIND)
    finally:
        unmount(point)


# ------------------------------------------------------------ the mount point


@pytest.fixture
def point(tmp_path: Path) -> Path:
    path = tmp_path / "mnt"
    path.mkdir(0o755)
    path.chmod(0o755)
    return path


def test_a_good_mount_point_is_roots_0755_and_empty(point: Path) -> None:
    examine(point, 5000, 5000)


def test_a_mount_point_that_is_not_there_is_said_how_to_be_made(point: Path) -> None:
    with pytest.raises(BadPoint) as caught:
        examine(point / "missing", 5000, 5000)
    assert caught.value.hint == f"install -d -o root -g root -m 0755 {point}/missing"


def test_a_file_is_not_a_mount_point(point: Path) -> None:
    (point / "file").touch()
    with pytest.raises(BadPoint, match="not a directory"):
        examine(point / "file", 5000, 5000)


def test_a_mount_point_others_may_write_to_is_refused(point: Path) -> None:
    point.chmod(0o775)
    with pytest.raises(BadPoint, match="mode 0775"):
        examine(point, 5000, 5000)


def test_a_mount_point_with_mail_in_it_is_refused(point: Path) -> None:
    (point / "u.1").touch()
    with pytest.raises(BadPoint, match="not empty"):
        examine(point, 5000, 5000)


@pytest.mark.parametrize(("mode", "fine"), [(0o777, False), (0o1777, True), (0o755, True), (0o775, True)])
def test_a_mount_point_that_could_be_replaced_is_refused(point: Path, mode: int, fine: bool) -> None:
    point.parent.chmod(mode)
    if fine:
        examine(point, 5000, 5000)
    else:
        with pytest.raises(BadPoint, match="may write to"):
            examine(point, 5000, 5000)
