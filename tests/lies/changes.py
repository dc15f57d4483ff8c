"""The ways a change meets alt, and what must be true whatever alt has said."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.lies.reads import SMALL, alarms_of
from tests.lies.world import KIB, Said, World, content
from tierproxy.model import ObjectName, State
from tierproxy.testing.lies import Rule

PARTS = 6 * KIB * KIB  #: sent to alt in two parts


@dataclass(frozen=True, slots=True)
class Trial:
    """One change. ``old``, ``new``: the object's bytes before and after, None for none."""

    name: ObjectName
    old: bytes | None
    new: bytes | None
    said: Said

    @property
    def done(self) -> bool:
        """It was acknowledged."""
        return 200 <= self.said.status < 300


@dataclass(frozen=True, slots=True)
class Way:
    """``act`` asks for the change; before it ``prepare`` makes what is changed, and returns the old bytes."""

    name: str
    kinds: tuple[str, ...]
    prepare: Callable[[World, ObjectName], Awaitable[bytes | None]]
    act: Callable[[World, ObjectName, bytes], Awaitable[Said]]
    bucket: str = "mail"
    size: int = SMALL
    removes: bool = False

    def __str__(self) -> str:
        return self.name


async def nothing(world: World, name: ObjectName) -> None:
    """The object is new."""


async def before(world: World, name: ObjectName) -> bytes:
    """On disk and in alt."""
    body = content(("before", name), SMALL + 1)
    assert (await world.put(name, body)).status == 200
    return body


async def before_purged(world: World, name: ObjectName) -> bytes:
    """In alt, and not on disk."""
    body = await before(world, name)
    await world.purge(name)
    return body


async def put(world: World, name: ObjectName, body: bytes) -> Said:
    return await world.put(name, body)


async def put_queued(world: World, name: ObjectName, body: bytes) -> Said:
    said = await world.put(name, body, x_tierproxy_ack="disk")
    for _ in range(200):  # the queue's first try
        if world.front.told or not world.rig.parts.catalogue.queue_totals().jobs:
            break
        await world.rig.parts.clock.sleep(0.005)
    return said


async def put_in_alt(world: World, name: ObjectName, body: bytes) -> Said:
    return await world.put(name, body, x_tierproxy_ack="alt")


async def delete(world: World, name: ObjectName, body: bytes) -> Said:
    return await world.delete(name)


async def copy(world: World, name: ObjectName, body: bytes) -> Said:
    return await world.copy(source_of(name), name)


async def copy_purged(world: World, name: ObjectName, body: bytes) -> Said:
    await world.purge(source_of(name))
    return await world.copy(source_of(name), name)


def source_of(name: ObjectName) -> ObjectName:
    """Where the copies of ``name`` come from."""
    return ObjectName(name.bucket, f"from/{name.key.replace('/', '-')}-source")


NEW = Way("new", ("PUT",), nothing, put)
OVERWRITE = Way("overwrite", ("PUT",), before, put)
OVERWRITE_PURGED = Way("overwrite purged", ("PUT",), before_purged, put)
QUEUED = Way("queued", ("PUT",), before, put_queued)
ALT_ONLY = Way("ack alt", ("PUT",), before_purged, put_in_alt)
DELETE = Way("delete", ("DELETE",), before, delete, removes=True)
COPY = Way("copy", ("COPY",), before, copy)
COPY_PURGED = Way("copy purged", ("COPY",), before_purged, copy_purged)
IN_PARTS = Way("parts", ("CREATE", "PART", "COMPLETE"), before, put, size=PARTS)
SHARED = Way("shared", ("PUT",), before, put, bucket="shared")
WAYS = (NEW, OVERWRITE, OVERWRITE_PURGED, QUEUED, ALT_ONLY, DELETE, COPY, COPY_PURGED, IN_PARTS, SHARED)


async def tried(world: World, way: Way, *rules: Rule) -> Trial:
    """Change once while ``rules`` are told of the object."""
    name = world.name(way.bucket)
    old = await way.prepare(world, name)
    new = content(("new", name), way.size)
    if way.act in {copy, copy_purged}:
        assert (await world.put(source_of(name), new)).status == 200
    await world.idle()
    world.front.told.clear()
    world.tell(*rules)
    said = await way.act(world, name, new)
    return Trial(name, old, None if way.removes else new, said)


async def judged(world: World, way: Way, trial: Trial) -> list[str]:
    """What is wrong while alt still lies."""
    wrong = []
    if trial.done and "alt" in trial.said.tiers and await world.stored(trial.name) != trial.new:
        wrong.append(f"tiers {trial.said.tiers}, and alt does not have it")
    if way.removes and not trial.done:
        wrong.append(f"a delete that was not accepted: {trial.said}")
    found = await world.get(trial.name)
    if trial.done and trial.new is None and found.status != 404:
        wrong.append(f"deleted, and then {found}")
    if found.status == 200 and found.whole and found.body not in allowed(trial):
        wrong.append("bytes that it never had, or has no more")
    if found.status == 404 and None not in allowed(trial):
        wrong.append("404 for what is there")
    if "disk" in trial.said.tiers and trial.done and (found.status, found.body) != (200, trial.new):
        wrong.append(f"on disk, and not served: {found}")
    return wrong


async def mended(world: World, way: Way, trial: Trial, *, denied: bool = False) -> list[str]:
    """What is wrong once alt tells the truth again, and after a purge. ``denied``: alt did what it said it had not:
    then the old content is served as long as it is on disk."""
    wrong = []
    await world.healed()
    first = await read(world, trial.name)
    await world.settled(trial.name)
    row = world.row(trial.name)
    if row is not None and row.state is not State.CLEAN:
        wrong.append(f"the row is {row.state}")
    await world.purge(trial.name)
    second, stored = await read(world, trial.name), await world.stored(trial.name)
    if second != stored or (first != stored and not (denied and first == trial.old)):
        wrong.append(f"served {short(first)}, after a purge {short(second)}, in alt {short(stored)}")
    if first not in allowed(trial):
        wrong.append(f"{short(first)} is neither before nor after")
    head = await world.patient(lambda: world.head(trial.name))
    if head.status != (404 if stored is None else 200):
        wrong.append(f"HEAD then: {head}")
    await world.idle()
    return wrong + alarms_of(world, trial.name)


def allowed(trial: Trial) -> set[bytes | None]:
    """What a read may find."""
    return {trial.new} if trial.done else {trial.old, trial.new}


async def read(world: World, name: ObjectName) -> bytes | str | None:
    said = await world.patient(lambda: world.get(name))
    await world.idle()
    if said.status == 404:
        return None
    return said.body if said.status == 200 and said.whole else f"an error ({said})"


def short(found: bytes | str | None) -> str:
    return found if isinstance(found, str) else "nothing" if found is None else f"{len(found)} bytes {found[:4].hex()}"
