"""curl with --aws-sigv4, over TCP, TLS and the unix socket. Before 8.1 it sends no x-amz-content-sha256 of its own."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from tests.clients.programs import Program, find
from tests.clients.proxy import REGION, SECRETS, WRITER, Behind, Proxy, clean_environment, sha256
from tierproxy.testing.mails import mail

pytestmark = pytest.mark.clients


@pytest.fixture(params=["http", "https", "unix"])
def door(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def proxy(door: str, plain_proxy: Proxy, tls_proxy: Proxy) -> Proxy:
    return tls_proxy if door == "https" else plain_proxy


@pytest.fixture
def curl(door: str, proxy: Proxy, tmp_path: Path) -> Program:
    options = [
        "--silent", "--show-error", "--aws-sigv4", f"aws:amz:{REGION}:s3", "--user", f"{WRITER}:{SECRETS[WRITER]}",
        "--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD",
    ]  # fmt: skip
    if door == "unix":
        options += ["--unix-socket", str(proxy.unix_socket)]
    elif door == "https":
        options += ["--cacert", str(proxy.certificate)]
    return Program([find("curl"), "--disable", *options], clean_environment(), tmp_path)


@pytest.fixture
def base(door: str, proxy: Proxy, bucket: str) -> str:
    return f"{'http://localhost' if door == 'unix' else proxy.url}/{bucket}"


def test_a_mail_goes_in_and_out(curl: Program, base: str, bucket: str, behind: Behind, tmp_path: Path) -> None:
    content = mail(3).content
    (tmp_path / "mail").write_bytes(content)
    url = f"{base}/{quote('ann/1 ä')}"
    answer = curl.run("--fail", "--include", "--upload-file", "mail", "-H", "x-tierproxy-ack: both", url).decode()
    assert "x-tierproxy-tiers: disk,alt" in answer
    assert "server-timing: disk;dur=" in answer
    assert curl.run("--fail", url) == content
    assert curl.run("--fail", "--range", "5-9", url) == content[5:10]
    assert behind.sha256(bucket, "ann/1 ä") == sha256(content)
    head = curl.run("--fail", "--head", url).decode().lower()
    assert f"content-length: {len(content)}\r\n" in head
    assert "x-tierproxy-tiers: disk,alt" in head
    back = curl.run("--fail", "--dump-header", "-", "--output", "back", url).decode().lower()
    assert "x-tierproxy-fill: hit" in back
    curl.run("--fail", "--request", "DELETE", url)
    assert b"<Code>NoSuchKey</Code>" in curl.run(url)


def test_a_listing_and_a_refusal(curl: Program, base: str, tmp_path: Path) -> None:
    (tmp_path / "mail").write_bytes(b"mail")
    curl.run("--fail", "--upload-file", "mail", f"{base}/1")
    assert b"<Key>1</Key>" in curl.run("--fail", f"{base}?list-type=2&prefix=1")
    assert b"SignatureDoesNotMatch" in curl.run("--user", f"{WRITER}:wrong", f"{base}/1")
    assert b"<Code>NotImplemented</Code>" in curl.run(f"{base}/1?acl=")
