#!/usr/bin/env python3
"""What it costs to ask mails what they say of themselves: ``python loadtests/bench_metadata.py``.

Writes of sdbox files of 16 KiB with ack disk, uploads held back, with ``mail_metadata`` and without, in turns in one
process, one at a time and 16 at once; and how long parsing alone takes, of a usual mail and of mails made to be slow.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable
from itertools import count
from pathlib import Path
from statistics import median

import report
from measuring import HEAD, Contender, Sample, compare, many, rows

from tierproxy.config.sections import BucketSection
from tierproxy.mail.dbox import written
from tierproxy.mail.metadata import Whose, described, said
from tierproxy.model import Ack
from tierproxy.store.describing import ends_in
from tierproxy.testing.mails import mail
from tierproxy.testing.rig import BUCKET, Rig, rig

GUID = "5f1a0b72c3d4e5f60718293a4b5c6d7e"
KEY = "alice/mailboxes/INBOX/dbox-Mails/u."
SLOW = {
    "32 KiB of header lines without a name that is wanted": b"X: y\n" * 7000,
    "a subject of 32 KiB of encoded words": b"Date: x\nFrom: y\nSubject: " + b"=?utf-8?q?=C3=BC?= " * 1700 + b"\n\n",
    "a subject folded 8,000 times": b"Date: x\nFrom: y\nSubject: x" + b"\n y" * 8000 + b"\n\n",
    "texts of 4 KiB in other alphabets": b"Date: x\nFrom: %b\nSubject: %b\n\n"
    % (
        ("ж" * 2000).encode(),
        ("会" * 1300).encode(),
    ),
}


def usual() -> bytes:
    """The first real mail of about 16 KiB."""
    found = next(one.content for one in map(mail, count(1)) if 12_000 < len(one.content) < 20_000)
    return found.replace(b"\r\n", b"\n")


def milliseconds(message: bytes) -> float:
    """Of parsing, the median of many."""
    content = written(message, created=1, received=1, guid=GUID)
    taken = []
    for _ in range(200):
        begin = time.perf_counter()
        found = said(KEY + "1", ends_in(content))
        assert found is not None
        described(found, Whose("alice", "INBOX"), 0.0, {})
        taken.append(time.perf_counter() - begin)
    return median(taken) * 1000


def contender(name: str, node: Rig, content: bytes, at_once: int, seconds: float) -> Contender:
    numbers = count()

    async def put(_: int) -> None:
        await node.put(f"{KEY}{at_once}{next(numbers)}", content, ack=Ack.DISK)

    def measured(number: int) -> Awaitable[Sample]:
        return many(put, number, at_once, seconds)

    return Contender(name, measured)


async def run(options: argparse.Namespace, directory: Path) -> list[str]:
    content = written(usual(), created=1, received=1, guid=GUID)
    tables = []
    buckets = {"without": (BucketSection(name=BUCKET),), "with": (BucketSection(name=BUCKET, mail_metadata=True),)}
    async with (
        rig(directory / "without", bucket=buckets["without"], check=False) as plain,
        rig(directory / "with", bucket=buckets["with"], check=False) as telling,
    ):
        await plain.node.quiet()
        await telling.node.quiet()
        for at_once in (1, 16):
            pair = [
                contender("without", plain, content, at_once, options.seconds),
                contender("with mail_metadata", telling, content, at_once, options.seconds),
            ]
            await compare(pair, options.rounds)
            tables.append(f"{at_once} at once\n\n" + report.table(HEAD, rows(pair, pair[0])))
    return tables


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each round of writes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tierproxy-bench-") as directory:
        for table in asyncio.run(run(options, Path(directory))):
            print(f"{table}\n")
    times = [["a usual mail", f"{milliseconds(usual()):.2f}"]]
    times += [[name, f"{milliseconds(message):.2f}"] for name, message in SLOW.items()]
    print(report.table(["parsing", "ms"], times))
    return 0


if __name__ == "__main__":
    sys.exit(main())
