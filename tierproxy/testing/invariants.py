"""What must be true after every test: rows = files, bytes in use = their sum, nothing staged, nothing left open."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tierproxy.disk.layout import DataDirectory
from tierproxy.errors import DiskError
from tierproxy.model import Entry
from tierproxy.ports import Catalogue, DiskTier
from tierproxy.store.evidence import sound
from tierproxy.store.walks import blob_rows

BLOCK = 4096


class Accounting(Protocol):
    """``tierproxy.store.space.Space``, as far as it is looked at here."""

    @property
    def used(self) -> int: ...

    @property
    def reserved(self) -> int: ...

    def footprint(self, bucket: str = "") -> int: ...


async def check_invariants(
    catalogue: Catalogue, disk: DiskTier, space: Accounting | None = None, *, root: Path, crashed: bool = False
) -> None:
    """AssertionError that lists everything that is wrong. Only while nothing is being written.

    ``crashed``: the node did not stop in order and has not been started since, so files without rows and staged files
    are allowed; a row without its file never is.
    """
    wrong = [f"catalogue: {complaint}" for complaint in await catalogue.check()]
    wrong += await _bad_rows(catalogue, disk, DataDirectory(root))
    wrong += await _bad_files(catalogue, disk, crashed=crashed)
    if not crashed:
        wrong += [f"still staged: {path.name}" for path in sorted((root / "staging").iterdir())]
    if space is not None:
        wrong += _bad_sums(catalogue, space)
    assert not wrong, "invariants broken:\n  " + "\n  ".join(wrong)


async def _bad_rows(catalogue: Catalogue, disk: DiskTier, directory: DataDirectory) -> list[str]:
    wrong, footprints = list[str](), 0
    async for page in blob_rows(catalogue):
        for entry in page:
            footprints += entry.blob_bytes
            wrong += await _bad_row(entry, disk, directory)
    if footprints != catalogue.totals().blob_bytes:
        wrong.append(f"rows occupy {footprints} bytes, the totals say {catalogue.totals().blob_bytes}")
    return wrong


async def _bad_row(entry: Entry, disk: DiskTier, directory: DataDirectory) -> list[str]:
    try:
        await sound(disk, entry)
    except DiskError as error:
        return [f"{entry.name} ({entry.state}): {type(error).__name__}: {error}"]
    occupied = -(-directory.blob(entry.blob or "").stat().st_size // BLOCK) * BLOCK
    if occupied != entry.blob_bytes:
        return [f"{entry.name}: its blob occupies {occupied} bytes, the row says {entry.blob_bytes}"]
    return []


async def _bad_files(catalogue: Catalogue, disk: DiskTier, *, crashed: bool) -> list[str]:
    parts, part_files = catalogue.part_files(), set(await disk.scan_parts())
    wrong = [f"part {file} is not on disk" for file in sorted(parts - part_files)]
    if crashed:
        return wrong
    wrong += [f"part {file} has no row" for file in sorted(part_files - parts)]
    async for names in disk.scan():
        known = await catalogue.blobs_known(names)
        strange = [name for name in names if name not in known]
        wrong += [f"blob {name} has no row" for name in strange if not await _kept(catalogue, disk, name)]
    return wrong


async def _kept(catalogue: Catalogue, disk: DiskTier, blob: str) -> bool:
    """A write that an earlier crash cut off: nobody but an operator may remove it."""
    try:
        label, _ = await disk.verify(blob)
    except DiskError:
        return False
    return catalogue.unaccounted(label.generation)


def _bad_sums(catalogue: Catalogue, space: Accounting) -> list[str]:
    wrong, expected = list[str](), catalogue.totals().blob_bytes + catalogue.part_bytes()
    if space.used != expected:
        wrong.append(f"{space.used} bytes in use, blobs and parts add up to {expected}")
    for bucket in catalogue.buckets():
        footprint, blobs = space.footprint(bucket.name), catalogue.totals(bucket.name).blob_bytes
        if footprint != blobs:
            wrong.append(f"{footprint} bytes of bucket {bucket.name} in use, its blobs add up to {blobs}")
    if space.reserved:
        wrong.append(f"{space.reserved} bytes still reserved")
    return wrong


@contextmanager
def leaks() -> Iterator[None]:
    """AssertionError if the block leaves descriptors open, threads called ``tierproxy-*`` running, or tasks unfinished.

    Nothing is looked at when the block itself fails: its own error matters more.
    """
    before = _open()
    yield
    gc.collect()
    left = _open() - before
    assert not left, "left behind: " + ", ".join(sorted(left.elements()))


def _open() -> Counter[str]:
    return Counter(_descriptors()) + Counter(_threads()) + Counter(_tasks())


def _descriptors() -> list[str]:
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.append("descriptor of " + os.readlink(f"/proc/self/fd/{fd}"))
        except FileNotFoundError:  # the one that listed them
            continue
    return found


def _threads() -> list[str]:
    return [f"thread {thread.name}" for thread in threading.enumerate() if thread.name.startswith("tierproxy-")]


def _tasks() -> list[str]:
    try:
        return [f"task {task.get_name()}" for task in asyncio.all_tasks() if not task.done()]
    except RuntimeError:  # no loop is running
        return []
