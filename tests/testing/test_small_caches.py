"""A node that remembers few names (``tierproxy.testing.small_caches``)."""

from __future__ import annotations

import subprocess
import sys

import pytest

KEPT = """
import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tierproxy.testing.small_caches import remember

if int(sys.argv[1]):
    remember(int(sys.argv[1]))

from tierproxy.testing.rig import rig


async def main(place):
    async with rig(Path(place) / "data") as r:
        for number in range(30):
            await r.put(f"a/{number}", b"mail")
        parts = r.parts
        print(len(parts.lookup.changes._ticks), parts.naming.of.cache_info().currsize)


with TemporaryDirectory() as place:
    asyncio.run(main(place))
"""


@pytest.mark.parametrize(("names", "kept"), [("7", "7 7"), ("0", "30 30")])
def test_what_is_kept_by_name_holds_no_more(names: str, kept: str) -> None:
    ran = subprocess.run([sys.executable, "-c", KEPT, names], check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == kept
