"""A file system that forgets what was not fsynced, really mounted: a process of its own on ``tierproxy.fuse``.

    with forgetful(directory) as fs:      # mounted at fs.point
        ...                               # programs work below fs.point
        fs.leave(Cut(), into, at=17)      # what is left if the power fails after the 17th operation, as plain files
        fs.stop(fs.count() + 5)           # the 5th from now, and all after it, hang ...
        ...                               # ... so kill who works there
        fs.fail(Cut(0.5, seed=1))         # and go on with what is left, in place

Operations are what changes something: writes, truncates, changes of names, fsyncs. A client's ``write`` comes as it was
made, up to 1 MiB at a time: the kernel caches reads, and nothing that is written. Files can be mapped (SQLite's -shm
has to be); what is written to a ``-shm`` file is nobody's, and neither counted nor kept.

Commands come by a unix socket, one JSON object a line. The process ends with its parent.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tierproxy.clock import SystemClock
from tierproxy.fuse.mounting import MountOptions
from tierproxy.fuse.operations import Attributes, Caller, Change, DirectoryEntry, Found, Opened, Space
from tierproxy.fuse.session import Session
from tierproxy.ports import Clock
from tierproxy.testing.children import clean_environment, take_away
from tierproxy.testing.forgetful_disk import (
    Cut,
    Entry,
    ForgetfulDisk,
    Made,
    Names,
    Operation,
    Sync,
    Truncate,
    Write,
)

NOREPLACE = 1  #: of renameat2(2)
PLENTY = 1 << 36  #: bytes free, always
ENDING = 20.0  #: seconds


class ForgetfulFs:
    """Operations of the kernel on ``disk``. Modes are kept; owners and times are not.

    ``stop_at``: from this operation on everything that changes something hangs, until ``go_on``, and then fails.
    """

    def __init__(self, disk: ForgetfulDisk, clock: Clock) -> None:
        self.disk = disk
        self.stop_at: int | None = None
        self.stopped = asyncio.Event()
        self._again = asyncio.Event()
        self._born = clock.now()
        self._handles = 0
        self._listings: dict[int, list[DirectoryEntry]] = {}

    def go_on(self) -> None:
        """What hangs fails with EIO; what comes from now on is done."""
        self.stop_at = None
        self.stopped.clear()
        self._again.set()
        self._again = asyncio.Event()

    async def _do(self, one: Operation) -> None:
        if self.stop_at is not None and self.disk.count + 1 >= self.stop_at:
            self.stopped.set()
            await self._again.wait()
            raise OSError(errno.EIO, "the machine has stopped")
        self.disk.do(one)

    # ------------------------------------------------------------ names

    async def lookup(self, parent: int, name: bytes, who: Caller) -> Found:
        return self._found(self._child(parent, name))

    def forget(self, node: int, count: int) -> None:
        """Nodes are kept until the next power failure."""

    async def readlink(self, node: int, who: Caller) -> bytes:
        raise OSError(errno.EINVAL, "no links here")

    async def symlink(self, parent: int, name: bytes, target: bytes, who: Caller) -> Found:
        raise OSError(errno.EPERM, "no links here")

    async def link(self, node: int, parent: int, name: bytes, who: Caller) -> Found:
        raise OSError(errno.EPERM, "no links here")

    async def mknod(self, parent: int, name: bytes, mode: int, device: int, who: Caller) -> Found:
        return self._found(await self._make("create", parent, name, mode))

    async def mkdir(self, parent: int, name: bytes, mode: int, who: Caller) -> Found:
        return self._found(await self._make("mkdir", parent, name, stat.S_IFDIR | mode))

    async def create(self, parent: int, name: bytes, mode: int, flags: int, who: Caller) -> tuple[Found, Opened]:
        node = await self._make("create", parent, name, mode)
        return self._found(node), self._opened()

    async def unlink(self, parent: int, name: bytes, who: Caller) -> None:
        self._child(parent, name)
        await self._do(Names("unlink", (Entry(parent, name, None),)))

    async def rmdir(self, parent: int, name: bytes, who: Caller) -> None:
        if self._directory(self._child(parent, name)):
            raise OSError(errno.ENOTEMPTY, "not empty")
        await self._do(Names("rmdir", (Entry(parent, name, None),)))

    async def rename(self, parent: int, name: bytes, new_parent: int, new_name: bytes, flags: int, who: Caller) -> None:
        node = self._child(parent, name)
        if flags & ~NOREPLACE:
            raise OSError(errno.EINVAL, "no exchange here")
        if flags & NOREPLACE and new_name in self._directory(new_parent):
            raise OSError(errno.EEXIST, "taken")
        await self._do(Names("rename", (Entry(parent, name, None), Entry(new_parent, new_name, node))))

    async def _make(self, kind: str, parent: int, name: bytes, mode: int) -> int:
        if name in self._directory(parent):
            raise OSError(errno.EEXIST, "taken")
        node = self.disk.new_node()
        await self._do(Names(kind, (Entry(parent, name, node),), Made(node, mode)))
        return node

    def _directory(self, node: int) -> dict[bytes, int]:
        try:
            return self.disk.live.directories[node]
        except KeyError:
            raise OSError(errno.ESTALE, "the power has failed since") from None

    def _child(self, parent: int, name: bytes) -> int:
        try:
            return self._directory(parent)[name]
        except KeyError:
            raise OSError(errno.ENOENT, "no such name") from None

    # ------------------------------------------------------------ attributes

    def _found(self, node: int) -> Found:
        return Found(node, self._attributes(node))

    def _attributes(self, node: int) -> Attributes:
        mode = self.disk.live.modes.get(node)
        if mode is None:
            raise OSError(errno.ESTALE, "the power has failed since")
        size = 0 if stat.S_ISDIR(mode) else len(self.disk.live.contents[node])
        return Attributes(node, mode, size, self._born, self._born, self._born, os.getuid(), os.getgid())

    async def getattr(self, node: int, handle: int | None, who: Caller) -> tuple[Attributes, float]:
        return self._attributes(node), 0.0

    async def setattr(self, node: int, change: Change, who: Caller) -> tuple[Attributes, float]:
        found = self._attributes(node)
        if change.size is not None:
            await self._do(Truncate(node, change.size))
        if change.mode is not None:  # durable at once: nothing rests on it
            self.disk.live.modes[node] = stat.S_IFMT(found.mode) | change.mode & 0o7777
        return self._attributes(node), 0.0

    async def statfs(self, who: Caller) -> Space:
        return Space(total=PLENTY, free=PLENTY, available=PLENTY, files=1 << 20, files_free=1 << 20)

    # ------------------------------------------------------------ files

    def _opened(self) -> Opened:
        self._handles += 1
        return Opened(self._handles, keep=True)

    async def open(self, node: int, flags: int, who: Caller) -> Opened:
        if flags & os.O_TRUNC and self._attributes(node).size:
            await self._do(Truncate(node, 0))
        return self._opened()

    async def read(self, node: int, handle: int, offset: int, size: int, who: Caller) -> bytes:
        try:
            return bytes(self.disk.live.contents[node][offset : offset + size])
        except KeyError:
            raise OSError(errno.ESTALE, "the power has failed since") from None

    async def write(self, node: int, handle: int, offset: int, data: memoryview, who: Caller) -> int:
        self._attributes(node)
        one = Write(node, offset, bytes(data))
        if self.disk.volatile(node):
            self.disk.do(one)
        else:
            await self._do(one)
        return len(one.data)

    async def flush(self, node: int, handle: int, who: Caller) -> None:
        """Closing a file makes nothing durable."""

    async def release(self, node: int, handle: int) -> None:
        """Nor does this."""

    async def fsync(self, node: int, handle: int, data_only: bool, who: Caller) -> None:
        if not self.disk.volatile(node):
            await self._do(Sync(node))

    # ------------------------------------------------------------ directories

    async def opendir(self, node: int, who: Caller) -> Opened:
        names = self._directory(node)
        entries = [DirectoryEntry(name, node, stat.S_IFDIR) for name in (b".", b"..")]
        modes = self.disk.live.modes
        entries += [DirectoryEntry(name, child, stat.S_IFMT(modes[child])) for name, child in names.items()]
        opened = self._opened()
        self._listings[opened.handle] = entries
        return opened

    async def readdir(self, node: int, handle: int, offset: int, who: Caller) -> Sequence[DirectoryEntry]:
        return self._listings[handle][offset : offset + 500]

    async def releasedir(self, node: int, handle: int) -> None:
        del self._listings[handle]

    async def fsyncdir(self, node: int, handle: int, data_only: bool, who: Caller) -> None:
        await self._do(Sync(node, "fsync_dir"))


class Desk:
    """Answers commands; ``ended`` is set by the last one, and when its client is gone."""

    def __init__(self, fs: ForgetfulFs) -> None:
        self.ended = asyncio.Event()
        self._fs = fs
        self._disk = fs.disk
        self._commands: dict[str, Callable[..., object]] = {
            "count": lambda: self._disk.count,
            "settle": self._disk.settle,
            "wipe": self._disk.wipe,
            "kinds": self._kinds,
            "leave": self._leave,
            "stop": self._stop,
            "fail": self._fail,
            "end": self.ended.set,
        }

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not self.ended.is_set() and (line := await reader.readline()):
            words = json.loads(line)
            writer.write(json.dumps(await self._answer(words.pop("do"), words)).encode() + b"\n")
            await writer.drain()
        self.ended.set()
        writer.close()

    async def _answer(self, what: str, words: dict[str, Any]) -> dict[str, object]:
        try:
            if what == "stopped":
                await asyncio.wait_for(self._fs.stopped.wait(), words["seconds"])
                return {"answer": None}
            return {"answer": self._commands[what](**words)}
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is the client's
            return {"error": f"{type(error).__name__}: {error}"}

    def _kinds(self) -> list[tuple[str, str]]:
        return [(one.kind, path) for one, path in zip(self._disk.operations, self._disk.paths, strict=True)]

    def _leave(self, cut: dict[str, Any], into: str, at: int | None) -> str:
        image = self._disk.after(Cut(**cut), at)
        image.save(Path(into))
        return image.digest()

    def _stop(self, at: int | None) -> None:
        self._fs.stop_at = at

    def _fail(self, cut: dict[str, Any]) -> None:
        """First what is left, then the answers to those who hang: whatever they do with them is done to nobody."""
        self._disk.fail(Cut(**cut))
        self._fs.go_on()


async def run(point: Path, path: Path) -> None:
    """Serve the file system at ``point`` and commands at ``path``, until told or until the client leaves."""
    clock = SystemClock()
    fs = ForgetfulFs(ForgetfulDisk(), clock)
    desk = Desk(fs)
    session = Session(point, MountOptions(name="forgetful", source="forgetful"), clock, patience=1.0)
    async with session.serving(fs):
        server = await asyncio.start_unix_server(desk.serve, path)
        async with server:
            await desk.ended.wait()
        fs.go_on()


# -------------------------------------------------------------------------------- the client


class CommandFailed(Exception):
    """The file system's process could not do what it was told."""


class Forgetful:
    """The commands. Blocking; not by who serves a program that waits for the file system."""

    def __init__(self, point: Path, connection: socket.socket) -> None:
        self.point = point
        self._connection = connection
        self._answers = connection.makefile("rb")

    def count(self) -> int:
        """Operations since the beginning (mounting, ``settle``, ``wipe`` or ``fail``, whichever was last)."""
        return int(self._ask("count"))

    def kinds(self) -> list[tuple[str, str]]:
        """What they were: kind and path."""
        return [(kind, path) for kind, path in self._ask("kinds")]

    def settle(self) -> None:
        """Everything so far is durable; counting begins again."""
        self._ask("settle")

    def wipe(self) -> None:
        """An empty disk. While nobody uses it."""
        self._ask("wipe")

    def leave(self, cut: Cut, into: Path, at: int | None = None) -> str:
        """Write what is left when the power fails after ``at`` operations (None: all) into ``into``, a directory that
        is not there yet; return a digest of it. The file system goes on as if nothing had happened."""
        return str(self._ask("leave", cut=asdict(cut), into=str(into), at=at))

    def stop(self, at: int | None) -> None:
        """Operation number ``at`` and all after it hang; None: none does."""
        self._ask("stop", at=at)

    def stopped(self, seconds: float = 60.0) -> None:
        """Wait until one does. Raises CommandFailed: nothing came so far within ``seconds``."""
        self._ask("stopped", seconds=seconds)

    def fail(self, cut: Cut) -> None:
        """The power fails, and is there again. What hung before fails with EIO, so whoever it was should be killed."""
        self._ask("fail", cut=asdict(cut))

    def end(self) -> None:
        """Unmount."""
        self._ask("end")
        self._answers.close()
        self._connection.close()

    def _ask(self, what: str, **words: object) -> Any:
        self._connection.sendall(json.dumps({"do": what, **words}).encode() + b"\n")
        line = self._answers.readline()
        found = json.loads(line) if line else {"error": "it is gone"}
        if "error" in found:
            raise CommandFailed(f"{what}: {found['error']}")
        return found["answer"]


@contextmanager
def forgetful(directory: Path) -> Iterator[Forgetful]:
    """Mounted at ``directory``/disk (made) while inside. As root, and with /dev/fuse."""
    point, path = directory / "disk", directory / "forgetful.sock"
    point.mkdir()
    command = [sys.executable, "-m", "tierproxy.testing.forgetful_fs", str(point), str(path)]
    with subprocess.Popen(command, env=clean_environment(), stdin=subprocess.DEVNULL) as process:
        try:
            fs = Forgetful(point, _connected(path, process))
            yield fs
            fs.end()
            process.wait(ENDING)
        finally:
            process.kill()
            take_away(point)
            path.unlink(missing_ok=True)


def _connected(path: Path, process: subprocess.Popen[bytes]) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    for _ in range(1000):
        try:
            connection.connect(str(path))
        except OSError:
            if process.poll() is not None:
                break
            _wait(process)
        else:
            return connection
    connection.close()
    raise CommandFailed("the file system did not start")


def _wait(process: subprocess.Popen[bytes]) -> None:
    """A moment, or until ``process`` ends."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(0.01)


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), Path(sys.argv[2])))
