"""Who a mount is to its node: never from the command line, which everybody on the machine can read."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tierproxy.cli.client import Door
from tierproxy.cli.trust import own_certificate
from tierproxy.config.sections import Config
from tierproxy.errors import ConfigError
from tierproxy.mount.client_address import Address
from tierproxy.mount.location import Location, located
from tierproxy.mount.signing import Credentials

ID, SECRET = "TIERPROXY_ACCESS_KEY_ID", "TIERPROXY_SECRET_ACCESS_KEY"


class Keys(NamedTuple):
    """What the options say. ``id``: "" for none."""

    id: str
    secret_file: Path | None
    key_file: Path | None
    region: str
    ca_file: Path | None


def key_of(keys: Keys, environment: Mapping[str, str]) -> Credentials | None:
    """None: the node has auth = "none". Raises ConfigError."""
    if keys.key_file:
        name, colon, secret = _private(keys.key_file).partition(":")
        if not colon:
            raise ConfigError(f"{keys.key_file} does not say ID:SECRET")
        return Credentials(name, secret, keys.region)
    if not keys.id:
        return None
    secret = _private(keys.secret_file) if keys.secret_file else environment.get(SECRET, "")
    if not secret:
        raise ConfigError(f"what is the secret of {keys.id}?", hint=f"--secret-file, --key-file or {SECRET}")
    return Credentials(keys.id, secret, keys.region)


def _private(path: Path) -> str:
    """The first line of a file that nobody else can read."""
    try:
        if path.stat().st_mode & 0o007:
            raise ConfigError(f"everybody can read {path}", hint=f"chmod 0600 {path}")
        return path.read_text().split("\n", 1)[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error


def node_of(config: Config, bucket: str) -> tuple[Location, Credentials | None, ssl.SSLContext | None]:
    """Where the node of ``config`` is: its unix socket if it has one; and the first key that may write. Raises
    ConfigError."""
    door = Door.of(config)
    socket = config.listen.unix_socket
    address = Address(socket=socket) if socket else Address("", door.host, door.port, bool(door.tls_certificate))
    key = Credentials(door.access_key_id, door.secret, door.region) if door.access_key_id else None
    return located(address, bucket), key, _trust_itself(address, door.tls_certificate)


def _trust_itself(address: Address, certificate: str) -> ssl.SSLContext | None:
    if not (address.tls and certificate):
        return None
    try:
        return own_certificate(certificate)
    except OSError as error:
        raise ConfigError(f"{certificate}: {error}") from error


def trusted(address: Address, ca_file: Path | None) -> ssl.SSLContext | None:
    """Raises ConfigError."""
    if not address.tls:
        return None
    try:
        return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except OSError as error:
        raise ConfigError(f"{ca_file}: {error}") from error
