"""Where the node is."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from tierproxy.config.checks import is_loopback
from tierproxy.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Address:
    """``socket``: the path of a unix socket; "" for TCP to ``host`` and ``port``, with TLS or without."""

    socket: str = ""
    host: str = ""
    port: int = 0
    tls: bool = False

    def __str__(self) -> str:
        return f"unix:{self.socket}" if self.socket else f"{'https' if self.tls else 'http'}://{self.authority}"

    @property
    def authority(self) -> str:
        """The Host header."""
        if self.socket:
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    @property
    def private(self) -> bool:
        """Nobody on the way can change a body unnoticed."""
        return bool(self.socket) or self.tls or is_loopback(self.host)


def parse_address(text: str) -> Address:
    """``unix:/run/tierproxy/s3.sock``, ``http://127.0.0.1:9300``, ``https://node.example.org``. Raises ConfigError."""
    parts = urlsplit(text)
    if parts.scheme == "unix" and parts.path.startswith("/") and not parts.netloc:
        return Address(socket=parts.path)
    try:
        port = parts.port
    except ValueError:
        port = 0
    plain = not (parts.path.strip("/") or parts.query or parts.fragment or parts.username)
    if parts.scheme in {"http", "https"} and parts.hostname and port != 0 and plain:
        tls = parts.scheme == "https"
        return Address(host=parts.hostname, port=port or (443 if tls else 80), tls=tls)
    raise ConfigError(
        f"{text!r} is no address of a node", hint="unix:/path/of/socket, http://host:port or https://host:port"
    )
