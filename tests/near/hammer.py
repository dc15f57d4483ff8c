"""A reader in another process: reads the same names again and again, and counts stale bytes.

The floor: for each key the number of the last change that was acknowledged; a body begins with the number of the write
it is of. A body below the floor, taken before the read began, is stale. ``python -m tests.near.hammer DATA FLOOR``.
"""

from __future__ import annotations

import asyncio
import mmap
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tierproxy.model import ObjectName
from tierproxy.near.beside import NearBeside
from tierproxy.ports import Standing

KEYS = tuple(f"k{number}" for number in range(4))
ROUNDS, STALE, READ, STOP, FLOOR = 0, 1, 2, 3, 4  #: places in the shared memory, of 64 bits each
SIZE = 8 * (FLOOR + len(KEYS))
NUMBER = struct.Struct("<Q")


def body_of(number: int, size: int) -> bytes:
    return NUMBER.pack(number) + bytes(max(0, size - NUMBER.size))


class Hammer:
    """The parent's side."""

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory

    def acknowledged(self, key: str, number: int) -> None:
        self._memory[FLOOR + KEYS.index(key)] = number

    async def has_looked(self) -> None:
        """Until a round that began after this call is over."""
        seen = self._memory[ROUNDS]
        while self._memory[ROUNDS] < seen + 2:
            await asyncio.sleep(0)

    @property
    def stale(self) -> int:
        return self._memory[STALE]

    @property
    def read(self) -> int:
        """Bodies it was given."""
        return self._memory[READ]


@contextmanager
def hammering(data: Path, file: Path) -> Iterator[Hammer]:
    file.write_bytes(bytes(SIZE))
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), SIZE) as memory:
        floor = memoryview(memory).cast("Q")
        child = subprocess.Popen([sys.executable, "-m", "tests.near.hammer", str(data), str(file)])
        try:
            yield Hammer(floor)
        finally:
            floor[STOP] = 1
            floor.release()
            assert child.wait(60) == 0


def main(data: Path, file: Path) -> None:
    near, known = NearBeside(data), dict[str, Standing]()
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), SIZE) as memory:
        shared = memoryview(memory).cast("Q")
        while not shared[STOP]:
            for place, key in enumerate(KEYS):
                floor = shared[FLOOR + place]
                body = read(near, known, key)
                if body is not None:
                    shared[READ] += 1
                    shared[STALE] += NUMBER.unpack_from(body)[0] < floor
            shared[ROUNDS] += 1
        shared.release()
    near.close()


def read(near: NearBeside, known: dict[str, Standing], key: str) -> bytes | None:
    standing = known.get(key) or near.find(ObjectName("mail", key))
    body = None if standing is None else near.read(standing) or near.load(standing)
    if standing is None or not near.stands(standing):
        known.pop(key, None)
        return None
    known[key] = standing
    return body


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
