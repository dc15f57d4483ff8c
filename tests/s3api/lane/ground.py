"""A hit lane over objects in a dictionary, and what it answers taken apart."""

from __future__ import annotations

from dataclasses import dataclass, field

from tierproxy.hot.memory import MemoryTier
from tierproxy.model import Entry, Headers, ObjectName, State
from tierproxy.ports import Clock, Hot, Standing
from tierproxy.s3api.auth import Authenticator, Open
from tierproxy.s3api.lane.lane import HitLane
from tierproxy.s3api.request import Request
from tierproxy.testing.clock import VirtualClock

NOW = 1_700_000_000.0
PREAMBLE = b"date: today\r\n"


class DictNear:
    """``tierproxy.ports.Near``. ``before_stands``: called once, before the next look at whether something stands."""

    def __init__(self) -> None:
        self.objects: dict[ObjectName, tuple[Entry, bytes]] = {}
        self.version = 0
        self.finds = self.reads = self.sweeps = 0
        self.readable = True
        self.fails: Exception | None = None

    def put(self, key: str, content: bytes, headers: Headers | None = None) -> Entry:
        self.version += 1
        name = ObjectName("mail", key)
        entry = Entry(
            name, self.version, State.CLEAN, len(content), f"etag{self.version}", NOW, headers=headers or Headers(),
            blob="b", xxh3=b"x", owner="ann", folder="inbox",
        )  # fmt: skip
        self.objects[name] = (entry, content)
        return entry

    def delete(self, key: str) -> None:
        del self.objects[ObjectName("mail", key)]

    def find(self, name: ObjectName) -> Standing | None:
        self.finds += 1
        if self.fails is not None:
            raise self.fails
        found = self.objects.get(name)
        return None if found is None else Standing(found[0], 1, found[0].generation, 0)

    def stands(self, standing: Standing) -> bool:
        found = self.objects.get(standing.entry.name)
        return found is not None and found[0] is standing.entry

    def read(self, standing: Standing) -> bytes | None:
        self.reads += 1
        return self.objects[standing.entry.name][1] if self.readable else None

    def load(self, standing: Standing) -> bytes | None:
        return self.read(standing)

    def sweep(self) -> None:
        self.sweeps += 1


@dataclass
class Ground:
    """``get`` and ``head`` return status, headers and body, or None where the lane declines."""

    near: DictNear = field(default_factory=DictNear)
    memory: Hot = field(default_factory=lambda: MemoryTier(2**20, 2**18))
    keys: Authenticator = field(default_factory=Open)
    clock: Clock = field(default_factory=lambda: VirtualClock(NOW))

    def __post_init__(self) -> None:
        self.lane = HitLane(self.near, self.memory, self.keys, self.clock, folder_class=str.lower)

    def get(self, target: str, *, method: str = "GET", peer: str = "::1", **headers: str) -> Told | None:
        given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        return told(self.lane.answer(method.encode(), target.encode(), given, peer, PREAMBLE))

    def ask(self, request: Request) -> Told | None:
        """``request`` as it would come over the wire."""
        target = request.raw_path + (b"?" + request.raw_query if request.raw_query else b"")
        return told(self.lane.answer(request.method.encode(), target, list(request.headers.items()), "::1", PREAMBLE))


@dataclass(frozen=True)
class Told:
    status: int
    headers: dict[str, str]
    body: bytes


def told(pieces: object) -> Told | None:
    if pieces is None:
        return None
    assert isinstance(pieces, tuple)
    head, _, body = b"".join(pieces).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    return Told(int(lines[0].split()[1]), dict(line.split(": ", 1) for line in lines[1:]), body)
