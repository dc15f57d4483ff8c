"""Which objects are the files of a mount: a node, a bucket, a prefix."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from tierproxy.config.checks import bucket_name_fault
from tierproxy.errors import ConfigError
from tierproxy.mount.client_address import Address, parse_address

SOCKET_END = ".sock"
FORMS = (
    "unix:/run/tierproxy/s3.sock/BUCKET[/PREFIX], unix:/path/of/socket:/BUCKET[/PREFIX] or "
    "http(s)://HOST:PORT/BUCKET[/PREFIX]; or --bucket"
)


@dataclass(frozen=True, slots=True)
class Location:
    """``prefix``: "" or with a slash at its end."""

    address: Address
    bucket: str
    prefix: str = ""

    def __str__(self) -> str:
        return f"{self.address}/{self.bucket}/{self.prefix}".rstrip("/")


def parse_location(text: str, bucket: str = "") -> Location:
    """``text`` is a URL. Of a unix socket the path ends with the first component that ends in ``.sock``, or at a colon
    before a slash (as nginx writes it): the bucket follows, and a prefix. ``bucket``: where the URL names none; with
    one here, a path of the URL is the prefix. Raises ConfigError."""
    node, path = _of_socket(text) if text.startswith("unix:") else _of_host(text)
    first, _, prefix = path.strip("/").partition("/")
    if bucket:
        first, prefix = bucket, path.strip("/")
    return located(parse_address(node), first, prefix)


def located(address: Address, bucket: str, prefix: str = "") -> Location:
    """Raises ConfigError for a name that no bucket has."""
    if not bucket:
        raise ConfigError(f"which bucket of {address}?", hint=FORMS)
    if fault := bucket_name_fault(bucket):
        raise ConfigError(fault)
    prefix = prefix.strip("/")
    return Location(address, bucket, f"{prefix}/" if prefix else "")


def _of_socket(text: str) -> tuple[str, str]:
    socket, colon, path = text.removeprefix("unix:").rpartition(":/")
    if colon:
        return f"unix:{socket}", path
    steps = text.removeprefix("unix:").split("/")
    end = next((number for number, step in enumerate(steps, 1) if step.endswith(SOCKET_END)), len(steps))
    return f"unix:{'/'.join(steps[:end])}", "/".join(steps[end:])


def _of_host(text: str) -> tuple[str, str]:
    parts = urlsplit(text)
    if parts.query or parts.fragment:
        raise ConfigError(f"{text!r} is not the address of a node and a bucket", hint=FORMS)
    return f"{parts.scheme}://{parts.netloc}", unquote(parts.path)
