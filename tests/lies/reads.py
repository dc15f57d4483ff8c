"""The ways a read meets alt, and what must be true whatever alt has said."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.lies.world import KIB, Said, World, content, etag_of
from tierproxy.model import ObjectName, State
from tierproxy.testing.lies import Rule

SMALL, LARGE = 20 * KIB, 600 * KIB
PART = range(300 * KIB, 301 * KIB)  #: lies in the middle, where no stub is


@dataclass(frozen=True, slots=True)
class Way:
    """``prepare`` makes an object that a read then has to ask alt for; ``kinds``: what it asks. ``part``: that is read.
    ``known``: the catalogue knows what alt has to say."""

    name: str
    kinds: tuple[str, ...]
    prepare: Callable[[World, ObjectName, bytes], Awaitable[None]]
    bucket: str = "mail"
    size: int = SMALL
    part: range | None = None
    reason: str = "person"
    method: str = "GET"
    known: bool = True

    def __str__(self) -> str:
        return self.name

    async def read(self, world: World, name: ObjectName) -> Said:
        if self.method == "HEAD":
            return await world.head(name)
        part = {"range": f"bytes={self.part.start}-{self.part.stop - 1}"} if self.part else {}
        return await world.get(name, x_tierproxy_reason=self.reason, **part)


async def purged(world: World, name: ObjectName, body: bytes) -> None:
    assert (await world.put(name, body)).status == 200
    assert (await world.get(name)).body == body
    await world.purge(name)


async def there(world: World, name: ObjectName, body: bytes) -> None:
    """Only alt knows of it."""
    await world.store(name, body)


async def damaged(world: World, name: ObjectName, body: bytes) -> None:
    """One bit of the copy on disk is wrong."""
    assert (await world.put(name, body)).status == 200
    row = world.row(name)
    assert row is not None
    assert row.blob is not None
    world.rig.parts.hot.drop(name)
    blob = next((world.rig.root / "blobs").rglob(f"{row.blob}*"))
    found = bytearray(blob.read_bytes())
    found[len(body) // 2] ^= 1
    blob.write_bytes(found)


async def kept(world: World, name: ObjectName, body: bytes) -> None:
    """On disk, in a bucket where alt is asked whether it is current."""
    assert (await world.put(name, body)).status == 200


FILL = Way("fill", ("GET",), purged)
STREAM = Way("stream", ("GET",), purged, size=LARGE)
PASS = Way("pass", ("GET",), purged, size=LARGE, reason="scan")
RANGE = Way("range", ("GET",), purged, size=LARGE, part=PART)
UNKNOWN = Way("unknown", ("GET",), there, bucket="old", known=False)
HEAD = Way("head", ("HEAD",), there, bucket="old", method="HEAD", known=False)
REPAIR = Way("repair", ("GET",), damaged)
REVALIDATE = Way("revalidate", ("HEAD",), kept, bucket="shared")
WAYS = (FILL, STREAM, PASS, RANGE, UNKNOWN, HEAD, REPAIR, REVALIDATE)


async def lied(world: World, way: Way, rule: Rule) -> tuple[ObjectName, bytes, Said]:
    """Read once while ``rule`` is told of the object."""
    name = world.name(way.bucket)
    body = content(name, way.size)
    await way.prepare(world, name, body)
    await world.idle()
    world.tell(rule)
    return name, body, await way.read(world, name)


async def judged(world: World, way: Way, name: ObjectName, body: bytes, said: Said) -> list[str]:
    """What is wrong with what the client saw and with what was kept."""
    wrong = []
    wanted = body if way.part is None else body[way.part.start : way.part.stop]
    if said.status in {200, 206} and way.method == "GET":
        if said.whole and said.body != wanted:
            wrong.append("other bytes than were stored, as if they were whole")
        if not said.whole and len(said.body) >= len(wanted):
            wrong.append("all bytes before the connection was cut")
    if said.status == 200 and said.headers.get("etag") != f'"{etag_of(body)}"':
        wrong.append("another ETag")
    await world.idle()
    row = world.row(name)
    if row is not None and row.blob is not None and row.xxh3 is None:
        wrong.append("a copy without its digest")
    if row is not None and (row.size, row.etag) != (len(body), etag_of(body)):
        wrong.append(f"the catalogue says {row.size} bytes {row.etag}")
    if row is not None and row.state is not State.CLEAN:
        wrong.append(f"the row is {row.state}")
    if way.known and row is None and way.bucket != "shared":
        wrong.append("the row is gone")
    hot = world.rig.parts.hot.get(name)
    if hot is not None and hot[1] != body:
        wrong.append("other bytes in memory")
    if row is not None:
        stub = await world.rig.parts.stubbing.find(row, None)
        if stub is not None and not (body.startswith(stub.head) and body.endswith(stub.tail)):
            wrong.append("other bytes in the stub")
    return wrong


async def mended(world: World, way: Way, name: ObjectName, body: bytes) -> list[str]:
    """What is wrong once alt tells the truth again: at the first read, at the next, and at one after a purge."""
    wrong = []
    await world.healed()
    head = await world.patient(lambda: world.head(name))
    if (head.status, head.headers.get("etag")) != (200, f'"{etag_of(body)}"'):
        wrong.append(f"HEAD then: {head.status} {head.headers.get('etag')}")
    for turn in ("the next read", "the one after it", "a read after a purge"):
        said = await world.patient(lambda: world.get(name, x_tierproxy_reason="person"))
        if (said.status, said.body == body, said.whole) != (200, True, True):
            wrong.append(f"{turn}: {said}")
        await world.idle()
        if turn == "the one after it":
            await world.purge(name)
    return wrong + alarms_of(world, name)


def alarms_of(world: World, name: ObjectName) -> list[str]:
    """What an operator is still told about the object."""
    return [f"alarm {alarm!r}" for alarm, subject in world.rig.parts.alarms.active() if subject == str(name)]
