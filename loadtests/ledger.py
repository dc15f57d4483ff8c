"""What clients asked for and what was acknowledged, kept outside the node and fsynced: what crash tests judge by."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tierproxy.errors import NoSuchKey, TierproxyError

GONE = ""  #: the digest of an object that is not there
ERROR = "an error: "


class Ledger:
    """What was asked and what was acknowledged, by key; on disk before the next operation begins.

    ``allowed``: the digests a key may have: the last acknowledged one, and those of unanswered operations after it.
    For one writer a key: nobody else changes it meanwhile.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.allowed: defaultdict[str, set[str]] = defaultdict(lambda: {GONE})
        self.counts: Counter[str] = Counter()
        self._file = path.open("a")
        self._lock = threading.Lock()

    def name(self, key: str) -> None:
        """A key nobody has written yet."""
        with self._lock:
            self.allowed[key] = {GONE}

    def intend(self, key: str, digest: str) -> None:
        """Before it is sent."""
        with self._lock:
            self.allowed[key].add(digest)
            self._write({"intend": key, "sha256": digest})
        self._sync()

    def acknowledge(self, key: str, digest: str, kind: str) -> None:
        """The client has its answer. Everything before it is over."""
        with self._lock:
            self.allowed[key] = {digest}
            self.counts[kind] += 1
            self._write({"acknowledged": key, "sha256": digest, "kind": kind})
        self._sync()

    def withdraw(self, key: str, digest: str, before: Iterable[str]) -> None:
        """The client was told that it has not happened; ``before``: what was allowed when it was sent."""
        with self._lock:
            self.allowed[key] = set(before)
            self.counts["refused"] += 1
            self._write({"refused": key, "sha256": digest})
        self._sync()

    def settle(self, key: str, digest: str) -> None:
        """An unanswered operation turned out to have happened, or not."""
        self.acknowledge(key, digest, "settled")

    def forget(self, key: str) -> None:
        """A key that is gone for good and is not used again: nobody asks for it any more."""
        with self._lock:
            del self.allowed[key]

    def certain(self, keys: Iterable[str]) -> list[str]:
        """Those of ``keys`` that must be there."""
        return [key for key in keys if GONE not in self.allowed[key]]

    def history(self, key: str) -> list[dict[str, Any]]:
        """Everything noted about a key, the oldest first."""
        with self.path.open() as lines:
            notes = [json.loads(line) for line in lines]
        return [note for note in notes if key in note.values()]

    def close(self) -> None:
        self._file.close()

    def _write(self, line: dict[str, str]) -> None:
        self._file.write(json.dumps(line | {"at": f"{time.time():.3f}"}) + "\n")
        self._file.flush()

    def _sync(self) -> None:
        """Outside the lock: other clients' lines may become durable with ours."""
        os.fsync(self._file.fileno())


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def digest_of(read: Callable[[], bytes]) -> str:
    """The digest of what ``read`` returns; ``GONE`` if the key is not there."""
    try:
        return digest(read())
    except NoSuchKey:
        return GONE


def outcome_of(read: Callable[[], bytes]) -> str:
    """``digest_of``, or what went wrong."""
    try:
        return digest_of(read)
    except TierproxyError as error:
        return f"{ERROR}{error}"


def verdict(digest: str) -> str:
    if digest.startswith(ERROR):
        return digest
    return "other bytes than were acknowledged last" if digest else "nothing: it is not there"
