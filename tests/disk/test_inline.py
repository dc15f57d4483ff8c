"""Small bodies straight from their files, and the descriptors that stay open for the next read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import xxhash

from tierproxy.disk.inline import InlineBodies
from tierproxy.disk.layout import DataDirectory

BODY = b"Subject: hello\r\n\r\nworld\r\n"


def name_of(number: int) -> str:
    return f"{number:012x}" + "0" * 20


@pytest.fixture
def bodies(tmp_path: Path) -> Iterator[InlineBodies]:
    found = InlineBodies(tmp_path, keep=2)
    yield found
    found.close()


def stored(root: Path, number: int, body: bytes = BODY) -> Path:
    path = DataDirectory(root).blob(name_of(number))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body + b"a trailer")
    return path


def read(bodies: InlineBodies, number: int, body: bytes = BODY) -> bytes | None:
    return bodies.cached(name_of(number), len(body), xxhash.xxh3_128_digest(body))


def files_open(root: Path) -> int:
    found = 0
    for fd in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{fd}").startswith(f"{root}/")
        except FileNotFoundError:  # the directory's own
            continue
    return found


def test_a_file_is_opened_once(bodies: InlineBodies, tmp_path: Path) -> None:
    path = stored(tmp_path, 1)
    assert read(bodies, 1) == BODY
    path.rename(path.with_name("elsewhere"))
    assert read(bodies, 1) == BODY
    assert files_open(tmp_path) == 1


def test_a_removed_file_gives_its_space_back_at_the_next_sweep(bodies: InlineBodies, tmp_path: Path) -> None:
    gone, stays = stored(tmp_path, 1), stored(tmp_path, 2)
    assert (read(bodies, 1), read(bodies, 2)) == (BODY, BODY)
    gone.unlink()
    bodies.sweep()
    assert (read(bodies, 1), read(bodies, 2)) == (None, BODY)
    assert files_open(tmp_path) == 1
    assert stays.exists()


def test_those_used_longest_ago_are_closed_first(bodies: InlineBodies, tmp_path: Path) -> None:
    paths = [stored(tmp_path, number) for number in range(3)]
    for number in (0, 1, 0, 2):
        assert read(bodies, number) == BODY
    for path in paths:
        path.unlink()
    assert [read(bodies, number) for number in range(3)] == [BODY, None, BODY]
    assert files_open(tmp_path) == 2


@pytest.mark.parametrize("damage", [BODY.replace(b"h", b"H"), BODY[:5]], ids=["another byte", "cut"])
def test_what_was_not_written_is_never_returned(bodies: InlineBodies, tmp_path: Path, damage: bytes) -> None:
    path = stored(tmp_path, 1)
    assert read(bodies, 1) == BODY
    path.write_bytes(damage)
    assert read(bodies, 1) is None
    assert files_open(tmp_path) == 0


def test_without_descriptors_to_keep_none_stays_open(tmp_path: Path) -> None:
    stored(tmp_path, 1)
    assert read(InlineBodies(tmp_path), 1) == BODY
    assert files_open(tmp_path) == 0


def test_an_empty_body_needs_its_file(bodies: InlineBodies, tmp_path: Path) -> None:
    assert read(bodies, 1, b"") is None
    stored(tmp_path, 1, b"")
    assert read(bodies, 1, b"") == b""
