"""FUSE passthrough (Linux 6.9): reads and writes of an open file go to a file of another file system, in the kernel.

Wants CAP_SYS_ADMIN, and a file system below that is not itself stacked too deeply.
"""

from __future__ import annotations

import fcntl
from contextlib import suppress
from struct import Struct

BACKING_OPEN = 0x4010E501  #: FUSE_DEV_IOC_BACKING_OPEN, _IOW(229, 1, struct fuse_backing_map)
BACKING_CLOSE = 0x4004E502  #: FUSE_DEV_IOC_BACKING_CLOSE, _IOW(229, 2, uint32_t)
BACKING_MAP = Struct("=iIQ")
"""fd, flags, padding"""
BACKING_ID = Struct("=i")


def open_backing(device: int, fd: int) -> int | None:
    """The number under which the kernel knows ``fd`` (which may be closed then); None: it will not have it."""
    try:
        return int(fcntl.ioctl(device, BACKING_OPEN, bytearray(BACKING_MAP.pack(fd, 0, 0)), True))
    except OSError:
        return None


def close_backing(device: int, backing: int) -> None:
    """Opens that use it go on."""
    with suppress(OSError):
        fcntl.ioctl(device, BACKING_CLOSE, bytearray(BACKING_ID.pack(backing)), True)
