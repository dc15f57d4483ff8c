"""A place for nodes of other users."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory that everybody may enter; above pytest's own, nobody but its user may."""
    place = Path(tempfile.mkdtemp(prefix="operation-"))
    place.chmod(0o755)
    try:
        yield place
    finally:
        shutil.rmtree(place)
