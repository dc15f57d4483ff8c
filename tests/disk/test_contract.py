"""``DiskBlobs`` keeps the contract of the disk tier, also while somebody watches its file calls."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tierproxy.disk.fsio import Files
from tierproxy.testing.contracts.disk import PROMISES, Promise
from tierproxy.testing.crash import CrashFiles, FaultyFiles
from tierproxy.testing.hanging import SickFiles

from .rigs import disk_rig, watched_rig


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
async def test_a_watched_and_guarded_disk_tier_keeps_them_too(promise: Promise, tmp_path: Path) -> None:
    async with watched_rig(tmp_path / "data", SickFiles()) as rig:
        await promise(rig)


@pytest.mark.parametrize("files", [Files, CrashFiles, FaultyFiles])
@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
async def test_the_disk_tier_keeps_its_promises(promise: Promise, files: Callable[[], Files], tmp_path: Path) -> None:
    async with disk_rig(tmp_path / "data", files()) as rig:
        await promise(rig)
