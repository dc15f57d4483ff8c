"""Runs ``async def`` tests, and checks after every test that nothing was left behind."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.workers import pytest_collection_modifyitems, pytest_configure, pytest_xdist_make_scheduler
from tierproxy.near.versions import table_path

__all__ = ["pytest_collection_modifyitems", "pytest_configure", "pytest_xdist_make_scheduler"]


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Full collections leave out what was there before the first test: thousands of tests and all modules, which cost
    each of them a part of a second."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test to its end on a fresh loop; tasks it leaves are an error."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    asyncio.run(_alone(pyfuncitem.obj, arguments))
    return True


async def _alone(test: Any, arguments: dict[str, Any]) -> None:
    await test(**arguments)
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert not left, f"tasks left behind: {left}"


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Nodes that tests have killed leave their version tables in shared memory, named after their directories."""
    factory = getattr(session.config, "_tmp_path_factory", None)
    base = getattr(factory, "_basetemp", None)
    for root, directories, files in os.walk(base) if base is not None else ():
        if "catalogue" in directories and "lock" in files:
            directories.clear()
            with suppress(OSError):
                table_path(Path(root)).unlink()
