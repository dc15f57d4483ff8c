"""The disk tier as long as it is worth asking: a wrapper that says no at once while the disk is down (decision 32)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Sequence
from itertools import islice
from typing import Any, cast

from tierproxy.errors import DiskError, DiskUnavailable
from tierproxy.model import BlobFacts, BlobLabel, SealedBlob, Stub
from tierproxy.ports import BodyCheck, DiskTier, OpenBlob, Staged

MOST = 100_000  #: names, of some 90 bytes each


class GuardedDisk:
    """``tierproxy.ports.DiskTier``. While ``closed``, what touches the disk raises DiskUnavailable and touches nothing:
    callers have a way round it, because disks fail. Who has none (an object that is nowhere else, the look-through
    itself) uses ``anyway``, which is the tier itself. What was staged before goes on: it ends one way or the other
    within the patience of the calls. The port's other methods are the tier's own. ``left``: blobs that were to be
    removed and could not be, the first ``MOST`` of them, for the look-through.

    The methods return the tier's own coroutines: while the disk is well a guard costs one look and one call.
    """

    def __init__(self, disk: DiskTier) -> None:
        self.anyway = disk
        self.closed = False
        self.left: set[str] = set()

    def __repr__(self) -> str:
        return f"<GuardedDisk {'closed' if self.closed else 'open'} {self.anyway!r}>"

    @property
    def port(self) -> DiskTier:
        """This, typed as what it stands in for."""
        return cast(DiskTier, self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.anyway, name)

    def stage(self, check: BodyCheck | None = None) -> Staged:
        self._check()
        return self.anyway.stage(check)

    def open(
        self, blob: str, *, size: int, generation: int, xxh3: bytes | None
    ) -> Coroutine[Any, Any, OpenBlob]:  # fmt: skip
        self._check()
        return self.anyway.open(blob, size=size, generation=generation, xxh3=xxh3)

    async def ends(self, blobs: Sequence[BlobFacts], head: int, tail: int) -> list[Stub | None]:
        return [None for _ in blobs] if self.closed else await self.anyway.ends(blobs, head, tail)

    async def remove(self, blobs: Sequence[str]) -> None:
        try:
            self._check()
            await self.anyway.remove(blobs)
        except DiskError:
            self.left.update(islice(blobs, max(0, MOST - len(self.left))))
            raise

    async def verify(self, blob: str) -> tuple[BlobLabel, SealedBlob]:
        self._check()
        return await self.anyway.verify(blob)

    async def footprints(self, blobs: Sequence[str]) -> list[int | None]:
        self._check()
        return await self.anyway.footprints(blobs)

    def scan(self) -> AsyncIterator[list[str]]:
        self._check()
        return self.anyway.scan()

    async def quarantine(self, blob: str) -> None:
        self._check()
        await self.anyway.quarantine(blob)

    async def keep_part(self, staged: Staged) -> str:
        self._check()
        return await self.anyway.keep_part(staged)

    async def open_part(self, file: str, size: int, etag: str) -> OpenBlob:
        self._check()
        return await self.anyway.open_part(file, size, etag)

    async def remove_parts(self, files: Sequence[str]) -> None:
        self._check()
        await self.anyway.remove_parts(files)

    def _check(self) -> None:
        if self.closed:
            raise DiskUnavailable("the disk is down")
