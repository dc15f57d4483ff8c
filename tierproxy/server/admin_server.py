"""The admin port's listener: the object port's, with less allowed, so that nothing here can starve that one."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import uvicorn.config

from tierproxy.config.checks import admin_fault
from tierproxy.config.operators import AdminSection
from tierproxy.config.sections import Config, ListenSection
from tierproxy.config.values import Duration, Size
from tierproxy.errors import ConfigError, TierproxyError
from tierproxy.ports import Clock
from tierproxy.server.connection import Connection, Connections
from tierproxy.server.object_server import Application, ObjectServer, quiet_logger
from tierproxy.server.openings import Openings

MAX_HEAD = 32 * 1024  #: bytes of a request's line and headers
IDLE = 30.0  #: seconds for a request's head, and between two requests
MOST_CONNECTIONS = 128
MOST_OF_ONE = 32  #: of them from one address, this machine and named proxies excepted
GRACE = 3.0  #: seconds for requests at the stop: none here is worth more

_REFUSAL = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 12\r\nconnection: close\r\n\r\n"
    b"bad request\n"
)


class Port(Protocol):
    """``tierproxy.admin.port.AdminPort``, as far as a listener knows it."""

    @property
    def app(self) -> Application: ...

    def opened(self, url: str) -> None: ...

    def closing(self) -> None: ...

    def login_path(self) -> str: ...

    def reload(self, config: Config) -> None: ...


class Crowd:
    """Who may have how many connections. ``proxies``: networks that speak for others, as ``[admin] behind_proxy``."""

    def __init__(self, proxies: Iterable[str]) -> None:
        self._many = [ipaddress.ip_network(one) for one in (*proxies, "127.0.0.0/8", "::1/128")]

    def takes(self, newcomer: str, everybody: Sequence[str]) -> bool:
        """Whether one more of ``newcomer`` may be among ``everybody``, who has it already."""
        if len(everybody) > MOST_CONNECTIONS:
            return False
        return everybody.count(newcomer) <= MOST_OF_ONE or self._speaks_for_many(newcomer)

    def _speaks_for_many(self, text: str) -> bool:
        address = ipaddress.ip_address(text.partition("%")[0])
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self._many)


class AdminConnection(Connection):
    """One of a ``Crowd``; whoever is too much is cut off at once."""

    def __init__(self, *arguments: Any, crowd: Crowd, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._crowd = crowd
        self.peer = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.peer = self.client[0] if self.client else ""
        everybody = [one.peer for one in self.connections if isinstance(one, AdminConnection)]
        if not self._crowd.takes(self.peer, everybody):
            transport.abort()

    def send_400_response(self, msg: str) -> None:
        """As ``Connection``'s, for browsers and programs that know no S3."""
        if not self._idle():
            self.transport.abort()
            return
        self.transport.write(_REFUSAL)
        self.transport.close()


class AdminServer(ObjectServer):
    """Serves a ``Port`` as ``[admin]`` says. Raises ConfigError from the constructor for a listener that must not be
    opened (passwords would travel in the clear), and from ``start`` (address taken, certificate unusable)."""

    title = "admin port"

    def __init__(
        self, settings: AdminSection, port: Port, clock: Clock, *, openings: Openings | None = None
    ) -> None:  # fmt: skip
        option, fault = admin_fault(settings)
        if fault:
            raise ConfigError(
                f"[admin] {option}: {fault}", hint="docs/admin.md shows the admin port with TLS and behind a proxy"
            )
        super().__init__(_listen_section(settings), port.app, clock, openings=openings, most=2 * MOST_CONNECTIONS)
        self._port = port
        self._crowd = Crowd(settings.behind_proxy)

    def login_url(self) -> str:
        """Logs its reader in, once and soon. Only while the port is open."""
        return f"{self.url}{self._port.login_path()}"

    @property
    def url(self) -> str | None:
        """For this machine: an address that means every address is reached by the loopback one."""
        found = super().url
        return found and found.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")

    async def start(self) -> None:
        try:
            await super().start()
        except ConfigError as error:
            hint = "another program has the port: see [admin] address, or set [admin] enabled = false"
            raise ConfigError(f"admin port: {error}", hint=hint) from error
        try:
            self._port.opened(self.url or "")
        except TierproxyError:
            await self.stop(0)
            raise

    async def stop(self, grace: float) -> None:
        """Event streams end first: they would last for ever."""
        self._port.closing()
        await super().stop(min(grace, GRACE))

    def follow(self, config: Config) -> None:
        """loop. Apply what is reloadable: the certificate's files, and what the port makes of the rest."""
        self.reload(_listen_section(config.admin))
        self._port.reload(config)

    def _factory(self) -> Callable[[], Connection]:
        return _connections(self._config, self._state, self._crowd, quiet_logger())


def _connections(
    config: uvicorn.config.Config, state: Connections, crowd: Crowd, logger: logging.Logger
) -> Callable[[], Connection]:
    loop = asyncio.get_running_loop()

    def connect() -> Connection:
        return AdminConnection(
            config, state, crowd=crowd, max_head=MAX_HEAD, idle_timeout=IDLE, loop=loop, logger=logger
        )

    return connect


def _listen_section(settings: AdminSection) -> ListenSection:
    """``[admin]`` in the listener's words. ``auth`` is the app's own business."""
    return ListenSection(
        address=settings.address, tls_certificate=settings.tls_certificate, tls_key=settings.tls_key,
        max_header_bytes=Size(MAX_HEAD), idle_timeout=Duration(IDLE),
    )  # fmt: skip
