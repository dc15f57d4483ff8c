"""Readers beside the node keep the promises of ``tierproxy.ports.Near``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tierproxy.testing.contracts.near import PROMISES, Promise

from .places import Make, beside_the_node, in_memory, in_the_node

PLACES = (in_memory, in_the_node, beside_the_node)


@pytest.mark.parametrize("make", PLACES, ids=lambda make: make.__name__)
@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
async def test_contract(promise: Promise, make: Make, tmp_path: Path) -> None:
    async with make(tmp_path) as place:
        await promise(place)
