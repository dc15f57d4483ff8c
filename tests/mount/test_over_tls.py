"""``tierproxy mount https://...``: the node is on another host, and shows who it is by a certificate."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.cli.live import live_node
from tests.fuse.world import needs_fuse
from tests.mount.test_service import TIME, Place, shell
from tierproxy.fuse.mounting import mounted

pytestmark = needs_fuse
BOX = "u1/mailboxes/INBOX/dbox-Mails"
DELIVER = f"mkdir -p {BOX}; head -c 200000 /dev/urandom > {BOX}/.temp.1; sync {BOX}/.temp.1; cp {BOX}/.temp.1 $KEPT; "
DELIVER += f"mv -n {BOX}/.temp.1 {BOX}/u.1; cmp {BOX}/u.1 $KEPT"


@dataclass
class Far(Place):
    """By TLS over TCP, with the key of the node's own configuration."""

    @property
    def url(self) -> str:
        return f"{self.live.node.url}/mail"


def certificate(directory: Path, host: str) -> tuple[str, str]:
    """For the address ``host``, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tierproxy test")])
    begin = datetime.now(UTC) - timedelta(days=1)
    builder = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(begin).not_valid_after(begin + timedelta(days=9))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))]), critical=False)
    )  # fmt: skip
    files = directory / "node.pem", directory / "node.key"
    files[0].write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return str(files[0]), str(files[1])


@contextmanager
def far(tmp_path: Path, host: str = "127.0.0.1") -> Iterator[Far]:
    """A node that listens with TLS, whose certificate is for ``host``."""
    pem, key = certificate(tmp_path, host)
    with live_node(tmp_path / "node", auth="none", tls_certificate=pem, tls_key=key) as live:
        found = Far(tmp_path, live)
        try:
            yield found
        finally:
            found.end()


def test_mail_is_delivered_and_read_over_https(tmp_path: Path) -> None:
    with far(tmp_path) as here:
        trusting = ("--ca-file", str(tmp_path / "node.pem"))
        process = here.start(*trusting)
        shell(f"KEPT={tmp_path}/kept; {DELIVER}", here.point)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=TIME)
        assert process.returncode == 0, said
        assert not mounted(here.point)
        here.start(*trusting)  # which remembers nothing: all of it comes from the node
        assert shell(f"ls -A {BOX}; cmp {BOX}/u.1 {tmp_path}/kept; rm {BOX}/u.1; ls -A {BOX}", here.point) == "u.1\n"


def doubtful(here: Far, *options: str) -> str:
    """It mounts, as without a node, and says of no name that it is not there. Returns what it logs."""
    process = here.start(*options)
    for command in (f"ls {BOX}", f"cat {BOX}/u.1", "mkdir u1", "ls"):
        done = subprocess.run(
            ["sh", "-c", command], cwd=here.point, capture_output=True, text=True, timeout=TIME, check=False
        )  # fmt: skip
        assert "Input/output error" in done.stderr, (command, done)
    process.send_signal(signal.SIGTERM)
    return process.communicate(timeout=TIME)[1]


def test_a_node_whose_certificate_is_not_known_is_not_believed(tmp_path: Path) -> None:
    with far(tmp_path) as here:
        assert "CERTIFICATE_VERIFY_FAILED" in doubtful(here)


def test_a_certificate_of_another_host_is_not_believed(tmp_path: Path) -> None:
    with far(tmp_path, host="127.0.0.2") as here:
        assert "IP address mismatch" in doubtful(here, "--ca-file", str(tmp_path / "node.pem"))
