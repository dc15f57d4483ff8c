"""Which nodes the kernel has locked, because somebody waits for an answer about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from tierproxy.fuse.protocol import RENAME_IN, Opcode

EVERY = 0  #: stands for all nodes: the kernel has locked one more than it names


class Locks:
    """``held`` may be asked from other threads. ``freed`` is called after each ``give``."""

    def __init__(self) -> None:
        self._held: Counter[int] = Counter()
        self.freed: Callable[[], None] = lambda: None

    def take(self, nodes: Sequence[int]) -> None:
        self._held.update(nodes)

    def give(self, nodes: Sequence[int]) -> None:
        for node in nodes:
            self._held[node] -= 1
            if not self._held[node]:
                del self._held[node]
        self.freed()

    def held(self, node: int) -> bool:
        return node in self._held or EVERY in self._held


def locked_by(opcode: int, node: int, data: memoryview) -> tuple[int, ...]:
    """A directory that moves to another one is locked itself, and nothing in the request says its number."""
    if opcode not in {Opcode.RENAME, Opcode.RENAME2}:
        return (node,)
    (target,) = RENAME_IN.unpack_from(data)
    return (node,) if target == node else (node, target, EVERY)
