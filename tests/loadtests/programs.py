"""The load tests' own modules, which are programs' and not on the path."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import SimpleNamespace

import pytest

from tests.loadtests.test_load_scripts import ROOT

HERE = str(ROOT / "loadtests")


@contextmanager
def loaded(patch: pytest.MonkeyPatch, *names: str) -> Iterator[SimpleNamespace]:
    """Modules by the last part of their names; forgotten again at the end."""
    patch.syspath_prepend(HERE)
    before = set(sys.modules)
    try:
        yield SimpleNamespace(**{name.rpartition(".")[2]: import_module(name) for name in names})
    finally:
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "") or "").startswith(HERE):
                del sys.modules[name]
