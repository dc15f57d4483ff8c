"""What a system call says when the node does not do what was asked: the one table."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def answered(counters: Counters) -> Iterator[None]:
    """Raise what goes wrong inside as OSError, the cause with it."""
    try:
        yield
    except TierproxyError as error:
        code = errno_of(error)
        counters.failures += code == errno.EIO
        raise refusal(code) from error
