"""Disks that hang: calls to the kernel that do not return until the test says so, and disks that go bad and get well.

files = SickFiles()
files.hang("fsync")               # every fsync from now on stands in its thread
await files.standing(2)           # two of them do
files.heal()                      # they go on, and end as if nothing had been
files.fail(errno.EROFS)           # every call that changes something fails from now on

with HungBlob(path) as hung:      # whoever opens this blob stands in open(2), in the kernel
    ...
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from tierproxy.disk.fsio import Files


class SickFiles(Files):
    """``kinds`` are methods of ``Files``; none given: all of them. ``end``: what the calls that stood come to when they
    are let go, an errno, 0 for success."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._kinds: frozenset[str] | None = frozenset()
        self._code = 0
        self._hangs = False
        self._skip = 0
        self._end = 0
        self._standing = 0

    def __repr__(self) -> str:
        return f"<SickFiles {'hang' if self._hangs else os.strerror(self._code) if self._code else 'well'}>"

    @property
    def hanging(self) -> int:
        """Calls that stand now."""
        return self._standing

    def hang(self, *kinds: str, after: int = 0, end: int = 0) -> None:
        """From the call after the next ``after`` ones on."""
        self._set(kinds, hangs=True, code=0, skip=after, end=end)

    def fail(self, code: int, *kinds: str) -> None:
        self._set(kinds, hangs=False, code=code, skip=0, end=0)

    def heal(self) -> None:
        """All is well from now on; who stood goes on."""
        with self._lock:
            self._kinds, self._hangs, self._code = frozenset(), False, 0
            self._lock.notify_all()

    async def standing(self, calls: int = 1) -> None:
        """Until so many calls hang."""
        while self._standing < calls:
            await asyncio.sleep(0.001)

    def call(self, kind: str, function: Callable[..., Any], *args: Any) -> Any:
        with self._lock:
            if self._kinds is None or kind in self._kinds:
                if self._skip:
                    self._skip -= 1
                elif self._hangs:
                    self._stand()
                elif self._code:
                    raise OSError(self._code, os.strerror(self._code))
        return super().call(kind, function, *args)

    def _stand(self) -> None:
        end = self._end
        self._standing += 1
        try:
            self._lock.wait_for(lambda: not self._hangs)
        finally:
            self._standing -= 1
        if end:
            raise OSError(end, os.strerror(end))

    def _set(self, kinds: tuple[str, ...], *, hangs: bool, code: int, skip: int, end: int) -> None:
        with self._lock:
            self._kinds = frozenset(kinds) or None
            self._hangs, self._code, self._skip, self._end = hangs, code, skip, end
            self._lock.notify_all()


class HungBlob:
    """A file in whose place there is a pipe nobody writes to: open(2) for reading waits in the kernel."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._aside = path.with_name(f"{path.name}.aside")

    def __enter__(self) -> Self:
        self._path.rename(self._aside)
        os.mkfifo(self._path)
        return self

    def __exit__(self, *_: object) -> None:
        pipe = self._path.with_name(f"{self._path.name}.pipe")
        self._path.rename(pipe)
        self._aside.rename(self._path)
        os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))  # who stood in open(2) has it now, and cannot read it
        pipe.unlink()
