"""How far a client has taken what was written to it."""

from __future__ import annotations

import socket
from asyncio import Transport
from typing import cast

from tierproxy.server.taking import owed, taken


class Gone:
    """A transport of uvloop whose connection has ended meanwhile: its stand-in for a socket has descriptor -1."""

    def get_extra_info(self, _name: str) -> Gone:
        return self

    def get_write_buffer_size(self) -> int:
        return 0

    def fileno(self) -> int:
        return -1

    def getsockopt(self, level: int, option: int, room: int) -> bytes:
        return socket.socket(fileno=self.fileno()).getsockopt(level, option, room)


def test_a_connection_that_has_gone_meanwhile_may_be_asked_about() -> None:
    """The task of the answer ended with "negative file descriptor"."""
    assert taken(cast(Transport, Gone())) == 0
    assert owed(cast(Transport, Gone())) == 0
