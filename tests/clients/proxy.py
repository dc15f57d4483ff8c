"""A real ``tierproxy serve`` process over a real S3 server, for real clients."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config as BotoConfig
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tierproxy.alt.client import s3_client
from tierproxy.config.describe import annotated
from tierproxy.config.operators import AdminSection
from tierproxy.config.sections import (
    AltSection,
    BucketSection,
    Config,
    DiskSection,
    DynamicBucketsSection,
    KeySection,
    ListenSection,
    NodeSection,
)
from tierproxy.config.values import Size
from tierproxy.embedded import EmbeddedS3

MIB = 2**20
WRITER, READER = "AKIDWRITER", "AKIDREADER"
SECRETS = {WRITER: "writer-secret/+" + "w" * 25, READER: "reader-secret/+" + "r" * 25}
READABLE = "mail/public"  #: all that READER may read
REGION = "us-east-1"
MAX_PUT = 48 * MIB
START_SECONDS, STOP_SECONDS = 30.0, 30.0
UPLOAD_SECONDS = AltSection().request_timeout + 60.0


class Proxy:
    """One node with everything below ``home``. ``name`` makes its buckets in alt its own."""

    def __init__(self, home: Path, alt: EmbeddedS3, name: str, *, tls: bool = False) -> None:
        self.home = home
        self.alt = alt
        self.alt_mail, self.alt_dynamic = f"{name}-mail", f"{name}-dynamic"
        self.certificate = home / "certificate.pem"
        self.address = "127.0.0.1:0"
        self._tls = tls
        self._process: subprocess.Popen[bytes] | None = None
        self._prepare()

    def __repr__(self) -> str:
        return f"<Proxy {self.url}>"

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.address}"

    @property
    def unix_socket(self) -> Path:
        return self.home / "s3.sock"

    @property
    def config_file(self) -> Path:
        return self.home / "tierproxy.toml"

    @property
    def log_file(self) -> Path:
        return self.home / "serve.log"

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def client(self, key: str = WRITER, *, secret: str = "", **options: Any) -> Any:
        """boto3's S3 client with default settings, except that a failure is not hidden by another try."""
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=key,
            aws_secret_access_key=secret or SECRETS[key],
            region_name=REGION,
            verify=str(self.certificate) if self._tls else None,
            config=BotoConfig(retries={"total_max_attempts": 1}, **options),
        )

    def trust(self) -> ssl.SSLContext:
        """What a client needs to trust the certificate."""
        return ssl.create_default_context(cafile=self.certificate)

    def direct(self) -> Any:
        """boto3's S3 client of the server behind."""
        return s3_client(self.alt.section())

    # ------------------------------------------------------------ the process

    def start(self) -> None:
        """Returns when clients are served; the port stays the same over restarts."""
        self._write_config()
        seen = self.log_file.stat().st_size if self.log_file.exists() else 0
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tierproxy", "serve", "--config", str(self.config_file)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=clean_environment(),
            )  # fmt: skip
        self.address = self._wait_until_ready(self._process, seen)

    def stop(self) -> int:
        """SIGTERM. Returns the exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of tierproxy with this node's configuration."""
        command = [sys.executable, "-m", "tierproxy", *words, "--config", str(self.config_file)]
        environment = clean_environment()
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100, check=False)

    def wait_for_uploads(self) -> None:
        """Until the upload queue is empty. After a kill some names wait for what alt may still be at."""
        deadline = time.monotonic() + UPLOAD_SECONDS
        while time.monotonic() < deadline:
            found = self.command("queue", "list", "--json")
            assert found.returncode == 0, found.stderr
            if json.loads(found.stdout)["totals"]["jobs"] == 0:
                return
        raise AssertionError(f"uploads do not end: {found.stdout}")

    def _end(self, how: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(how)
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def _wait_until_ready(self, process: subprocess.Popen[bytes], seen: int) -> str:
        for _ in range(int(START_SECONDS / 0.05)):
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
                break
            if found := re.search(r"ready.*?//([\d.]+:\d+)", self.log()[seen:]):
                return found[1]
        process.kill()
        process.wait()
        raise AssertionError(f"tierproxy did not start:\n{self.log()}")

    # ------------------------------------------------------------ its files

    def _prepare(self) -> None:
        for name, secret in (SECRETS | {"alt-secret": self.alt.secret_key}).items():
            (self.home / name).touch(0o600)
            (self.home / name).write_text(secret)
        for bucket in (self.alt_mail, self.alt_dynamic):
            self.alt.make_bucket(bucket)
        if self._tls:
            write_certificate(self.certificate, self.home / "key.pem")

    def _write_config(self) -> None:
        config = Config(
            node=NodeSection(data_dir=str(self.home / "data"), access_log=True),
            listen=ListenSection(
                address=self.address,
                unix_socket=str(self.unix_socket),
                max_put_size=Size(MAX_PUT),
                tls_certificate=str(self.certificate) if self._tls else "",
                tls_key=str(self.home / "key.pem") if self._tls else "",
            ),
            admin=AdminSection(address="127.0.0.1:0"),
            alt=AltSection(
                endpoint=self.alt.endpoint,
                access_key_id=self.alt.access_key,
                secret_access_key_file=str(self.home / "alt-secret"),
                multipart_threshold=Size(16 * MIB),
                multipart_part_size=Size(8 * MIB),
            ),
            disk=DiskSection(max_bytes=Size(2 * 2**30)),
            dynamic_buckets=DynamicBucketsSection(enabled=True, alt_bucket=self.alt_dynamic),
            bucket=(BucketSection(name="mail", alt_bucket=self.alt_mail),),
            key=(
                KeySection(access_key_id=WRITER, secret_file=str(self.home / WRITER)),
                KeySection(
                    access_key_id=READER, secret_file=str(self.home / READER), buckets=(READABLE,), access="read"
                ),
            ),
        )
        self.config_file.write_text(annotated(config))


class Behind:
    """What the server behind a proxy holds: asked directly, not through the proxy."""

    def __init__(self, proxy: Proxy, client: Any) -> None:
        self._proxy = proxy
        self._client = client

    def sha256(self, bucket: str, key: str) -> str:
        """Of the object's bytes, by the names that clients of the proxy use. Raises botocore's ClientError."""
        place, key = self._place(bucket, key)
        return sha256(self._client.get_object(Bucket=place, Key=key)["Body"].read())

    def keys(self, bucket: str) -> set[str]:
        """The keys of a bucket, as clients of the proxy know them."""
        place, prefix = self._place(bucket, "")
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=place, Prefix=prefix)
        return {row["Key"].removeprefix(prefix) for page in pages for row in page.get("Contents", [])}

    def _place(self, bucket: str, key: str) -> tuple[str, str]:
        if bucket == "mail":
            return self._proxy.alt_mail, key
        return self._proxy.alt_dynamic, f"buckets/{bucket}/{key}"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def clean_environment(**more: str) -> dict[str, str]:
    """For child processes: without credentials, certificates, proxies and settings of whoever runs the tests."""
    unwanted = re.compile(r"AWS_|TIERPROXY_|RCLONE_|.*CA_BUNDLE|SSL_CERT_|.*_proxy$", re.IGNORECASE)
    kept = {name: value for name, value in os.environ.items() if not unwanted.match(name)}
    return kept | {"LC_ALL": "C.UTF-8"} | more


def write_certificate(certificate: Path, key_file: Path) -> None:
    """A self-signed certificate for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tierproxy test")])
    begin = datetime.now(UTC) - timedelta(days=1)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=9))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    certificate.write_bytes(signed.public_bytes(Encoding.PEM))
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
