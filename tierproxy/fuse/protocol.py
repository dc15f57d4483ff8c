"""What travels on /dev/fuse: opcodes, flags and layouts of ``include/uapi/linux/fuse.h``, protocol 7.31 to 7.45.

Everything is in the machine's byte order, and padded by the kernel so that no compiler pads it. Encoders return the
bytes after the header of an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum, IntFlag
from struct import Struct

from tierproxy.fuse.operations import Attributes, Change, DirectoryEntry, Found, Opened, Space

MAJOR = 7


class Opcode(IntEnum):
    """enum fuse_opcode."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    SETXATTR = 21
    GETXATTR = 22
    LISTXATTR = 23
    REMOVEXATTR = 24
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    GETLK = 31
    SETLK = 32
    SETLKW = 33
    ACCESS = 34
    CREATE = 35
    INTERRUPT = 36
    BMAP = 37
    DESTROY = 38
    IOCTL = 39
    POLL = 40
    NOTIFY_REPLY = 41
    BATCH_FORGET = 42
    FALLOCATE = 43
    READDIRPLUS = 44
    RENAME2 = 45
    LSEEK = 46
    COPY_FILE_RANGE = 47
    SYNCFS = 50
    TMPFILE = 51
    STATX = 52


class Feature(IntFlag):
    """The flags of INIT that are used here; from bit 32 on they travel in ``flags2``."""

    ASYNC_READ = 1 << 0
    ATOMIC_O_TRUNC = 1 << 3
    BIG_WRITES = 1 << 5
    DO_READDIRPLUS = 1 << 13
    READDIRPLUS_AUTO = 1 << 14
    ASYNC_DIO = 1 << 15
    PARALLEL_DIROPS = 1 << 18
    HANDLE_KILLPRIV = 1 << 19
    ABORT_ERROR = 1 << 21
    MAX_PAGES = 1 << 22
    INIT_EXT = 1 << 30
    PASSTHROUGH = 1 << 37


class Notice(IntEnum):
    """enum fuse_notify_code."""

    INVAL_INODE = 2
    INVAL_ENTRY = 3
    STORE = 4
    INC_EPOCH = 8


FOPEN_DIRECT_IO, FOPEN_KEEP_CACHE, FOPEN_CACHE_DIR, FOPEN_NOFLUSH = 1 << 0, 1 << 1, 1 << 3, 1 << 5
FOPEN_PARALLEL_DIRECT_WRITES, FOPEN_PASSTHROUGH = 1 << 6, 1 << 7
GETATTR_FH, FSYNC_FDATASYNC = 1 << 0, 1 << 0
FATTR_MODE, FATTR_UID, FATTR_GID, FATTR_SIZE, FATTR_ATIME, FATTR_MTIME, FATTR_FH = (1 << bit for bit in range(7))
FATTR_CTIME = 1 << 10

IN_HEADER = Struct("=IIQQIIIHH")
"""len, opcode, unique, nodeid, uid, gid, pid, total_extlen, padding"""
OUT_HEADER = Struct("=IiQ")
"""len, error, unique"""
INIT_IN = Struct("=IIII")
"""major, minor, max_readahead, flags; from 7.36 on flags2 and 44 unused bytes follow"""
INIT_OUT = Struct("=IIIIHHIIHHII24x")
"""major, minor, max_readahead, flags, max_background, congestion_threshold, max_write, time_gran, max_pages,
map_alignment, flags2, max_stack_depth"""
FLAGS2 = Struct("=I")
"""of INIT_IN, right behind it"""

ENTRY_OUT = Struct("=QQQQIIQQQQQQIIIIIIIIII")
"""nodeid, generation, entry_valid, attr_valid, entry_valid_nsec, attr_valid_nsec, struct fuse_attr"""
ATTR_OUT = Struct("=QIIQQQQQQIIIIIIIIII")
"""attr_valid, attr_valid_nsec, dummy, struct fuse_attr"""
OPEN_OUT = Struct("=QIi")
"""fh, open_flags, backing_id"""
WRITE_OUT = Struct("=II")
STATFS_OUT = Struct("=QQQQQIII4x24x")
DIRENT = Struct("=QQII")
"""ino, off, namelen, type; then the name, padded to 8 bytes"""

GETATTR_IN = Struct("=IIQ")
SETATTR_IN = Struct("=IIQQQQQQIIIIIIII")
"""valid, padding, fh, size, lock_owner, atime, mtime, ctime, atimensec, mtimensec, ctimensec, mode, unused, uid, gid,
unused"""
READ_IN = Struct("=QQIIQII")
WRITE_IN = READ_IN
"""fh, offset, size, read_flags or write_flags, lock_owner, flags, padding"""
OPEN_IN = Struct("=II")
CREATE_IN = Struct("=IIII")
"""flags, mode, umask, open_flags; then the name"""
MKNOD_IN = Struct("=IIII")
"""mode, rdev, umask, padding; then the name"""
MKDIR_IN = Struct("=II")
RENAME_IN = Struct("=Q")
RENAME2_IN = Struct("=QII")
LINK_IN = Struct("=Q")
RELEASE_IN = Struct("=QIIQ")
FLUSH_IN = Struct("=QIIQ")
FSYNC_IN = Struct("=QII")
FORGET_IN = Struct("=Q")
BATCH_FORGET_IN = Struct("=II")
FORGET_ONE = Struct("=QQ")
INTERRUPT_IN = Struct("=Q")

INVAL_INODE_OUT = Struct("=Qqq")
INVAL_ENTRY_OUT = Struct("=QII")
STORE_OUT = Struct("=QQII")

HEADER = IN_HEADER.size
BLOCK = 4096  #: st_blksize
_U64 = (1 << 64) - 1


def moment(seconds: float) -> tuple[int, int]:
    """Seconds since the epoch as whole seconds (two's complement, as the kernel has them) and nanoseconds."""
    whole = int(seconds // 1)
    nanos = round((seconds - whole) * 1e9)
    if nanos >= 1_000_000_000:
        whole, nanos = whole + 1, 0
    return whole & _U64, nanos


def instant(seconds: int, nanos: int) -> float:
    """The inverse of ``moment``."""
    return (seconds - (1 << 64) if seconds >> 63 else seconds) + nanos / 1e9


def entry(found: Found) -> bytes:
    """struct fuse_entry_out."""
    name_for, name_nanos = moment(found.name_for)
    attributes_for, attributes_nanos = moment(found.attributes_for)
    return ENTRY_OUT.pack(
        found.node, found.generation, name_for, attributes_for, name_nanos, attributes_nanos,
        *_attributes(found.attributes),
    )  # fmt: skip


def absent(seconds: float) -> bytes:
    """struct fuse_entry_out without a node: ENOENT, for so long."""
    name_for, name_nanos = moment(seconds)
    return ENTRY_OUT.pack(0, 0, name_for, 0, name_nanos, 0, *bytes(16))


def attributes(found: Attributes, valid_for: float) -> bytes:
    """struct fuse_attr_out."""
    seconds, nanos = moment(valid_for)
    return ATTR_OUT.pack(seconds, nanos, 0, *_attributes(found))


def _attributes(found: Attributes) -> tuple[int, ...]:
    """struct fuse_attr."""
    atime, atime_nanos = moment(found.atime)
    mtime, mtime_nanos = moment(found.mtime)
    ctime, ctime_nanos = moment(found.ctime)
    return (
        found.ino, found.size, (found.size + 511) >> 9, atime, mtime, ctime, atime_nanos, mtime_nanos, ctime_nanos,
        found.mode, found.nlink, found.uid, found.gid, 0, BLOCK, 0,
    )  # fmt: skip


def opened(answer: Opened) -> bytes:
    """struct fuse_open_out of a file. With passthrough the kernel refuses FOPEN_KEEP_CACHE."""
    flags = FOPEN_NOFLUSH if answer.no_flush else 0
    if answer.direct:
        flags |= FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES
    if answer.backing is not None:
        return OPEN_OUT.pack(answer.handle, flags | FOPEN_PASSTHROUGH, answer.backing)
    return OPEN_OUT.pack(answer.handle, flags | (FOPEN_KEEP_CACHE if answer.keep else 0), 0)


def opened_directory(answer: Opened) -> bytes:
    """struct fuse_open_out of a directory."""
    flags = FOPEN_CACHE_DIR if answer.cache else 0
    return OPEN_OUT.pack(answer.handle, flags | (FOPEN_KEEP_CACHE if answer.keep else 0), 0)


def space(found: Space) -> bytes:
    """struct fuse_statfs_out."""
    block = found.block
    return STATFS_OUT.pack(
        found.total // block, found.free // block, found.available // block, found.files, found.files_free,
        block, found.name_max, block,
    )  # fmt: skip


_NO_ENTRY = bytes(ENTRY_OUT.size)
"""In a READDIRPLUS: the name is there, look it up if you want to know more."""


def directory(entries: Sequence[DirectoryEntry], offset: int, room: int, plus: bool) -> tuple[bytes, int]:
    """As many of ``entries``, the first of which is the ``offset``-th of its directory, as fit into ``room`` bytes: as
    struct fuse_dirent or fuse_direntplus; and how many these are."""
    parts: list[bytes] = []
    for number, one in enumerate(entries):
        length = len(one.name)
        padded = -length % 8
        room -= DIRENT.size + length + padded + (ENTRY_OUT.size if plus else 0)
        if room < 0:
            return b"".join(parts), number
        if plus:
            parts.append(_NO_ENTRY if one.found is None else entry(one.found))
        parts.append(DIRENT.pack(one.ino, offset + number + 1, length, one.kind >> 12))
        parts.append(one.name + bytes(padded))
    return b"".join(parts), len(entries)


def change(data: bytes) -> Change:
    """struct fuse_setattr_in. The kernel sends the times also when it says "now"."""
    valid, _, handle, size, _, atime, mtime, ctime, atime_nanos, mtime_nanos, ctime_nanos, mode, _, uid, gid, _ = (
        SETATTR_IN.unpack_from(data)
    )
    return Change(
        mode=mode if valid & FATTR_MODE else None,
        uid=uid if valid & FATTR_UID else None,
        gid=gid if valid & FATTR_GID else None,
        size=size if valid & FATTR_SIZE else None,
        atime=instant(atime, atime_nanos) if valid & FATTR_ATIME else None,
        mtime=instant(mtime, mtime_nanos) if valid & FATTR_MTIME else None,
        ctime=instant(ctime, ctime_nanos) if valid & FATTR_CTIME else None,
        handle=handle if valid & FATTR_FH else None,
    )


def names(data: bytes) -> list[bytes]:
    """The names at the end of a request, each ended by a zero byte."""
    return data.split(b"\0")[:-1]


def forgotten(data: bytes) -> list[tuple[int, int]]:
    """What a BATCH_FORGET gives back: nodes and how many references of each."""
    count, _ = BATCH_FORGET_IN.unpack_from(data)
    end = BATCH_FORGET_IN.size + count * FORGET_ONE.size
    return list(FORGET_ONE.iter_unpack(data[BATCH_FORGET_IN.size : end]))


def notice(kind: Notice, *parts: bytes | memoryview) -> list[bytes | memoryview]:
    """An unasked message to the kernel, to be written at once: a header with the unique 0, and its kind as error."""
    return [OUT_HEADER.pack(OUT_HEADER.size + sum(len(part) for part in parts), kind, 0), *parts]
