"""Threads share a few heaps of the C library (``tierproxy.offload.share_arenas``)."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAPS = """
import ctypes, sys, threading
from tierproxy.offload import share_arenas

print(share_arenas({"MALLOC_ARENA_MAX": "7"} if sys.argv[1] == "told" else {}) if sys.argv[1] != "left" else None)
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
together = threading.Barrier(9)

def hold():
    libc.malloc(ctypes.c_size_t(50_000))
    together.wait()
    together.wait()

threads = [threading.Thread(target=hold) for _ in range(8)]
for thread in threads:
    thread.start()
together.wait()
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
together.wait()
for thread in threads:
    thread.join()
"""


def heaps(how: str) -> tuple[str, int]:
    """What ``share_arenas`` returned, and the number of heaps of nine threads."""
    ran = subprocess.run([sys.executable, "-c", HEAPS, how], env={}, check=True, capture_output=True, text=True)
    return next(line for line in ran.stdout.splitlines() if "<" not in line), ran.stdout.count("<heap nr=")


def test_threads_share_two_heaps() -> None:
    assert heaps("shared") == ("True", 2)


@pytest.mark.parametrize(("how", "said"), [("left", "None"), ("told", "False")])
def test_each_thread_has_its_own_otherwise(how: str, said: str) -> None:
    assert heaps(how)[0] == said
    assert heaps(how)[1] > 2
