"""The contract of the catalogue, on the real one and behind a wrapper that injects nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from tierproxy.ports import Catalogue
from tierproxy.testing.contracts.catalogue import CatalogueContract
from tierproxy.testing.contracts.catalogue_rows import sqlite_catalogue
from tierproxy.testing.faulty_catalogue import FaultyCatalogue


class OnDisk(CatalogueContract):
    @pytest.fixture(autouse=True)
    def _data(self, tmp_path: Path) -> None:
        self.data = tmp_path


class TestSqliteCatalogue(OnDisk):
    def opened(self) -> AbstractAsyncContextManager[Catalogue]:
        return sqlite_catalogue(self.data)


class TestFaultyCatalogueWithoutFaults(OnDisk):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Catalogue]:
        async with sqlite_catalogue(self.data) as catalogue:
            yield FaultyCatalogue(catalogue).port
