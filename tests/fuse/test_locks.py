"""Notices to the kernel that would meet a lock wait here, not in the kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tierproxy.fuse.locks import EVERY, Locks, locked_by
from tierproxy.fuse.negotiation import Agreement
from tierproxy.fuse.notify import Notifier
from tierproxy.fuse.protocol import RENAME_IN, Notice, Opcode

DIRECTORY, OTHER = 7, 8


class Told:
    """A device."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def tell(self, kind: Notice, header: bytes, data: bytes | memoryview = b"") -> bool:
        self.notices.append(kind)
        return True


class InTurn:
    """A thread that is none. ``before``: what happens when its work begins."""

    def __init__(self) -> None:
        self.before: Callable[[], None] = lambda: None

    async def run(self, work: Callable[..., Any], *words: Any) -> Any:
        self.before()
        return work(*words)


def notifier() -> tuple[Notifier, Told, Locks, InTurn]:
    told, locks, thread = Told(), Locks(), InTurn()
    found = Notifier(thread, locks)  # type: ignore[arg-type]
    found.begin(told, Agreement.__new__(Agreement))  # type: ignore[arg-type]
    return found, told, locks, thread


async def test_a_notice_waits_for_the_request_about_its_directory() -> None:
    kernel, told, locks, _ = notifier()
    locks.take([DIRECTORY])
    locks.take([DIRECTORY])
    kernel.forget_name(DIRECTORY, b"a")
    kernel.forget_content(DIRECTORY)
    kernel.forget_name(OTHER, b"b")
    await kernel.settled()
    assert told.notices == [Notice.INVAL_ENTRY], "nobody else is held up"
    locks.give([DIRECTORY])
    await kernel.settled()
    assert len(told.notices) == 1, "another one still waits"
    locks.give([DIRECTORY])
    await kernel.settled()
    assert told.notices[1:] == [Notice.INVAL_ENTRY, Notice.INVAL_INODE]


async def test_a_request_that_comes_while_notices_are_written_holds_them_up_and_loses_none() -> None:
    kernel, told, locks, thread = notifier()
    thread.before = lambda: locks.take([DIRECTORY])
    kernel.forget_name(DIRECTORY, b"a")
    await kernel.settled()
    assert told.notices == []
    thread.before = lambda: None
    locks.give([DIRECTORY])
    await kernel.settled()
    assert told.notices == [Notice.INVAL_ENTRY]


def test_a_rename_locks_both_directories_and_one_it_does_not_name() -> None:
    to_other = memoryview(RENAME_IN.pack(OTHER) + b"a\0b\0")
    assert locked_by(Opcode.RENAME2, DIRECTORY, to_other) == (DIRECTORY, OTHER, EVERY)
    assert locked_by(Opcode.RENAME, DIRECTORY, memoryview(RENAME_IN.pack(DIRECTORY))) == (DIRECTORY,)
    assert locked_by(Opcode.LOOKUP, DIRECTORY, memoryview(b"a\0")) == (DIRECTORY,)
    locks = Locks()
    locks.take([EVERY])
    assert locks.held(OTHER)
    locks.give([EVERY])
    assert not locks.held(OTHER)
