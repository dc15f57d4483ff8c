"""How the tests are shared out among pytest-xdist's workers (``pytest -n 3``). Without ``-n`` this does nothing.

A worker gets whole files. What starts many programs is shared out by whole directories, before the rest: so one worker
plays load tests, one at a time, and another drives Dovecot, browsers and clients.
"""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

PROGRAMS = {
    "loadtests": "load tests", "dovecot": "clients", "browser": "clients", "clients": "clients", "lies": "clients",
}  # fmt: skip
"""Directories and what they are part of, which one worker gets as a whole."""


def share_of(nodeid: str) -> str:
    """What a worker gets together with the test."""
    return PROGRAMS.get(directory_of(nodeid), nodeid.partition("::")[0])


def directory_of(nodeid: str) -> str:
    """``lies`` of ``tests/lies/test_reads.py::test_one``."""
    return [*nodeid.partition("::")[0].split("/"), ""][1]


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Names of a worker's directories are as short as they can be: the path of a socket may have 107 bytes."""
    if hasattr(config, "workerinput"):
        factory = config._tmp_path_factory  # type: ignore[attr-defined]
        factory._given_basetemp = factory._given_basetemp.with_name(config.workerinput["workerid"].removeprefix("gw"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    config.option.loadscopereorder = False
    scheduling = LoadFileScheduling(config, log)
    scheduling._split_scope = share_of
    return scheduling


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes longest begins first. The order within a file and a directory stays."""
    if hasattr(config, "workerinput"):
        first = list(PROGRAMS)
        items.sort(key=lambda item: first.index(found) if (found := directory_of(item.nodeid)) in first else len(first))
