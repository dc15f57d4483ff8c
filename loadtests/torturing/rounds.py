"""One round after the other: load, faults, healing, judgement."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import cycle

from ledger import GONE
from served import Failed

from tierproxy.cli.client import Door
from tierproxy.ports import Clock
from tierproxy.testing.doomed import Point
from torturing.aims import FAULTS_FOR, Aims
from torturing.contents import Contents
from torturing.faults import BY_NAME, Group
from torturing.judge import Judge
from torturing.node import settled
from torturing.only_copies import only_copies
from torturing.plan import Blow, Plan
from torturing.player import Player
from torturing.rest import Idle, idle
from torturing.tally import Tally, Wrong
from torturing.world import World

TICK = 0.02
SEVERAL = 6  #: points that the node goes for at once
FIRST = 30.0  #: seconds in which something must be acknowledged, and pending
HELPED = 2.5  #: seconds that a fault lasts which helps the node to its point
LOOK = 0.1  #: seconds between looks at the journal
KEPT_GONE = 0.3  #: share of deleted keys that are used again


@dataclass(slots=True)
class Event:
    """Something that happens within a round."""

    at: float
    act: Callable[[], object]


class Rounds:
    """One world through all its rounds. The node is stopped between them."""

    def __init__(self, world: World, seed: int, clients: int, clock: Clock, *, large: bool = False) -> None:
        """``large``: more objects of many megabytes, in one piece and in parts."""
        self._world = world
        self._seed = seed
        self._contents = Contents(seed, large=large)
        self._players = [
            Player(number, seed, world.ledger, self._contents, world.buckets, clock, large=large)
            for number in range(clients)
        ]
        self._base = world.node.config
        self._door: Door | None = None
        self.aims = Aims(random.Random(f"{seed}/points"))
        self.tally = Tally()
        self._lives = 0  #: how often the node may still end itself
        self._lasting: list[Blow] = []  #: faults that last now
        self._pended: set[str] = set()  #: faults during which something was pending
        self._idle: dict[int, Idle] = {}  #: by number of workers

    def play(self, plan: Plan, seconds: float) -> Tally:
        """Ends with everything healed and the node stopped."""
        self.tally = Tally(plan.number, str(plan))
        self._lasting, self._pended, self._lives = [], set(), plan.points
        node = self._world.node
        node.configure(settled(self._base, workers=plan.workers, linger=plan.linger))
        if plan.workers not in self._idle:
            with self.tally.phase("idle"):
                self._idle[plan.workers] = idle(node)
        node.forget_calls()
        with self.tally.phase("load"):
            self._start()
            self._load(plan, seconds)
        self.aims.saw(node.calls(), seconds)
        with self.tally.phase("mend"):
            self._mend()
        self._judge(plan)
        return self.tally

    # ---------------------------------------------------------------- the node

    def _start(self) -> None:
        """With its point, which may come before it is ready."""
        node = self._world.node
        while True:
            self._world.nobody_beside()  # a command that met no node has the data directory
            node.points = self._aim()
            try:
                node.start()
            except Failed:
                if node.at_point is None:
                    raise
                self._ended()
            else:
                self._door = node.door
                return

    def _aim(self) -> list[Point]:
        if not self._lives:
            return []
        self._lives -= 1
        points = self.aims.draw(SEVERAL)
        for player, point in zip(self._players, cycle(points), strict=False):
            player.urge(point.kind)
        return points

    def _start_again(self) -> None:
        """Not where a disk without any room forbids it: then it is tried again."""
        self._door = None
        try:
            self._start()
        except Failed:
            if not any(blow.fault.group is Group.DISK for blow in self._lasting):
                raise
            self._refused()

    def _refused(self) -> None:
        """In order, with a word why."""
        node = self._world.node
        self.tally.seen["starts refused for want of room"] += 1
        if node.status is not None and node.status < 0:
            said = node.log.read_text(errors="replace")[-600:]
            self.tally.fail(Wrong.BROKEN, f"a start without room ended with {node.status}: {said}")
        node.forget_status()

    def _ended(self) -> None:
        """The node is not there any more: was it told so?"""
        node = self._world.node
        point = node.at_point
        if point is not None:
            self.aims.came(point)
            self.tally.points[f"{point.door}: {point.kind}, {'after' if point.after else 'before'}"] += 1
            node.points = []
        else:
            said = node.log.read_text(errors="replace")[-600:]
            self.tally.fail(Wrong.BROKEN, f"the node ended by itself with {node.status}: {said}")
        node.forget_status()

    # ---------------------------------------------------------------- load and faults

    def _load(self, plan: Plan, seconds: float) -> None:
        stop, events = threading.Event(), self._events(plan, seconds)
        with ThreadPoolExecutor(len(self._players)) as threads:
            running = [threads.submit(one.play, lambda: self._door, self.tally, stop) for one in self._players]
            try:
                self._conduct(events, time.monotonic(), seconds)
                if plan.killed:
                    self._kill()
            finally:
                self._door = None
                stop.set()
        for one in running:
            one.result()
        self.tally.seen["pending at the end of the load"] = self._world.node.pending() or 0

    def _kill(self) -> None:
        node = self._world.node
        if node.alive:
            node.kill()
            self.tally.faults["SIGKILL of the node"] += 1

    def _events(self, plan: Plan, seconds: float) -> list[Event]:
        chance = random.Random(f"{self._seed}/blows/{plan.number}")
        found: list[Event] = []
        for blow in plan.blows:
            found += self._both_ends(blow, seconds, chance)
        return sorted(found, key=lambda event: event.at)

    def _both_ends(self, blow: Blow, unit: float, chance: random.Random) -> list[Event]:
        """``unit``: seconds that its times are in."""
        begin, end = lambda: self._begin(blow, chance), lambda: self._end(blow)
        return [Event(blow.begin * unit, begin), Event(blow.end * unit, end)]

    def _conduct(self, events: list[Event], begin: float, seconds: float) -> None:
        """The round's time begins with the first write that was acknowledged and the first that is pending, and stands
        still while the node starts: a fault that nobody can meet proves nothing."""
        latest = begin + FIRST
        looked, helped = 0.0, self._world.node.points[:0]
        while (now := time.monotonic() - begin) < seconds or events:
            if not self._world.node.alive:
                if self._world.node.status is not None:
                    self._ended()
                self._start_again()
                if self._door is not None:
                    begin += time.monotonic() - begin - now
                    continue
            if helped is not self._world.node.points:
                helped = self._world.node.points
                events[:] = sorted([*events, *self._help(helped, now)], key=lambda event: event.at)
            if not (self.tally.acknowledged and self.tally.peak) and time.monotonic() < latest:
                self._look()
                begin, looked = time.monotonic(), 0.0
            elif events and events[0].at <= now:
                events.pop(0).act()
            if now - looked >= LOOK:
                self._look()
                looked = now
            time.sleep(TICK)

    def _help(self, points: list[Point], now: float) -> list[Event]:
        """The faults without which the node would seldom come to its points, unless one of their kind lasts already."""
        busy = {blow.fault.group for blow in self._lasting}
        found: list[Event] = []
        for name in dict.fromkeys(FAULTS_FOR.get((point.door, point.kind), "") for point in points):
            fault = BY_NAME.get(name)
            if fault is None or fault.group in busy:
                continue
            chance = random.Random(f"{self._seed}/help/{self.tally.number}/{name}")
            blow = Blow(replace(fault, pends=False), now, now + HELPED)
            found += self._both_ends(blow, 1.0, chance)
        return found

    def _begin(self, blow: Blow, chance: random.Random) -> None:
        if blow.fault.group is Group.NODE:
            self._door = self._door if blow.fault.worker else None
        done = blow.fault.begin(self._world, chance)
        self.tally.faults[blow.fault.name] += done if isinstance(done, int) else 1
        self._lasting.append(blow)

    def _end(self, blow: Blow) -> None:
        self._look()
        self._lasting.remove(blow)
        if blow.fault.kills:
            self._door = None
        blow.fault.end(self._world)

    def _look(self) -> None:
        pending = self._world.node.pending() or 0
        self.tally.peak = max(self.tally.peak, pending)
        if pending:
            self._pended.update(blow.fault.name for blow in self._lasting)

    # ---------------------------------------------------------------- afterwards

    def _mend(self) -> None:
        """Also a node whose point did not come is killed: it would come now."""
        self._world.heal()
        self._lasting, self._lives = [], 0
        node = self._world.node
        if node.points and node.alive:
            self.tally.seen["lives without a point reached"] += 1
            node.kill()
        elif node.status is not None:
            self._ended()
        if not node.alive:
            self._start_again()
        node.reload()

    def _judge(self, plan: Plan) -> None:
        self._not_in_vain(plan)
        if plan.only_copies:
            with closing(Judge(self._world, self.tally)) as judge:
                if not judge.drained():  # what waits for alt keeps its room on the disk, and only copies want some
                    return
            chance = random.Random(f"{self._seed}/only/{plan.number}")
            only_copies(self._world, self.tally, self._contents, chance)
        with closing(Judge(self._world, self.tally)) as judge:
            self._judge_by(judge, plan)

    def _judge_by(self, judge: Judge, plan: Plan) -> None:
        phase, groups = self.tally.phase, {blow.fault.group for blow in plan.blows}
        with phase("drain"):
            if not judge.drained():
                return
        with phase("contents"):
            judge.uploads()
            found = judge.contents(cut_off=plan.kills)
            judge.on_disk()
        with phase("purge"):
            judge.after_purge()
        with phase("rest"):
            judge.at_rest(self._idle[plan.workers])
        judge.settle(found)
        with phase("check"):
            judge.stopped(
                killed=plan.kills or plan.only_copies, disk=Group.DISK in groups,
                damaged=bool(self._world.damaged) or plan.only_copies,
            )  # fmt: skip
        self._world.damaged.clear()
        self._forget(found)

    def _not_in_vain(self, plan: Plan) -> None:
        if not self.tally.acknowledged:
            self.tally.fail(Wrong.VAIN, "nothing was acknowledged in this round")
        if not self.tally.peak:
            self.tally.fail(Wrong.VAIN, "nothing was pending in this round")
        if any(blow.fault.group is Group.DISK for blow in plan.blows):
            return  # what the disk cannot take does not wait there
        for blow in plan.blows:
            if blow.fault.pends and blow.fault.name not in self._pended:
                self.tally.fail(Wrong.VAIN, f"{blow.fault.name}, and nothing was pending")

    def _forget(self, found: dict[str, str]) -> None:
        """Most keys that are gone are not used again: it would show in a listing if one came back."""
        chance = random.Random(f"{self._seed}/forget/{self.tally.number}")
        gone = {key for key, digest in found.items() if digest == GONE and chance.random() > KEPT_GONE}
        for key in gone:
            self._world.ledger.forget(key)
        for player in self._players:
            player.keys = [key for key in player.keys if key not in gone]
