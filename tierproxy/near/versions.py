"""The version table: shared memory that says what must not be believed any more.

2^18 counters of 64 bits in a file of tmpfs that is named after the data directory. Counter 0 is the epoch, each other
one belongs to all names of one hash. Why it is right, and what was refused: docs/decisions/0028-hit-lane.md.

Behind them 2^16 bytes that say of the names of one hash how many changes were sent to alt and not answered: the next
node finds there what a killed one was at (docs/decisions/0002-states.md).

One node writes (it holds the data directory's lock); any process with its rights reads. A store into the table may not
fail, so all of its memory is there before the first one: else the answer to a full tmpfs would be SIGBUS.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import mmap
import os
import re
import stat
from pathlib import Path

import xxhash

from tierproxy.disk.fsio import Files
from tierproxy.errors import BlobMissing, ConfigError, DiskError
from tierproxy.logs import event
from tierproxy.model import ObjectName

log = logging.getLogger(__name__)

COUNTERS = 2**18
UNANSWERED = 2**16  #: bytes behind the counters
SIZE = 8 * COUNTERS + UNANSWERED  #: bytes
EPOCH = 0  #: the counter that stands for all names
NOBODY = 0  #: an epoch: no node keeps this table, and none ever will
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - not a temporary file: where Linux has shared memory (shm_open(3))
NAMES = "tierproxy-*-*"
LEFT = 3600.0  #: seconds for which a table of a killed node is left alone, at least
FIRST_EPOCH = 2**62  #: drawn below this: no table begins where another one ended


def slot_of(name: ObjectName) -> int:
    """The counter of ``name``; never the epoch's."""
    return xxhash.xxh3_64_intdigest(f"{name[0]}\0{name[1]}".encode()) % (COUNTERS - 1) + 1


def place_of(name: ObjectName) -> int:
    """Where changes of ``name`` are counted that were sent and not answered."""
    return slot_of(name) % UNANSWERED


def table_path(data: Path, shared_memory: Path = SHARED_MEMORY) -> Path:
    """The table's file for the data directory ``data``. Raises OSError when that is not there."""
    found = os.stat(data)
    return shared_memory / f"tierproxy-{found.st_dev}-{found.st_ino}"


class VersionTable:
    """The node's side (``tierproxy.ports.Versions`` and ``Unanswered``). Make it with ``open``, under the data
    directory's lock.

    ``table``: the counters, for the lane to look at: ``table[slot] == version and table[EPOCH] == epoch``. Valid until
    ``close``. ``path``: where others find it; None: nobody does, the memory is this process' own.
    """

    def __init__(self, memory: mmap.mmap, path: Path | None, files: Files) -> None:
        self._memory = memory
        self.path = path
        self._files = files
        self.table = memoryview(memory)[: 8 * COUNTERS].cast("Q")
        self._sent = memoryview(memory)[8 * COUNTERS :]
        self._left = {found.start(): found[0][0] for found in re.finditer(rb"[^\0]", bytes(self._sent))}
        self._closed = False
        self._suspended = 0  # the epoch to go on from

    def __repr__(self) -> str:
        return f"<VersionTable {self.path or 'of its own'}{' (closed)' if self._closed else ''}>"

    @classmethod
    def open(cls, data: Path, files: Files, now: float, shared_memory: Path = SHARED_MEMORY) -> VersionTable:
        """The table of ``data``, with an epoch it never had. What other directories' nodes left long ago is removed.
        Blocking. ``now``: seconds since the epoch of time.

        Without shared memory, or room in it, the table is memory of this process, and the log says so once. Raises
        ConfigError when an earlier node's table is there and can neither be used nor taken away: its readers would
        believe it for ever.
        """
        sweep(files, now, shared_memory)
        path = table_path(data, shared_memory)
        try:
            memory = _mapped(path, files)
        except (OSError, DiskError) as error:
            withdraw(data, files, shared_memory)
            event(log, logging.WARNING, "no shared memory for the version table", path=path, error=error)
            return cls.private()
        return cls._begun(memory, path, files)

    @classmethod
    def private(cls) -> VersionTable:
        """Memory of this process: nobody else finds it."""
        return cls._begun(mmap.mmap(-1, SIZE), None, Files())

    @classmethod
    def _begun(cls, memory: mmap.mmap, path: Path | None, files: Files) -> VersionTable:
        found = cls(memory, path, files)
        found.all_changed()
        return found

    def changed(self, name: ObjectName) -> None:
        """See ``tierproxy.ports.Versions``."""
        if not self._closed:
            self.table[slot_of(name)] += 1

    def all_changed(self) -> None:
        """See ``tierproxy.ports.Versions``."""
        if self._suspended:
            self._suspended += 1
        elif not self._closed:
            epoch = self.table[EPOCH]
            self.table[EPOCH] = epoch + 1 if epoch else 1 + int.from_bytes(os.urandom(8), "little") % FIRST_EPOCH

    @property
    def left(self) -> int:
        """See ``tierproxy.ports.Unanswered``."""
        return len(self._left)

    def is_left(self, name: ObjectName) -> bool:
        """See ``tierproxy.ports.Unanswered``."""
        return place_of(name) in self._left

    def sent(self, name: ObjectName) -> None:
        """See ``tierproxy.ports.Unanswered``."""
        self._count(place_of(name), 1)

    def answered(self, name: ObjectName) -> None:
        """See ``tierproxy.ports.Unanswered``."""
        self._count(place_of(name), -1)

    def forget_left(self) -> None:
        """See ``tierproxy.ports.Unanswered``."""
        for place, number in self._left.items():
            self._count(place, -number)
        self._left = {}

    def _count(self, place: int, more: int) -> None:
        """A byte that is full loses count: it may say "answered" too early, of 255 changes of one hash at once."""
        if not self._closed:
            self._sent[place] = min(255, max(0, self._sent[place] + more))

    def suspend(self) -> None:
        """loop. From now on nobody speaks for objects but the node, which has reasons not to trust the disk: the epoch
        is nobody's. Idempotent."""
        if not self._closed and not self._suspended:
            self._suspended, self.table[EPOCH] = self.table[EPOCH], NOBODY

    def resume(self) -> None:
        """loop. After ``suspend``: an epoch nothing is remembered under. Idempotent."""
        if self._suspended and not self._closed:
            self._suspended, self.table[EPOCH] = 0, self._suspended + 1

    def close(self) -> None:
        """After the last commit: nobody believes this table any more, and its file goes, unless it says of changes that
        may still be done: the next node is to know. Idempotent.

        First the epoch, then the file: a reader that maps it in between finds an epoch nothing is remembered under.
        """
        if self._closed:
            return
        self._closed = True
        self.table[EPOCH] = NOBODY
        if self.path is not None and not any(self._sent):
            with contextlib.suppress(DiskError):  # a file that stays is one nobody believes
                self._files.unlink(self.path)
        self._unmap()

    def _unmap(self) -> None:
        """All that the kernel does for a process that is killed."""
        self._closed = True
        self.table.release()
        self._sent.release()
        self._memory.close()


def withdraw(data: Path, files: Files, shared_memory: Path = SHARED_MEMORY) -> None:
    """Take away the table that a node which was killed has left: its readers know by the missing name. Under the data
    directory's lock. Blocking. Raises ConfigError when it is this user's and cannot be taken away."""
    path = table_path(data, shared_memory)
    try:
        files.unlink(path)
    except BlobMissing:
        pass
    except DiskError as error:
        if not _foreign(path):
            raise ConfigError(
                f"the version table {path} cannot be used: {error}", hint="remove this file, and start again"
            ) from error


def _foreign(path: Path) -> bool:
    """Whether ``path`` is of somebody whose table no reader takes for ours (``SharedTable.map``)."""
    try:
        return os.lstat(path).st_uid not in {0, os.geteuid()}
    except FileNotFoundError:
        return True
    except OSError:
        return False


def sweep(files: Files, now: float, shared_memory: Path = SHARED_MEMORY) -> int:
    """Remove this user's tables whose nodes were killed long ago; on their directories no node may ever start again.
    Returns how many. Blocking; errors are nobody's concern."""
    removed = 0
    for path in shared_memory.glob(NAMES):
        with contextlib.suppress(OSError, DiskError):
            removed += _swept(path, files, now - LEFT)
    return removed


def _swept(path: Path, files: Files, before: float) -> bool:
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        if found.st_uid != os.geteuid() or not _is_table(found) or found.st_mtime > before:
            return False
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # its node, if it lives, has it
        files.unlink(path)
        return True
    finally:
        os.close(fd)


def _mapped(path: Path, files: Files) -> mmap.mmap:
    """Locked as long as it is mapped: the mapping keeps the file open. Raises OSError, DiskError."""
    while True:
        fd = _opened(path, files)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            files.allocate(fd, SIZE)
            if os.fstat(fd).st_nlink:  # else it was swept just now
                return mmap.mmap(fd, SIZE)
        except BlockingIOError:  # being swept; or a child of a killed node has it still
            with contextlib.suppress(BlobMissing):
                files.unlink(path)
        finally:
            os.close(fd)


def _opened(path: Path, files: Files) -> int:
    """What a killed node has left, if it is one of these tables; else a new one. Raises OSError, DiskError."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return files.create(path)
    found = os.fstat(fd)
    if found.st_uid == os.geteuid() and _is_table(found):
        return fd
    os.close(fd)
    files.unlink(path)
    return files.create(path)


def _is_table(found: os.stat_result) -> bool:
    """A whole one, that nobody but its owner can write."""
    return stat.S_ISREG(found.st_mode) and found.st_size == SIZE and not found.st_mode & 0o077


class SharedTable:
    """The reader's side. ``table`` as ``VersionTable``'s, valid until ``close``."""

    def __init__(self, fd: int, memory: mmap.mmap) -> None:
        self._fd = fd
        self._memory = memory
        self.table = memoryview(memory)[: 8 * COUNTERS].cast("Q")

    @classmethod
    def map(cls, data: Path, shared_memory: Path = SHARED_MEMORY) -> SharedTable | None:
        """The table a node keeps for ``data``; None: there is none, or it is not to be trusted. Blocking, briefly.

        It must belong to root or to whoever made the data directory's lock: anybody may make a file of that name, and a
        table that never changes would have its readers believe everything for ever.
        """
        try:
            owner = os.stat(data / "lock").st_uid
            fd = os.open(table_path(data, shared_memory), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            found = os.fstat(fd)
            if not _is_table(found) or found.st_uid not in {0, owner}:
                raise PermissionError
            return cls(fd, mmap.mmap(fd, SIZE, prot=mmap.PROT_READ))
        except OSError:
            os.close(fd)
            return None

    def there(self) -> bool:
        """A node keeps it, or has and was killed and no other one has come: else map anew. One system call.

        The file's name is what a new node looks for. When the name is gone, the next node's table is another one.
        """
        return self.table[EPOCH] != NOBODY and os.fstat(self._fd).st_nlink > 0

    def close(self) -> None:
        self.table.release()
        self._memory.close()
        os.close(self._fd)
