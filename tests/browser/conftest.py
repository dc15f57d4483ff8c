"""A browser, and one node for all tests here: it takes longer to start than a test takes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.stage import Stage, stage
from tests.browser.windows import in_ci, launched, missing
from tests.fixtures_seaweed import new_bucket, seaweed
from tierproxy.embedded import EmbeddedS3

__all__ = ["new_bucket", "seaweed"]

PATIENCE = 60_000
"""Milliseconds that an expectation may take on a busy machine."""


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if missing():
        if in_ci():
            pytest.fail(f"not installed: {missing()}", pytrace=False)
        pytest.skip(f"not installed: {missing()}")
    expect.set_options(timeout=PATIENCE)
    with launched() as found:
        yield found


@pytest.fixture(scope="package")
def started(browser: Browser, seaweed: EmbeddedS3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A node with traffic, rules and mail; ``browser`` first, so that nothing is started for nobody."""
    home = tmp_path_factory.mktemp("stage")
    with stage(home, seaweed, bucket=f"browser-{home.name}") as one:
        yield one


@pytest.fixture
def node(started: Stage) -> Stage:
    """As if nobody had touched it: the rules it began with, no shadow, all mail on disk."""
    started.reset()
    return started
