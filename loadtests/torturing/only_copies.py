"""Damage to what only the disk has: 503 and an alarm, never other bytes, never "not there"; the owner mends it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import closing

from ledger import ERROR, GONE, outcome_of

from tierproxy.cli.client import Unreachable
from tierproxy.disk.layout import DataDirectory
from torturing.contents import Contents
from torturing.faults import flip, remove, shorten
from torturing.player import named
from torturing.tally import Tally, Wrong
from torturing.wide_client import WideClient
from torturing.world import World

ALARM = "only copy damaged"
Way = Callable[[str, random.Random], None]
WAYS: tuple[Way, ...] = (flip, shorten, remove)
OBJECTS = 9
FULL = ": 507 "
ROOM = 30.0  #: seconds until the node takes what only the disk would have
ALARMING = 20.0  #: seconds until the alarm is in the log
NAMES: dict[Way, str] = {
    flip: "bits flipped in only copies",
    shorten: "only copies truncated",
    remove: "only copies deleted",
}


def only_copies(world: World, tally: Tally, contents: Contents, chance: random.Random) -> None:
    """The node runs, nobody asks anything, the queue is empty. S3 is down for a while. Ends with everything healed and
    the damaged objects deleted or written anew; the queue may still have some."""
    keys = [f"archive/only/{tally.number}/{number}" for number in range(OBJECTS)]
    world.alt.kill()
    with closing(WideClient(world.node.door)) as client:
        _write_when_there_is_room(world, client, contents, chance, keys[0])
        for key in keys[1:]:
            _write(world, client, contents, chance, key)
    world.node.kill()  # so that memory has nothing
    damaged = _damage(world, tally, chance, keys)
    world.node.start()
    _read(world, tally, damaged, keys)
    world.start_s3()
    _alarmed(world, tally)
    _read(world, tally, damaged, keys)
    with closing(WideClient(world.node.door)) as client:
        for number, key in enumerate(sorted(damaged)):
            if number % 2:
                world.ledger.intend(key, GONE)
                client.delete(named(key))
                world.ledger.acknowledge(key, GONE, "DELETE of a damaged only copy")
            else:
                _write(world, client, contents, chance, key)


def _write_when_there_is_room(
    world: World, client: WideClient, contents: Contents, chance: random.Random, key: str
) -> None:  # fmt: skip
    """The disk may have been full until just now: the node looks whether it still is at each ``[disk] probe_interval``,
    and refuses until then what only the disk would have."""
    deadline = time.monotonic() + ROOM
    while True:
        try:
            _write(world, client, contents, chance, key)
        except Unreachable as error:
            if FULL not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return


def _write(world: World, client: WideClient, contents: Contents, chance: random.Random, key: str) -> None:
    written, content = contents.make(chance, key)
    world.ledger.intend(key, written.digest)
    client.put(named(key), content, len(content), {"x-tierproxy-ack": "disk"})
    world.ledger.acknowledge(key, written.digest, "PUT while S3 is down")


def _damage(world: World, tally: Tally, chance: random.Random, keys: list[str]) -> dict[str, Way]:
    directory, damaged = DataDirectory(world.node.data), dict[str, Way]()
    with world.node.catalogue() as catalogue:
        for number, key in enumerate(keys[: OBJECTS * 2 // 3]):
            entry = catalogue.find(named(key))
            if entry is None or entry.blob is None:
                tally.fail(Wrong.LOST, "an acknowledged write has no row or no blob", key)
                continue
            way = WAYS[number % len(WAYS)]
            way(str(directory.blob(entry.blob)), chance)
            tally.faults[NAMES[way]] += 1
            damaged[key] = way
    return damaged


def _read(world: World, tally: Tally, damaged: dict[str, Way], keys: list[str]) -> None:
    """A damaged one is answered 503, or cut where the damage is found on the way; the others with their bytes. So are
    those of which the flipped bit was none of the body's: a small body is read without its trailer."""
    with closing(WideClient(world.node.door)) as client:
        for key in keys:
            found = outcome_of(lambda key=key: client.read(named(key))[1])  # type: ignore[misc]
            if damaged.get(key) is flip and found in world.ledger.allowed[key]:
                tally.seen["a bit flipped beside the body"] += 1
            elif key in damaged and (not found.startswith(ERROR) or ": 404 " in found):
                tally.fail(Wrong.BYTES if found else Wrong.LOST, f"a damaged only copy was answered {found[:200]}", key)
            if key not in damaged and found not in world.ledger.allowed[key]:
                tally.fail(Wrong.LOST, f"beside damaged ones: {found[:200]}", key)


def _alarmed(world: World, tally: Tally) -> None:
    deadline = time.monotonic() + ALARMING
    while ALARM not in world.node.log.read_text(errors="replace"):
        if time.monotonic() > deadline:
            tally.fail(Wrong.BROKEN, f"no alarm {ALARM!r} after {ALARMING:g} s")
            return
        time.sleep(0.1)
