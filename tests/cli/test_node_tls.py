"""The command line's way to a node whose admin port has TLS."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.cli.live import live_node, self_signed
from tierproxy.cli.node import Untrusted, far
from tierproxy.config.operators import AdminSection

Pair = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def certified(name: str, by: Pair | None, *, ca: bool) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer, signer = (by[0].subject, by[1]) if by else (subject, key)
    begin = datetime.now(UTC) - timedelta(days=1)
    builder = (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(begin).not_valid_after(begin + timedelta(days=9))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )  # fmt: skip
    return builder.sign(signer, hashes.SHA256()), key


def chain_without_its_root(directory: Path) -> tuple[str, str]:
    """As certificate authorities hand them out: the certificate, who has signed it, and not the root."""
    root = certified("root", None, ca=True)
    between = certified("between", root, ca=True)
    leaf, key = certified("tiers.example.com", between, ca=False)
    files = directory / "chain.pem", directory / "chain.key"
    files[0].write_bytes(leaf.public_bytes(Encoding.PEM) + between[0].public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return str(files[0]), str(files[1])


def test_a_chain_without_its_root_is_trusted(tmp_path: Path) -> None:
    certificate, key = chain_without_its_root(tmp_path)
    admin = AdminSection(address="127.0.0.1:0", tls_certificate=certificate, tls_key=key)
    with live_node(tmp_path / "home", sections={"admin": admin}) as running:
        node = far(running.config)
        assert node is not None
        assert node.url.startswith("https://")


def test_a_certificate_that_does_not_fit_is_said_and_not_gone_around(tmp_path: Path) -> None:
    certificate, key = chain_without_its_root(tmp_path)
    other, _ = self_signed(tmp_path / "other")
    admin = AdminSection(address="127.0.0.1:0", tls_certificate=certificate, tls_key=key)
    with live_node(tmp_path / "home", sections={"admin": admin}) as running:
        file = next((tmp_path / "home").rglob("admin.json"))
        door = json.loads(file.read_text())
        for wrong, words in ((str(other), "cannot be trusted"), (str(tmp_path / "none.pem"), "cannot use")):
            file.write_text(json.dumps(door | {"certificate": wrong}))
            with pytest.raises(Untrusted, match=words):
                far(running.config)
        file.write_text(json.dumps(door))
