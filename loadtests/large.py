#!/usr/bin/env python3
"""A large object goes in by multipart upload and comes out, twice: from disk and, purged, from alt. Memory is watched.

The object is made on the fly from a seed, part by part, by stock boto3; no process ever holds it. The proxy is a
``tierproxy serve`` of its own with ack ``both``, in front of a real SeaweedFS. Its resident memory is sampled all the
time; the peak must stay within --bound MiB above what it had when idle.

Why a bound can be given: a part is hashed and written to disk in pieces of 1 MiB as it arrives; the upload to alt holds
three parts of ``[alt] multipart_part_size`` (16 MiB) and boto3's and the allocator's copies of them; a download holds
pieces of 256 KiB.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import report
from served import ACCESS_KEY_ID, BUCKET, SECRET, Failed, Served, config_for, seaweed, served, workplace

from tierproxy.alt.client import s3_client
from tierproxy.config.sections import AltSection
from tierproxy.config.values import Duration

KEY = "large/object.bin"
PIECE = 2**20
SAMPLING = 0.02  #: seconds between two looks at the memory
AROUND = 4 * 2**30  #: bytes of room beside three copies of the object (parts, blob, alt)


@dataclass
class Phase:
    """One thing done to the proxy. Bytes of memory before and at most, seconds."""

    name: str
    size: int
    before: int = 0
    peak: int = 0
    seconds: float = 0.0
    failure: str = ""

    def row(self) -> list[str]:
        mib = [f"{value / 2**20:.0f}" for value in (self.before, self.peak, self.peak - self.before)]
        return [self.name, f"{self.size / 2**20 / max(self.seconds, 1e-9):.0f}", *mib, self.failure or "yes"]


@dataclass
class Memory:
    """Samples a process' resident memory while a phase runs."""

    proxy: Served
    phases: list[Phase] = field(default_factory=list)

    @contextmanager
    def watching(self, name: str, size: int) -> Iterator[Phase]:
        phase = Phase(name, size, before=self.proxy.resident())
        phase.peak = phase.before
        self.phases.append(phase)
        done = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(phase, done), name="memory")
        watcher.start()
        begin = time.monotonic()
        try:
            yield phase
        finally:
            phase.seconds = time.monotonic() - begin
            done.set()
            watcher.join()

    def _watch(self, phase: Phase, done: threading.Event) -> None:
        while not done.wait(SAMPLING):
            phase.peak = max(phase.peak, self.proxy.resident())


class Content:
    """``size`` bytes that a seed decides; ``part`` makes any stretch of whole MiB again."""

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self._seed = seed
        self.sha256 = hashlib.sha256()

    def part(self, start: int, length: int) -> bytes:
        pieces = range(start // PIECE, -(-(start + length) // PIECE))
        return b"".join(random.Random(f"{self._seed}/{number}").randbytes(PIECE) for number in pieces)[:length]

    def parts(self, length: int) -> Iterator[bytes]:
        """All of it, hashed on the way."""
        for start in range(0, self.size, length):
            part = self.part(start, min(length, self.size - start))
            self.sha256.update(part)
            yield part


def client_of(proxy: Served) -> Any:
    section = AltSection(endpoint=proxy.url, access_key_id=ACCESS_KEY_ID, secret_access_key=SECRET)
    return s3_client(replace(section, request_timeout=Duration(300)))


def put(proxy: Served, content: Content, part_size: int, say: Callable[[str], None]) -> None:
    """CreateMultipartUpload, UploadPart as often as needed, CompleteMultipartUpload."""
    with closing(client_of(proxy)) as client:
        upload = client.create_multipart_upload(Bucket=BUCKET, Key=KEY)["UploadId"]
        where = {"Bucket": BUCKET, "Key": KEY, "UploadId": upload}
        sent = []
        for number, part in enumerate(content.parts(part_size), 1):
            answer = client.upload_part(**where, PartNumber=number, Body=part)
            sent.append({"PartNumber": number, "ETag": answer["ETag"]})
            say(f"part {number} of {-(-content.size // part_size)}")
        say("completing: the parts become one file, and one object in alt")
        client.complete_multipart_upload(**where, MultipartUpload={"Parts": sent})


def get(proxy: Served, content: Content, tier: str) -> str:
    """What is wrong with the object as it comes out; "" if nothing is."""
    digest, size = hashlib.sha256(), 0
    with closing(client_of(proxy)) as client:
        answer = client.get_object(Bucket=BUCKET, Key=KEY)
        came_from = answer["ResponseMetadata"]["HTTPHeaders"].get("x-tierproxy-tier")
        for piece in answer["Body"].iter_chunks(PIECE):
            digest.update(piece)
            size += len(piece)
    if came_from != tier:
        return f"it came from {came_from}, not from {tier}"
    return (
        "" if digest.digest() == content.sha256.digest() else f"{size} bytes came back, and they are not the ones sent"
    )


def run(options: argparse.Namespace, say: Callable[[str], None]) -> list[Phase]:
    size = int(options.gib * 2**30)
    content = Content(size, options.seed)
    with workplace(options.dir, 3 * size + AROUND) as directory, seaweed(directory) as alt:
        config = config_for(directory, alt.section())
        with served(directory, config) as proxy:
            memory = Memory(proxy)
            with memory.watching("multipart upload, ack both", size):
                put(proxy, content, options.part_mib * 2**20, say)
            with memory.watching("download from disk", size) as phase:
                phase.failure = get(proxy, content, "disk")
            proxy.stop()
            say(f"purged {proxy.purge() / 2**20:.0f} MiB from disk")
            proxy.start()
            with memory.watching("download from alt", size) as phase:
                phase.failure = get(proxy, content, "alt")
    return memory.phases


def verdict(phases: list[Phase], bound: int) -> list[str]:
    """What is wrong, in sentences."""
    wrong = [f"{phase.name}: {phase.failure}" for phase in phases if phase.failure]
    return wrong + [
        f"{phase.name}: the peak is {(phase.peak - phase.before) / 2**20:.0f} MiB above idle, {bound} are allowed"
        for phase in phases
        if phase.peak - phase.before > bound * 2**20
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=5.0, help="size of the object (default: %(default)s)")
    parser.add_argument("--part-mib", type=int, default=64, help="size of the client's parts (default: %(default)s)")
    parser.add_argument("--bound", type=int, default=400, help="MiB above idle that are allowed (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="decides the bytes (default: %(default)s)")
    parser.add_argument("--dir", help="where to work; needs three times the size and 4 GiB")
    parser.add_argument("--write", action="store_true", help="record the result in docs/benchmarks.md")
    options = parser.parse_args()
    say = (lambda text: print(f"\r{text:<70}", end="", file=sys.stderr, flush=True)) if sys.stderr.isatty() else _quiet
    try:
        phases = run(options, say)
    except Failed as error:
        print(f"FAILED: {error}")
        return 1
    head = ("what", "MiB/s", "idle MiB", "peak MiB", "above idle", "bytes right")
    rows = report.table(head, [phase.row() for phase in phases])
    text = f"{options.gib:g} GiB in parts of {options.part_mib} MiB:\n\n{rows}"
    print(text)
    if options.write:
        report.keep("large", text)
    wrong = verdict(phases, options.bound)
    peak = max(phase.peak for phase in phases) / 2**20
    print("\n".join(["FAILED:", *wrong]) if wrong else f"OK: {options.gib:g} GiB in and out, peak RSS {peak:.0f} MiB")
    return 1 if wrong else 0


def _quiet(_text: str) -> None:
    """Nobody watches."""


if __name__ == "__main__":
    sys.exit(main())
