"""INIT: what the kernel can, what is wanted of it, and what both agree on."""

from __future__ import annotations

from dataclasses import dataclass
from mmap import PAGESIZE

from tierproxy.errors import ConfigError
from tierproxy.fuse.protocol import FLAGS2, INIT_IN, INIT_OUT, MAJOR, Feature

OLDEST, NEWEST = 31, 45
WRITE = 1 << 20  #: bytes of the largest write and, by max_pages, of the largest read
BACKGROUND, CONGESTED = 64, 48
STACK = 2  #: a backing file may lie on an overlay
WANTED = (
    Feature.ASYNC_READ
    | Feature.ATOMIC_O_TRUNC
    | Feature.BIG_WRITES
    | Feature.DO_READDIRPLUS
    | Feature.READDIRPLUS_AUTO
    | Feature.ASYNC_DIO
    | Feature.PARALLEL_DIROPS
    | Feature.HANDLE_KILLPRIV
    | Feature.ABORT_ERROR
    | Feature.MAX_PAGES
    | Feature.INIT_EXT
    | Feature.PASSTHROUGH
)
"""Not wanted: WRITEBACK_CACHE (fsync and size would be the kernel's), locks (its own do), ACLs, EXPORT_SUPPORT (NFS),
CACHE_SYMLINKS, AUTO_INVAL_DATA (a getattr with each
read; content that changed is told by ``Kernel.forget_content``)."""


class OldKernel(ConfigError):
    """The kernel's FUSE is too old."""

    hint = f"a kernel with FUSE {MAJOR}.{OLDEST} (Linux 5.4) or later is needed"


@dataclass(frozen=True, slots=True)
class Agreement:
    """``minor``: of protocol 7; ``features``: in force; ``max_write``: bytes."""

    minor: int
    features: Feature
    max_readahead: int
    max_write: int = WRITE

    @property
    def passthrough(self) -> bool:
        return Feature.PASSTHROUGH in self.features

    @property
    def epochs(self) -> bool:
        """The kernel can drop all names at once (FUSE_NOTIFY_INC_EPOCH)."""
        return self.minor >= 44

    def answer(self) -> bytes:
        """struct fuse_init_out."""
        flags = int(self.features)
        return INIT_OUT.pack(
            MAJOR, self.minor, self.max_readahead, flags & 0xFFFFFFFF, BACKGROUND, CONGESTED, self.max_write, 1,
            self.max_write // PAGESIZE, 0, flags >> 32, STACK if self.passthrough else 0,
        )  # fmt: skip


def agree(request: bytes) -> Agreement:
    """What comes of the kernel's struct fuse_init_in. Raises OldKernel."""
    major, minor, max_readahead, offered = INIT_IN.unpack_from(request)
    if (major, minor) < (MAJOR, OLDEST):
        raise OldKernel(f"the kernel speaks FUSE {major}.{minor}")
    if offered & Feature.INIT_EXT and len(request) >= INIT_IN.size + FLAGS2.size:
        offered |= FLAGS2.unpack_from(request, INIT_IN.size)[0] << 32
    return Agreement(min(minor, NEWEST), WANTED & Feature(offered & int(WANTED)), max_readahead)
