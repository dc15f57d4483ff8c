"""The power fails while a node writes: a sample of all the moments and all that may be left. ``loadtests/power_cut.py
--all`` goes through every one of them, and docs/reliability.md has what that showed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.fuse.world import needs_fuse
from tierproxy.disk.fsio import Files
from tierproxy.testing.forgetful_disk import DROPPED
from tierproxy.testing.forgetful_fs import Forgetful, forgetful
from tierproxy.testing.power_cuts import Round, Without, catalogue_at, record, sweep
from tierproxy.testing.power_stories import STORIES

pytestmark = needs_fuse
ROUNDS = 8
MEMORY = "/dev/shm"  #: an fsync of what is left costs nothing there


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forgetful]:
    with forgetful(tmp_path_factory.mktemp("power")) as fs:
        yield fs


@pytest.fixture
def room() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tierproxy-power-", dir=MEMORY) as room:
        yield Path(room)


@pytest.mark.parametrize("story", STORIES, ids=lambda title: title.replace(" ", "-"))
async def test_what_was_acknowledged_survives_a_power_cut(disk: Forgetful, room: Path, story: str) -> None:
    recording = await record(STORIES[story], disk)
    tally = await sweep(recording, recording.sample(ROUNDS, seed=1), room)
    assert not tally.examples, "\n".join(tally.examples)
    assert tally.boundaries > 5, "hardly anything was written"


@pytest.mark.parametrize("left_out", ["fsync", "fsync_dir", "catalogue OFF", "catalogue NORMAL"])
async def test_without_an_fsync_it_would_be_lost(disk: Forgetful, room: Path, left_out: str) -> None:
    files: Files | None = None
    with ExitStack() as stack:
        if left_out.startswith("catalogue"):
            stack.enter_context(catalogue_at(left_out.split()[1]))
        else:
            files = Without(left_out)
        recording = await record(STORIES["PUT, ack disk"], disk, files)
    (acknowledged,) = set(recording.truth.acknowledged())
    tally = await sweep(recording, [Round(acknowledged, DROPPED)], room)
    assert tally.counts, "nobody noticed"


async def test_the_first_start_makes_the_catalogues_directory_durable(disk: Forgetful, room: Path) -> None:
    """It was made and never fsynced into the data directory: a power cut after the first acknowledgement took the whole
    catalogue away, and the node refused to start on what was left."""
    recording = await record(STORIES["first start"], disk)
    (acknowledged,) = set(recording.truth.acknowledged())
    disk.leave(DROPPED, room / "left", acknowledged)
    assert (room / "left" / "data" / "catalogue" / "catalogue.sqlite").exists()
