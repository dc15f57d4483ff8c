"""A real S3 server for the whole test session. Import the fixtures where they are used."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from tierproxy.embedded import EmbeddedS3


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedS3]:
    """A running SeaweedFS. Shared: never stop, kill or freeze it; make an EmbeddedS3 of your own for that. Killed at
    the end: an orderly stop takes seconds, and its data is thrown away."""
    server = EmbeddedS3(tmp_path_factory.mktemp("seaweed"), "test-key", "test-secret")
    server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def new_bucket(seaweed: EmbeddedS3) -> Callable[[], str]:
    """Makes a bucket nobody else uses and returns its name. Each costs SeaweedFS seven volumes: use few."""
    numbers = itertools.count(1)

    def make() -> str:
        name = f"bucket-{next(numbers)}"
        seaweed.make_bucket(name)
        return name

    return make
