"""What SQLite itself counts of a connection's pages. Python's ``sqlite3`` does not pass it on, so it is asked of the
library that the interpreter has loaded, by the handle that CPython keeps as the first field of a Connection (3.11 to
3.13, and not in a build without the interpreter's lock, whose objects begin otherwise).

https://sqlite.org/c3ref/c_dbstatus_options.html
"""

from __future__ import annotations

import ctypes
import sqlite3
import sys
import sysconfig
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

_HEAD = 2 * ctypes.sizeof(ctypes.c_void_p)  # of every object: its count of references, and its type
_HIT, _MISS, _WRITE = 7, 8, 9  # SQLITE_DBSTATUS_CACHE_*
KNOWN = (
    sys.implementation.name == "cpython"
    and (3, 11) <= sys.version_info[:2] <= (3, 13)
    and not sysconfig.get_config_var("Py_GIL_DISABLED")
)


class Pages(NamedTuple):
    """``found``: in the connection's cache; ``read``: from the kernel; ``written``: to the log."""

    found: int = 0
    read: int = 0
    written: int = 0


def counted(connection: sqlite3.Connection) -> Pages:
    """Since it was last asked; nothing where it cannot be."""
    if not KNOWN:
        return Pages()
    handle = ctypes.c_void_p.from_address(id(connection) + _HEAD)
    return Pages(*(_counter(handle, kind) for kind in (_HIT, _MISS, _WRITE)))


def _counter(handle: ctypes.c_void_p, kind: int) -> int:
    now, most = ctypes.c_int(), ctypes.c_int()
    _status()(handle, kind, ctypes.byref(now), ctypes.byref(most), 1)
    return now.value


@cache
def _status() -> Callable[..., int]:
    """``sqlite3_db_status`` of the library that is loaded."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    found = next((line.split()[-1] for line in lines if "libsqlite3" in line), None)
    library = ctypes.CDLL(found)  # None: it is a part of the program
    status: Callable[..., int] = library.sqlite3_db_status
    return status
