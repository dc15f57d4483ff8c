"""What listeners open: sockets and certificates. Some of it before the process gives up the rights that takes."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress

from tierproxy.config.sections import Config
from tierproxy.errors import TierproxyError
from tierproxy.server.listeners import Certificate, bind_shared, bind_tcp


class Openings:
    """Opens on demand, or hands out, once, what ``prepare`` has opened. ``close`` closes what nobody has asked for.

    The unix socket is not among them: it is a file, and the node has to be able to remove it. Each method raises
    ConfigError as the function of ``listeners`` behind it.
    """

    def __init__(self) -> None:
        self._sockets: list[tuple[str, int, list[socket.socket]]] = []
        self._certificates: dict[tuple[str, str], Certificate] = {}

    def prepare(self, config: Config) -> None:
        """Everything that ``config`` will want."""
        try:
            listen, admin = config.listen, config.admin
            if listen.address:
                number = config.hit_workers
                opened = bind_shared(listen.address, number) if number else [bind_tcp(listen.address)]
                self._sockets.append((listen.address, number, opened))
            if admin.enabled:
                self._sockets.append((admin.address, 0, [bind_tcp(admin.address)]))
            for section in (listen, admin):
                if section.tls_certificate:
                    files = section.tls_certificate, section.tls_key
                    self._certificates[files] = Certificate(*files)
        except TierproxyError:
            self.close()
            raise

    def tcp(self, address: str) -> socket.socket:
        return self._taken(address, 0, lambda: [bind_tcp(address)])[0]

    def shared(self, address: str, number: int) -> list[socket.socket]:
        return self._taken(address, number, lambda: bind_shared(address, number))

    def certificate(self, certificate: str, key: str) -> Certificate:
        """Its files are followed as always; when they can no longer be read, it stays as it is."""
        return self._certificates.pop((certificate, key), None) or Certificate(certificate, key)

    def close(self) -> None:
        """Idempotent."""
        while self._sockets:
            for bound in self._sockets.pop()[2]:
                with suppress(OSError):
                    bound.close()

    def _taken(
        self, address: str, number: int, otherwise: Callable[[], list[socket.socket]]
    ) -> list[socket.socket]:  # fmt: skip
        for place, (opened_for, workers, opened) in enumerate(self._sockets):
            if (opened_for, workers) == (address, number):
                del self._sockets[place]
                return opened
        return otherwise()
