"""A data directory with mails of different ages, for the commands that look at them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.aged import populated
from tierproxy.alt.memory import MemoryAlt


@pytest.fixture(scope="session")
def alt() -> MemoryAlt:
    """What holds all of those mails."""
    return MemoryAlt()


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, alt: MemoryAlt) -> Path:
    """Made once; nobody changes it."""
    return populated(tmp_path_factory.mktemp("aged") / "home", alt)


@pytest.fixture
def aged(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration file of a copy, on which no node runs."""
    monkeypatch.delenv("TIERPROXY_CONFIG", raising=False)
    home = tmp_path / "home"
    shutil.copytree(made.parent, home)
    file = home / made.name
    file.write_text(made.read_text().replace(str(made.parent), str(home)))
    return file


@pytest.fixture
def rules(aged: Path) -> Path:
    """Its rule file."""
    return aged.parent / "rules.toml"
