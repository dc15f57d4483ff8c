"""A file descriptor that several threads use and that is closed exactly once."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tierproxy.errors import DiskUnavailable


class Descriptor:
    """Starts empty, so that it can be made on the loop before the thread job that opens the file: whoever is cancelled
    meanwhile abandons it, and the job's ``attach`` then closes at once instead of leaking.
    """

    def __init__(self) -> None:
        self._fd: int | None = None
        self._users = 0
        self._closed = False
        self._idle = threading.Condition()

    @property
    def abandoned(self) -> bool:
        """Closed, or closed by its last user."""
        return self._closed

    def attach(self, fd: int) -> None:
        """Hand over an open descriptor. Once."""
        with self._idle:
            self._fd = fd
            self._close_if_idle()

    @contextmanager
    def use(self) -> Iterator[int]:
        """The descriptor stays open inside the block. DiskUnavailable after ``close`` or before ``attach``."""
        with self._idle:
            if self._closed or self._fd is None:
                raise DiskUnavailable("the file is closed")
            self._users += 1
            fd = self._fd
        try:
            yield fd
        finally:
            with self._idle:
                self._users -= 1
                self._close_if_idle()

    def abandon(self) -> None:
        """Close as soon as the last user is done; returns at once. Idempotent."""
        with self._idle:
            self._closed = True
            self._close_if_idle()

    def close(self) -> None:
        """Close when the last user is done, and wait for that. Blocking; idempotent."""
        self.abandon()
        with self._idle:
            self._idle.wait_for(lambda: self._fd is None)

    def _close_if_idle(self) -> None:
        if self._closed and not self._users and self._fd is not None:
            os.close(self._fd)
            self._fd = None
            self._idle.notify_all()
