"""What torture does to the world. Each fault begins, lasts, and ends; ``World.heal`` ends what a dead round left."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

import psutil
from ledger import Ledger

from tierproxy.disk.layout import DataDirectory
from tierproxy.errors import TierproxyError
from tierproxy.model import Entry, State
from tierproxy.testing.relay import Mode
from torturing.player import named
from torturing.volume import LEAVES
from torturing.world import World, write_rules

DAMAGED = 12  #: blobs of one round
DAY = 86_400.0


class Group(StrEnum):
    """Of each at most one at a time."""

    NODE = "node"
    S3 = "S3 server"
    NETWORK = "network"
    DISK = "disk"
    BLOBS = "blobs"
    CLOCK = "clock"
    ORDERS = "operator"


@dataclass(frozen=True, slots=True)
class Fault:
    """``pends``: while it lasts, uploads must wait, or it met nobody. ``begin`` and ``end`` return what to note."""

    name: str
    group: Group
    begin: Callable[[World, random.Random], object]
    end: Callable[[World], object] = lambda world: None
    pends: bool = False
    small: bool = False  #: needs a file system of its own
    breaks: bool = False  #: needs one that can be made to fail
    kills: bool = False  #: the node, in the end
    worker: bool = False  #: needs hit workers
    alone: bool = False  #: without hit workers, which have clocks of their own


# ---------------------------------------------------------------- the node


def kill_node(world: World, _chance: random.Random) -> None:
    world.node.kill()


def kill_worker(world: World, chance: random.Random) -> None:
    workers = world.node.workers()
    if workers:
        with suppress(psutil.Error):
            chance.choice(workers).send_signal(signal.SIGKILL)


# ---------------------------------------------------------------- S3 and the way there


def kill_s3(world: World, _chance: random.Random) -> None:
    world.alt.kill()


def start_s3(world: World) -> None:
    world.start_s3()


def restart_s3(world: World, _chance: random.Random) -> None:
    world.network.refuse()
    world.alt.stop()
    world.start_s3()


def freeze_s3(world: World, _chance: random.Random) -> None:
    world.alt.freeze()


def freeze_then_kill(world: World) -> None:
    """What a frozen server has in its sockets never happens. (Thawed after the client's time limit it would happen
    late: a limit that docs/semantics.md names.)"""
    world.alt.kill()
    world.start_s3()


def heal_network(world: World) -> None:
    world.network.heal()


def cut(world: World, _chance: random.Random) -> None:
    world.network.cut()


def cut_each(world: World, chance: random.Random) -> None:
    """Each connection is reset after so many bytes of answers."""
    world.network.set(cut_after=chance.choice((10, 200, 3000, 50_000)))


def delay(world: World, chance: random.Random) -> None:
    world.network.set(delay=chance.choice((0.02, 0.1, 0.3)))


def trickle(world: World, chance: random.Random) -> None:
    world.network.set(trickle=chance.choice((64, 1024)), delay=0.01)


def blackhole(world: World, _chance: random.Random) -> None:
    world.network.set(Mode.BLACKHOLE)


def mute(world: World, _chance: random.Random) -> None:
    """S3 does what it is asked, and its answers are lost."""
    world.network.set(Mode.MUTE)


def reset(world: World, _chance: random.Random) -> None:
    world.network.set(Mode.RESET)


def refuse(world: World, _chance: random.Random) -> None:
    world.network.refuse()


def half_open(world: World, _chance: random.Random) -> None:
    world.network.half_open()


def revoke(world: World, _chance: random.Random) -> None:
    """S3 does not know our key any more."""
    world.http.set(answer=403)


def slow_down(world: World, _chance: random.Random) -> None:
    world.http.set(answer=503)


def broken_puts(world: World, _chance: random.Random) -> None:
    world.http.set(answer=500, kinds=("PUT", "COPY", "MULTIPART", "DELETE"))


def pass_http(world: World) -> None:
    world.http.set()


# ---------------------------------------------------------------- the disk


def fill_disk(world: World, chance: random.Random) -> None:
    world.volume.fill(chance.choice(LEAVES))


def starve_disk(world: World, _chance: random.Random) -> None:
    world.volume.starve()


def fail_disk(world: World, _chance: random.Random) -> None:
    """While the node holds still. An ext4 that fails gives its journal up first and refuses changes some milliseconds
    later, and an fsync in between is answered with success though nothing of it will be there (seen on Linux 6.18, with
    plain SQLite as well): nobody above can know that."""
    with world.node.still():
        world.volume.fail()


def repair_disk(world: World) -> None:
    """As an operator would: the node's end, a check of the file system, and a mount."""
    world.node.kill()
    world.nobody_beside()
    world.volume.repair()


def relieve_disk(world: World) -> None:
    world.volume.relieve()


def damage(world: World, chance: random.Random, how: Callable[[str, random.Random], None]) -> int:
    """Some blobs whose objects are in alt as well. Returns how many."""
    directory, done = DataDirectory(world.node.data), 0
    for entry in clean(world, world.ledger, chance):
        with suppress(OSError):
            how(str(directory.blob(entry.blob or "")), chance)
            world.damaged.add(entry.blob or "")
            done += 1
        if done == DAMAGED:
            break
    return done


def clean(world: World, ledger: Ledger, chance: random.Random) -> list[Entry]:
    """Entries of objects that are on disk and in alt, in any order. A blob never changes, so what is true of it now
    stays so."""
    keys = list(ledger.allowed)
    chance.shuffle(keys)
    try:
        with world.node.catalogue() as catalogue:
            found = [catalogue.find(named(key)) for key in keys[:200]]
    except TierproxyError:
        return []
    return [entry for entry in found if entry is not None and entry.state is State.CLEAN and entry.blob]


def flip(path: str, chance: random.Random) -> None:
    """One bit, anywhere in body or trailer."""
    with open(path, "r+b", buffering=0) as file:
        place = chance.randrange(os.fstat(file.fileno()).st_size)
        byte = os.pread(file.fileno(), 1, place)
        os.pwrite(file.fileno(), bytes([byte[0] ^ 1 << chance.randrange(8)]), place)


def shorten(path: str, chance: random.Random) -> None:
    os.truncate(path, chance.randrange(os.stat(path).st_size))


def remove(path: str, _chance: random.Random) -> None:
    os.unlink(path)


def flip_blobs(world: World, chance: random.Random) -> int:
    return damage(world, chance, flip)


def shorten_blobs(world: World, chance: random.Random) -> int:
    return damage(world, chance, shorten)


def remove_blobs(world: World, chance: random.Random) -> int:
    return damage(world, chance, remove)


# ---------------------------------------------------------------- clock and operator


def step_clock(world: World, chance: random.Random) -> None:
    world.node.jump(chance.choice((-600.0, -3.0, 3.0, 600.0)))


def leap_clock(world: World, chance: random.Random) -> None:
    world.node.jump(chance.choice((-400 * DAY, -DAY, DAY, 30 * DAY)))


def still_clock(world: World) -> None:
    world.node.jump(0.0)


def new_rules(world: World, chance: random.Random) -> None:
    write_rules(world.rules, chance)
    world.node.reload()


def bad_rules(world: World, _chance: random.Random) -> None:
    """A file that cannot be used changes nothing."""
    world.rules.write_text("[[rule]]\nname = 7\n")
    world.node.reload()


def good_rules(world: World) -> None:
    write_rules(world.rules, random.Random(1))
    world.node.reload()


def purge(world: World, chance: random.Random) -> None:
    """As an operator, in the middle of everything. It may fail: the node may be down."""
    world.beside("purge", chance.choice(world.buckets), "--all", "--yes", "--json")


def check(world: World, _chance: random.Random) -> None:
    """An operator who has not stopped the node first: refused, and nothing happens."""
    world.beside("check", "--repair", "--json")


FAULTS = (
    Fault("SIGKILL of the node", Group.NODE, kill_node, kills=True),
    Fault("SIGKILL of a hit worker", Group.NODE, kill_worker, worker=True),
    Fault("SIGKILL of S3", Group.S3, kill_s3, start_s3, pends=True),
    Fault("S3 restarted", Group.S3, restart_s3),
    Fault("S3 frozen", Group.S3, freeze_s3, freeze_then_kill, pends=True),
    Fault("credentials revoked", Group.S3, revoke, pass_http, pends=True),
    Fault("S3 answers 503", Group.S3, slow_down, pass_http, pends=True),
    Fault("S3 answers 500 to changes", Group.S3, broken_puts, pass_http, pends=True),
    Fault("connections cut", Group.NETWORK, cut),
    Fault("each connection cut early", Group.NETWORK, cut_each, heal_network),
    Fault("network slow", Group.NETWORK, delay, heal_network),
    Fault("network trickles", Group.NETWORK, trickle, heal_network),
    Fault("network a black hole", Group.NETWORK, blackhole, heal_network, pends=True),
    Fault("answers of S3 lost", Group.NETWORK, mute, heal_network, pends=True),
    Fault("connections reset", Group.NETWORK, reset, heal_network),
    Fault("connections refused", Group.NETWORK, refuse, heal_network),
    Fault("connections half open", Group.NETWORK, half_open, heal_network, pends=True),
    Fault("disk full", Group.DISK, fill_disk, relieve_disk, small=True),
    Fault("inodes exhausted", Group.DISK, starve_disk, relieve_disk, small=True),
    Fault("disk read-only by an error", Group.DISK, fail_disk, repair_disk, small=True, breaks=True, kills=True),
    Fault("bits flipped", Group.BLOBS, flip_blobs),
    Fault("blobs truncated", Group.BLOBS, shorten_blobs),
    Fault("blobs deleted", Group.BLOBS, remove_blobs),
    Fault("clock jumps minutes", Group.CLOCK, step_clock, still_clock),
    Fault("clock jumps days", Group.CLOCK, leap_clock, still_clock, alone=True),
    Fault("rules changed", Group.ORDERS, new_rules),
    Fault("rules unusable", Group.ORDERS, bad_rules, good_rules),
    Fault("everything purged", Group.ORDERS, purge),
    Fault("check beside the node", Group.ORDERS, check),
)

BY_NAME = {fault.name: fault for fault in FAULTS}
