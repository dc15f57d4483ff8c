"""What a node that nobody asks anything has: tasks, threads and descriptors. After a round it has the same again."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from torturing.node import Node

LOOKS = 3  #: equal looks in a row: it has come to rest
PAUSE = 0.4
RESTING = 20.0  #: seconds a node has to come to rest after its start
POOL = re.compile(r"tierproxy-(\w[\w-]*?)(_\d+)?")
THREADS = 8  #: of one pool at most, where the configuration does not say
ONCE = {"/dev/null": 1, "/history/open-N.journal": 1, "anon_inode:[eventfd]": 4, "anon_inode:[eventpoll]": 8}
"""Descriptors that come with the first use of something, and stay: no more than so many."""
READERS = 3  #: descriptors of the catalogue that a thread may have: SQLite's file, its log, and the log's index
NUMBERS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Idle:
    """By name, how many."""

    tasks: Counter[str]
    threads: Counter[str]
    descriptors: Counter[str]


def look(node: Node) -> Idle:
    """What the running node has now. Raises TimeoutError when it does not answer."""
    found = node.running()
    return Idle(found["tasks"], Counter(map(_pool, found["threads"].elements())), descriptors(node.pid, node.data))


def idle(node: Node) -> Idle:
    """What a node has before anybody has asked anything. Starts it and stops it again."""
    node.start()
    deadline, looks = time.monotonic() + RESTING, [look(node)]
    while len(looks) < LOOKS or any(one.tasks != looks[-1].tasks for one in looks[-LOOKS:]):
        if time.monotonic() > deadline:
            break
        time.sleep(PAUSE)
        looks.append(look(node))
    node.stop()
    return looks[-1]


def left(now: Idle, before: Idle, *, disk_threads: int, sockets: int) -> list[str]:
    """What is there and was not, and has no reason. ``disk_threads``: in the pool for the disk; ``sockets``: to S3 at
    most, which stay open for who comes next."""
    wrong = [f"{count} tasks {name!r}" for name, count in (now.tasks - before.tasks).items()]
    for name, count in (now.threads - before.threads).items():
        most = disk_threads if name == "blobs" else THREADS
        if name.startswith("?") or now.threads[name] > most:
            wrong.append(f"{count} threads {name!r} more")
    more = now.descriptors - before.descriptors
    threads = (now.threads - before.threads).total()
    wrong += [f"{more[name]} descriptors of {name}" for name in ("staging", "gone") if more[name]]
    if more["socket"] > sockets:
        wrong.append(f"{more['socket']} sockets more")
    if more["catalogue"] > READERS * threads:
        wrong.append(f"{more['catalogue']} descriptors of the catalogue more, for {threads} threads")
    others = set(more) - {"staging", "gone", "socket", "catalogue", "blob"}
    return wrong + [
        f"{more[name]} descriptors of {name} more" for name in sorted(others) if more[name] > ONCE.get(name, 0)
    ]


def descriptors(pid: int, data: Path) -> Counter[str]:
    """Of a process, by what they are: socket, blob, gone (a blob without a name), staging, catalogue, and others by
    their own names without numbers."""
    found: Counter[str] = Counter()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found[_kind(os.readlink(link), str(data))] += 1
        except OSError:
            continue  # closed since
    return found


def _kind(target: str, data: str) -> str:
    if target.startswith("socket:"):
        return "socket"
    if target.startswith(f"{data}/blobs/"):
        return "gone" if target.endswith(" (deleted)") else "blob"
    if target.startswith(f"{data}/quarantine/"):
        return "blob"  # kept open, as a blob is, until its place is wanted or the file is removed
    for name in ("staging", "catalogue"):
        if target.startswith(f"{data}/{name}/"):
            return name
    return NUMBERS.sub("N", target.removeprefix(data))


def _pool(name: str) -> str:
    """A thread's pool; of one that has none its name, marked."""
    found = POOL.fullmatch(name)
    return found[1] if found else "?" + NUMBERS.sub("N", name)
