#!/usr/bin/env python3
"""How much mail goes through on a file system that is full to the last byte (decision 36).

A store on a tmpfs of its own (needs the right to mount), alt in memory, somebody else takes all room there is. How many
deletes go through then, and how much is let go for them; how many writes with ack both go to alt alone before they are
refused; and all of them are deleted after that. Each commit is of one change: the worst case. Counts, not times.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import DiskSection, MemorySection
from tierproxy.config.values import Duration, Share, Size
from tierproxy.errors import OutOfSpace
from tierproxy.model import Ack
from tierproxy.testing.rig import Rig, rig

MIB = 2**20
MAIL = b"a mail\n" * 100


@contextmanager
def tmpfs(mib: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", directory], check=True)
        try:
            yield Path(directory)
        finally:
            subprocess.run(["umount", "--lazy", directory], check=True)


def fill(root: Path) -> None:
    with (root / "not-ours").open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


async def measured(mib: int, most: int) -> dict[str, int]:
    """``most``: the test ends after so many writes."""
    disk = DiskSection(probe_interval=Duration(3600), max_bytes=Size(mib * MIB), min_free=Share(percent=0.0))
    memory = MemorySection(max_bytes=Size(0))
    with tmpfs(mib) as root:
        async with rig(root / "data", alt=MemoryAlt(), disk=disk, memory=memory, reserve_size=None, check=False) as r:
            kept_back = (root / "data/catalogue/reserve").stat().st_size
            before = min(most, 5000)
            for number in range(before):
                await r.put(f"old.{number}", MAIL, ack=Ack.ALT)
            fill(root)
            deletes = 0
            for number in range(before):
                await r.delete(f"old.{number}")
                deletes += 1
            spent = kept_back - (root / "data/catalogue/reserve").stat().st_size
            fill(root)
            written = await _until_refused(r, most)
            for number in range(written):
                await r.delete(f"new.{number}")
            return {"kept back": kept_back, "deletes": deletes, "let go for them": spent, "writes": written}


async def _until_refused(r: Rig, most: int) -> int:
    for number in range(most):
        try:
            await r.put(f"new.{number}", MAIL)
        except OutOfSpace:
            return number
    return most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=64, help="size of the file system (default: 64)")
    parser.add_argument("--most", type=int, default=100_000, help="writes at most (default: 100000)")
    options = parser.parse_args()
    logging.disable()
    for what, count in asyncio.run(measured(options.mib, options.most)).items():
        print(f"{what:>16}: {count:,}")


if __name__ == "__main__":
    main()
