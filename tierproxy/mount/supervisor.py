"""What a service says to its supervisor (sd_notify(3))."""

from __future__ import annotations

import socket
from contextlib import suppress


class Supervisor:
    """``address``: what NOTIFY_SOCKET says, a path, or an abstract name that begins with "@"; "" for nobody. It does
    not matter whether anybody hears."""

    def __init__(self, address: str = "") -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address

    def __repr__(self) -> str:
        return f"<Supervisor {self._address!r}>"

    def tell(self, **words: str | int) -> None:
        """``tell(READY=1, STATUS="...")``."""
        if not self._address:
            return
        text = "\n".join(f"{name}={value}" for name, value in words.items())
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(text.encode(), self._address)
