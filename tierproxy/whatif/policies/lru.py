"""Least recently used goes first."""

from __future__ import annotations

from tierproxy.whatif.policies.fifo import Fifo


class Lru(Fifo):
    """A read moves an object to the end of the queue, and so does a write."""

    name = "lru"
    moves = True
