"""What a system call says when the node does not do what was asked: the one table."""

from __future__ import annotations

import errno
import os
from types import TracebackType

from tierproxy.errors import DiskError, OutOfSpace, TierproxyError
from tierproxy.mount.counters import Counters
from tierproxy.mount.ports import Doubt, InTheWay, NoRoom, NotAllowed, NotThere

TABLE: tuple[tuple[type[TierproxyError], int], ...] = (
    (NotThere, errno.ENOENT),
    (NotAllowed, errno.EACCES),
    (NoRoom, errno.ENOSPC),
    (OutOfSpace, errno.ENOSPC),
    (Doubt, errno.EIO),
    # Where "taken" has a meaning of its own (a rename to a new name) the one who asked says EEXIST.
    (InTheWay, errno.EIO),
    (DiskError, errno.EIO),
)


def refusal(code: int) -> OSError:
    """``code`` as the error a system call returns."""
    return OSError(code, os.strerror(code))


def errno_of(error: TierproxyError) -> int:
    """Never ENOENT but for a true "not there"."""
    return next((code for kind, code in TABLE if isinstance(error, kind)), errno.EIO)


class Answered:
    """``with``: what goes wrong inside is raised as OSError, the cause with it. Keeps nothing of one use, so that all
    system calls share one: a generator for each would cost as much as the shortest of them."""

    __slots__ = ("_counters",)

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, TierproxyError):
            code = errno_of(error)
            self._counters.failures += code == errno.EIO
            raise refusal(code) from error
