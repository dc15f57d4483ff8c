"""A node that serves in this process, so that commands can be run against it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tierproxy.alt.memory import MemoryAlt
from tierproxy.cli.demo.home import Home
from tierproxy.config.sections import AltSection, Config
from tierproxy.errors import AltUnavailable
from tierproxy.node import Node
from tierproxy.ports import AltTier, Clock
from tierproxy.wiring import build


class AltDown(MemoryAlt):
    """Reads and listings work, uploads do not."""

    async def put(self, *_: Any, **__: Any) -> str:
        raise AltUnavailable("alt is down")


@dataclass
class Live:
    """``file`` is a configuration file for ``--config``."""

    node: Node
    config: Config
    file: Path
    alt: AltTier


@contextmanager
def live_node(
    directory: Path,
    alt: AltTier | None = None,
    *,
    clock: Clock | None = None,
    sections: Mapping[str, Any] | None = None,
    **listen: Any,
) -> Iterator[Live]:
    """A running node with its data below ``directory``; alt is in memory. ``sections``: whole sections of the
    configuration, ``listen``: options of [listen]."""
    home = Home(directory)
    directory.mkdir(exist_ok=True)
    alt = alt or MemoryAlt()
    config = home.config(AltSection(access_key_id="a"), "127.0.0.1:0")
    config = replace(
        config, alt=replace(config.alt, check_at_start=False), listen=replace(config.listen, **listen),
        **(sections or {}),
    )  # fmt: skip
    node = build(config, clock=clock, alt=alt)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="live-node")
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(node.start(), loop).result(60)
        try:
            address = (node.url or "").partition("//")[2]
            config = replace(config, listen=replace(config.listen, address=address))
            home.write_config(config)
            yield Live(node, config, home.config_file, alt)
        finally:
            asyncio.run_coroutine_threadsafe(node.stop(1), loop).result(60)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def until(holds: Callable[[], bool]) -> None:
    """Ask for something another process or thread does, for a minute at most."""
    for _ in range(600):
        if holds():
            return
        threading.Event().wait(0.1)
    raise AssertionError("not within a minute")


def self_signed(directory: Path) -> tuple[Path, Path]:
    """A certificate for no host in particular, and its key."""
    directory.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tierproxy test")])
    begin = datetime.now(UTC) - timedelta(days=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    certificate = builder.not_valid_before(begin).not_valid_after(begin + timedelta(days=9)).sign(key, hashes.SHA256())
    files = directory / "certificate.pem", directory / "key.pem"
    files[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files
