"""What docs/security.md calls a proof is one."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path("docs/security.md").read_text()
THREATS = PAGE[PAGE.index("## Threats") : PAGE.index("## What is not defended")]


def test_every_proof_that_is_named_exists() -> None:
    named = set(re.findall(r"`((?:security|s3api|server|admin|cli|mail)/[a-z_]+(?:\.py)?)`", THREATS))
    assert len(named) > 15
    assert [name for name in named if not Path("tests", name).exists()] == []


def test_every_test_of_this_package_is_named() -> None:
    tests = {path.name for path in Path("tests/security").glob("test_*.py")} - {"test_page.py"}
    assert [name for name in tests if f"`security/{name}`" not in THREATS] == []


def test_every_threat_has_a_proof() -> None:
    rows = [line for line in THREATS.split("\n") if line.startswith("| ") and not line.startswith("| threat")]
    assert len(rows) > 18
    assert [row for row in rows if not re.search(r"`[a-z0-9]+/", row.rsplit(" | ", 1)[-1])] == []
