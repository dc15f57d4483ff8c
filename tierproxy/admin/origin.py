"""Where a request comes from, and which host it was sent to: what of the connection and of a proxy's headers counts."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers

from tierproxy.admin.problems import Refused
from tierproxy.config.checks import host_and_port
from tierproxy.config.operators import AdminSection
from tierproxy.errors import ConfigError

_DEFAULT_PORTS = {"https": "443", "http": "80"}
_HOST_AND_PORT = re.compile(r"\[([0-9a-fA-F:.]+)\](?::\d+)?|([0-9.]+):\d+")
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?")


@dataclass(frozen=True, slots=True)
class Origin:
    """``address``: of the client, as far as it can be known. ``host``: with its port, as browsers write an origin.
    ``secure``: TLS all the way to the browser, or to its proxy."""

    address: str
    host: str
    secure: bool

    @property
    def text(self) -> str:
        """As a browser's ``Origin`` header has it (RFC 6454)."""
        return f"{'https' if self.secure else 'http'}://{self.host}"


class Origins:
    """Decides as ``[admin]`` says. A name in Host that is not listed is refused: a page of another site can have its
    name point to this machine (DNS rebinding), and its requests would carry nothing else that tells them apart."""

    def __init__(self, settings: Callable[[], AdminSection]) -> None:
        self._settings = settings
        self._proxies = [ipaddress.ip_network(one) for one in settings().behind_proxy]

    def of(self, scope: Mapping[str, Any]) -> Origin:
        """Raises Refused."""
        headers = Headers(raw=scope["headers"])
        peer = plain((scope.get("client") or ("", 0))[0])
        tls = scope.get("scheme") == "https"
        if self._trusted(peer) and "x-forwarded-for" in headers:
            return self._forwarded(headers, peer)
        if self._proxies and not tls and not _loopback(peer) and not self._trusted(peer):
            raise Refused(403, "this port is reached through its proxy", hint="[admin] behind_proxy names the proxies")
        return Origin(peer, self._host(headers.getlist("host"), secure=tls), tls)

    def _forwarded(self, headers: Headers, peer: str) -> Origin:
        """The client is the last address that no proxy of ours has added: those before it are the client's words."""
        chain = [plain(one.strip()) for value in headers.getlist("x-forwarded-for") for one in value.split(",")]
        client = next((one for one in reversed(chain) if not self._trusted(one)), peer)
        if headers.get("x-forwarded-proto", "").strip().lower() != "https":
            raise Refused(403, "the proxy was not reached by https", hint="let it send X-Forwarded-Proto: https")
        hosts = headers.getlist("x-forwarded-host") or headers.getlist("host")
        return Origin(client, self._host(hosts, secure=True), True)

    def _trusted(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._proxies)

    def _host(self, hosts: list[str], *, secure: bool) -> str:
        found = _HOST.fullmatch(hosts[0].strip()) if len(hosts) == 1 else None
        if found is None:
            raise Refused(400, "one Host header is needed")
        name, port = found[1].lower().rstrip("."), found[2]
        if not self._known(name):
            raise Refused(421, f"this node is not known as {name}", hint="list the name in [admin] allowed_hosts")
        return name if port in {None, _DEFAULT_PORTS["https" if secure else "http"]} else f"{name}:{port}"

    def _known(self, name: str) -> bool:
        """Addresses need no list: nobody can make another site's name of one."""
        settings = self._settings()
        if name == "localhost" or _is_address(name):
            return True
        return name in {host.lower() for host in settings.allowed_hosts} or name == _own_name(settings.address)


def _own_name(address: str) -> str:
    try:
        return host_and_port(address)[0].lower()
    except ConfigError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def plain(address: str) -> str:
    """``address`` in one way of writing. A listener for IPv6 gives IPv4 clients as ``::ffff:10.0.0.5``: all of them
    would be one network, and no named proxy. Some proxies write the port as well."""
    found = _HOST_AND_PORT.fullmatch(address)
    text = found[1] or found[2] if found else address
    try:
        known = ipaddress.ip_address(text)
    except ValueError:
        return address
    mapped = known.ipv4_mapped if isinstance(known, ipaddress.IPv6Address) else None
    return str(mapped or known)


def _loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
