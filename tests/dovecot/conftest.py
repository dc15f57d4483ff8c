"""Real Dovecot, real SeaweedFS, real mount.

Stories marked ``dovecot24`` are of Dovecot 2.4 alone, and left out where another one is installed.
``make test-dovecot24`` brings it and runs all stories with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.dovecot.world import Kind, World, check_clean, other_root, world
from tests.fixtures_seaweed import new_bucket, seaweed
from tierproxy.dovecot.private import installed, program
from tierproxy.dovecot.settings import Layout
from tierproxy.dovecot.versions import Series
from tierproxy.embedded import EmbeddedS3
from tierproxy.errors import TierproxyError

__all__ = ["new_bucket", "seaweed"]

S3 = Callable[[], tuple[EmbeddedS3, str]]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if other_root() is not None or _is_24():
        return
    left_out = [item for item in items if item.get_closest_marker("dovecot24")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("dovecot24")]


def _is_24() -> bool:
    try:
        return installed().series is Series.V24
    except TierproxyError:
        return False


def refuse(reason: str) -> None:
    """Skip; an error where CI must not skip silently."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def need_dovecot() -> None:
    if os.geteuid() != 0:
        refuse("a private Dovecot and a mount need root")
    root = other_root()
    way = "tests/install-debian-packages.sh" if root is None else "make test-dovecot24"
    for name in ("dovecot", "doveadm"):
        try:
            program(name, root)
        except TierproxyError as error:
            refuse(f"{error}: run {way} as root")


def need_fuse() -> None:
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        refuse("/dev/fuse cannot be used: a container needs --device /dev/fuse --cap-add SYS_ADMIN")


@pytest.fixture(scope="session")
def s3(request: pytest.FixtureRequest) -> S3:
    """Gives the server and a bucket of one's own. Started when somebody asks first: plain directories need none."""

    def make() -> tuple[EmbeddedS3, str]:
        need_fuse()
        return request.getfixturevalue("seaweed"), request.getfixturevalue("new_bucket")()

    return make


def worlds(kind: Kind, layout: Layout, s3: S3, **options: object) -> Iterator[World]:
    """A world for a module. At its end node and S3 agree, and Dovecot has said nothing that no story announced."""
    need_dovecot()
    with world(kind, layout, s3, **options) as found:  # type: ignore[arg-type]
        yield found
        assert not found.unexpected(found.read)
        if found.storage is not None:
            found.settle()
            assert "everything agrees" in check_clean(found.storage)


@pytest.fixture
def sound(host: World) -> Iterator[None]:
    """After a story: every mail is where it must be, once, unchanged, S3 has as many, and Dovecot's log is quiet."""
    since, announced = host.dovecot.mark(), len(host.expected)
    yield
    assert host.differences() == []
    assert host.unexpected(since) == []
    if host.storage is not None and host.layout is Layout.MAIN:
        host.settle()
        assert len(host.stored()) == host.ledger.total()
    del host.expected[announced:]
    host.read = host.dovecot.mark()
