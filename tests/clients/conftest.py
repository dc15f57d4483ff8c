"""One S3 server and two nodes over it, plain and TLS, for all tests of this directory. They end with the session."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.clients.proxy import Behind, Proxy, clean_environment
from tierproxy.embedded import EmbeddedS3

NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def directory() -> Iterator[Path]:
    """Removed at the end, whatever happens: hundreds of megabytes. Its name is short enough for a unix socket."""
    with tempfile.TemporaryDirectory(prefix="tierproxy-clients-") as name:
        yield Path(name)


@pytest.fixture
def tmp_path(directory: Path) -> Iterator[Path]:
    """As pytest's, but removed after the test."""
    with tempfile.TemporaryDirectory(dir=directory) as name:
        yield Path(name)


@pytest.fixture(scope="session", autouse=True)
def environment() -> Iterator[None]:
    """boto3 in this process must not see the settings of whoever runs the tests."""
    kept = clean_environment()
    with pytest.MonkeyPatch.context() as patch:
        for name in set(os.environ) - set(kept):
            patch.delenv(name)
        patch.setenv("AWS_CONFIG_FILE", os.devnull)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield


@pytest.fixture(scope="session")
def alt(directory: Path, environment: None) -> Iterator[EmbeddedS3]:
    """Killed at the end: an orderly stop takes it up to twenty seconds, and its data is thrown away."""
    server = EmbeddedS3(directory / "alt", "alt-key", "alt-secret")
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def sound(proxy: Proxy) -> Iterator[Proxy]:
    """Run it. At the end it stops by itself, has met no error it did not expect, and its tiers agree."""
    proxy.start()
    try:
        yield proxy
    finally:
        status = proxy.stop()
    assert status == 0, proxy.log()
    for word in ("InternalError", "Traceback", "broke", "never awaited"):
        assert word not in proxy.log()
    checked = proxy.command("check", "--alt")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def proxy_at(directory: Path, alt: EmbeddedS3, name: str, *, tls: bool = False) -> Proxy:
    (directory / name).mkdir()
    return Proxy(directory / name, alt, name, tls=tls)


@pytest.fixture(scope="session")
def plain_proxy(directory: Path, alt: EmbeddedS3) -> Iterator[Proxy]:
    with sound(proxy_at(directory, alt, "plain")) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def tls_proxy(directory: Path, alt: EmbeddedS3) -> Iterator[Proxy]:
    with sound(proxy_at(directory, alt, "tls", tls=True)) as proxy:
        yield proxy


@pytest.fixture
def proxy(plain_proxy: Proxy) -> Proxy:
    """The node that a test speaks to: the plain one, unless the module says otherwise."""
    return plain_proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Any]:
    """boto3's client with default settings and the key that may do everything."""
    with closing(proxy.client()) as found:
        yield found


@pytest.fixture
def bucket(client: Any) -> str:
    """A bucket made by CreateBucket, nobody else's."""
    name = f"bucket-{next(NUMBERS)}"
    client.create_bucket(Bucket=name)
    return name


@pytest.fixture
def behind(proxy: Proxy) -> Iterator[Behind]:
    with closing(proxy.direct()) as direct:
        yield Behind(proxy, direct)
