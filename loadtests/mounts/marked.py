"""``tierproxy`` with a clock at every station of a delivery: ``marked.py ROLE FILE WORDS...``, where ROLE is ``mount``
or ``node``.

What it saw goes into FILE when it ends: lines of nanoseconds (CLOCK_MONOTONIC, one clock for all processes), thread,
station and a name, as JSON.
"""

from __future__ import annotations

import atexit
import functools
import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic_ns
from typing import Any

Mark = tuple[int, int, str, Any]
MARKS: list[Mark] = []


def mark(station: str, name: Any = "") -> None:
    MARKS.append((monotonic_ns(), threading.get_ident(), station, name))


def around(owner: Any, method: str, station: str, name: Callable[..., Any] = lambda *_: "") -> None:
    """``method`` is marked where it begins and where it ends."""
    inner = getattr(owner, method)

    @functools.wraps(inner)
    def outer(*args: Any, **more: Any) -> Any:
        mark(f"{station} >", name(*args))
        try:
            return inner(*args, **more)
        finally:
            mark(f"{station} <")

    setattr(owner, method, outer)


def awaited(owner: Any, method: str, station: str) -> None:
    """The same of a coroutine function."""
    inner = getattr(owner, method)

    @functools.wraps(inner)
    async def outer(*args: Any, **more: Any) -> Any:
        mark(f"{station} >")
        try:
            return await inner(*args, **more)
        finally:
            mark(f"{station} <")

    setattr(owner, method, outer)


def before(owner: Any, method: str, station: str, name: Callable[..., Any] = lambda *_: "") -> None:
    """``method`` is marked where it begins."""
    inner = getattr(owner, method)

    @functools.wraps(inner)
    def outer(*args: Any, **more: Any) -> Any:
        mark(station, name(*args))
        return inner(*args, **more)

    setattr(owner, method, outer)


def mark_mount() -> None:
    from tierproxy.fuse.device import Device
    from tierproxy.fuse.dispatch import Dispatch
    from tierproxy.fuse.protocol import IN_HEADER
    from tierproxy.mount.client_connection import Connection

    def asked(_: Dispatch, buffer: memoryview, length: int) -> tuple[int, int]:
        opcode, unique = IN_HEADER.unpack_from(buffer)[1:3]
        return opcode, unique

    before(Dispatch, "take", "asked", asked)
    before(Device, "answer", "answered", lambda _, unique, *__: unique)
    before(Device, "refuse", "answered", lambda _, unique, *__: unique)
    before(Connection, "send", "sent")
    before(Connection, "data_received", "heard")


def mark_node() -> None:
    from tierproxy.catalogue.writer import Writer as Rows
    from tierproxy.disk.fsio import Files
    from tierproxy.s3api.app import ObjectApp
    from tierproxy.server.connection import Connection
    from tierproxy.server.cycle import Cycle
    from tierproxy.store.changes import Changes
    from tierproxy.store.jobs import AltWrites
    from tierproxy.store.writer import Writer

    before(Connection, "data_received", "came")
    awaited(ObjectApp, "_serve", "serve")
    awaited(Writer, "write", "write")
    awaited(Writer, "keep", "keep")
    awaited(Changes, "commit", "commit")
    awaited(AltWrites, "put", "alt")
    before(Cycle, "answer", "answered")
    around(Files, "call", "file", lambda _, kind, *__: kind)
    around(Rows, "_commit", "rows")


def main() -> None:
    role, target = sys.argv[1], Path(sys.argv[2])
    sys.argv = ["tierproxy", *sys.argv[3:]]
    (mark_mount if role == "mount" else mark_node)()

    def keep() -> None:
        target.write_text("".join(f"{json.dumps(one)}\n" for one in MARKS))

    atexit.register(keep)
    from tierproxy.cli import main as program

    program()


if __name__ == "__main__":
    main()
