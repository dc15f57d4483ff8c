"""``python -m tests.security.fuzz --seconds N [--seed N] [--target NAME]``: the parsers of ``targets``, for longer.

Inputs that reach lines of code no input before has reached are built upon. What is found wrong is kept in the corpus as
``found-<digest>``, where the tests replay it from then on. Exit code 1 if there was any.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time

from tests.security.mutation import mutated
from tests.security.targets import CORPUS, TARGETS, corpus, run


def fuzz(name: str, seconds: float, seed: int) -> tuple[int, int, list[str]]:
    """Inputs tried, lines reached, and what was wrong."""
    chance = random.Random(f"{name} {seed}")
    pool = [path.read_bytes() for path in corpus(name)] or [b""]
    seen: set[tuple[str, int]] = set()
    wrong: dict[str, str] = {}
    tried, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        data = mutated(pool, chance) if tried >= len(pool) else pool[tried]
        tried += 1
        reached: set[tuple[str, int]] = set()
        try:
            run(name, data, reached)
        except Exception as error:
            _keep(name, data, error, wrong)
        if not reached <= seen:
            seen |= reached
            pool.append(data)
    return tried, len(seen), list(wrong.values())


def _keep(name: str, data: bytes, error: Exception, wrong: dict[str, str]) -> None:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    place = f"{type(error).__name__} {frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame else repr(error)
    if place not in wrong:
        digest = hashlib.sha256(data).hexdigest()[:12]
        (CORPUS / name).mkdir(parents=True, exist_ok=True)
        (CORPUS / name / f"found-{digest}").write_bytes(data)
        wrong[place] = f"{name}: {place}: {error} (found-{digest})"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.security.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", choices=sorted(TARGETS), action="append")
    asked = parser.parse_args(arguments)
    names = asked.target or sorted(TARGETS)
    wrong: list[str] = []
    for name in names:
        tried, lines, found = fuzz(name, asked.seconds / len(names), asked.seed)
        wrong += found
        print(f"{name}: {tried} inputs, {lines} lines reached, {len(found)} wrong")
    for line in wrong:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
