"""Where the data directory lies: a small file system that can be filled and broken, for who may mount one."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FILLER = "not-ours"
BUSY = 15.0  #: seconds in which who has files of it open lets go
LEAVES = (0, 64 * 1024, 1024 * 1024)  #: bytes that a full disk may still have


class Volume:
    """A directory. ``small``: it is a file system of its own, so it may be filled; ``breakable``: one that can be made
    to fail."""

    small = False
    breakable = False
    failed = False

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.root / "data"

    def fill(self, leave: int) -> None:
        """Somebody else's file takes all room but ``leave`` bytes."""
        with suppress(OSError), (self.root / FILLER).open("ab", buffering=0) as file:
            while True:
                found = os.statvfs(self.root)
                free = found.f_bavail * found.f_frsize - leave
                if free <= 0:
                    return
                os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), min(free, 2**24))

    def starve(self) -> None:
        """Somebody else's files take all inodes."""
        directory = self.root / f"{FILLER}-many"
        with suppress(OSError):
            directory.mkdir(exist_ok=True)
            for number in range(10**6):
                (directory / str(number)).touch()

    def fail(self) -> None:
        """From now on everything that would change it is refused (EROFS), also through what is open."""
        raise NotImplementedError

    def repair(self) -> None:
        """It can be changed again. Nobody has a file of it open."""

    def unmount(self) -> None:
        """Nothing is left of it."""

    def relieve(self) -> None:
        """What others put there goes."""
        (self.root / FILLER).unlink(missing_ok=True)
        directory = self.root / f"{FILLER}-many"
        if directory.exists():
            for path in directory.iterdir():
                path.unlink()
            directory.rmdir()


class Memory(Volume):
    """A tmpfs."""

    small = True

    def __init__(self, root: Path, megabytes: int, inodes: int) -> None:
        super().__init__(root)
        _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,nr_inodes={inodes}", "tierproxy-torture", str(root))

    def unmount(self) -> None:
        _run("umount", "-l", str(self.root))


class Image(Volume):
    """An ext4 in a file, on a loop device. When it is made to meet an error it does what ext4 does then: no more
    changes, until it was unmounted and checked."""

    small = breakable = True

    def __init__(self, root: Path, megabytes: int, inodes: int) -> None:
        super().__init__(root)
        self.failed = False
        self._image = root.with_suffix(".ext4")
        with self._image.open("wb") as file:
            file.truncate(megabytes * 2**20)
        _run("mkfs.ext4", "-q", "-m", "0", "-N", str(inodes), str(self._image))
        self._device = _run("losetup", "--find", "--show", str(self._image)).strip()
        try:
            self._mount()
        except VolumeFailed:
            _run("losetup", "-d", self._device)
            raise

    def fail(self) -> None:
        trigger = Path("/sys/fs/ext4") / Path(self._device).name / "trigger_fs_error"
        trigger.write_text("1")
        self.failed = True

    def repair(self) -> None:
        if self.failed:
            _patiently(lambda: _run("umount", str(self.root)))
            _patiently(lambda: _run("e2fsck", "-fy", self._device, fine=(0, 1)))
            self._mount()
            self.failed = False

    def unmount(self) -> None:
        with suppress(VolumeFailed):  # a repair broke off
            _run("umount", "-l", str(self.root))
        _run("losetup", "-d", self._device)

    def _mount(self) -> None:
        _run("mount", "-o", "errors=remount-ro", self._device, str(self.root))


class VolumeFailed(Exception):
    """A program that makes or mounts file systems refuses."""


def _patiently(work: Callable[[], object]) -> None:
    """Again while somebody who looks at it for a moment (the harness itself, another mount namespace) keeps it."""
    deadline = time.monotonic() + BUSY
    while True:
        try:
            work()
        except VolumeFailed:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def _run(*command: str, fine: tuple[int, ...] = (0,)) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise VolumeFailed(str(error)) from error
    if done.returncode not in fine:
        raise VolumeFailed(f"{' '.join(command)}: {done.stderr}")
    return done.stdout


@contextmanager
def volume(where: Path, megabytes: int, inodes: int) -> Iterator[Volume]:
    """Below ``where``, the best that this process may have."""
    made = _made(where, megabytes, inodes)
    try:
        yield made
    finally:
        made.unmount()


def _made(where: Path, megabytes: int, inodes: int) -> Volume:
    where.mkdir()
    if os.geteuid() == 0:
        for number, kind in enumerate((Image, Memory)):
            with suppress(VolumeFailed):
                return kind(where / str(number), megabytes, inodes)
    return Volume(where / "plain")
