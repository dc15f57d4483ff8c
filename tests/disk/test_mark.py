"""How far the catalogue had come, noted beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tierproxy.disk.fsio import Files
from tierproxy.disk.mark import CommitMark


def test_what_was_noted_is_read_again(tmp_path: Path) -> None:
    mark = CommitMark(tmp_path, Files())
    assert mark.read() == 0
    for generation in (7, 1_000_000_000_000, 1_000_000_000_001):
        mark.write(generation)
        assert CommitMark(tmp_path, Files()).read() == generation


@pytest.mark.parametrize("torn", [b"", b"123", b"\0" * 20, b"0000000000000000000x", b"1" * 40])
def test_a_torn_note_counts_as_none(tmp_path: Path, torn: bytes) -> None:
    (tmp_path / "committed").write_bytes(torn)
    assert CommitMark(tmp_path, Files()).read() == 0
