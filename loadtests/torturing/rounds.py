"""One round after the other: load, faults, healing, judgement."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

from ledger import GONE
from served import Failed

from tierproxy.cli.client import Door
from tierproxy.ports import Clock
from torturing.contents import Contents
from torturing.faults import Group
from torturing.judge import Judge
from torturing.node import settled
from torturing.only_copies import only_copies
from torturing.plan import Blow, Plan
from torturing.player import Player
from torturing.tally import Tally, Wrong
from torturing.world import World

TICK = 0.02
LOOK = 0.1  #: seconds between looks at the journal
KEPT_GONE = 0.3  #: share of deleted keys that are used again


@dataclass(slots=True)
class Event:
    """Something that happens within a round."""

    at: float
    act: Callable[[], object]


class Rounds:
    """One world through all its rounds. The node is stopped between them."""

    def __init__(self, world: World, seed: int, clients: int, clock: Clock) -> None:
        self._world = world
        self._seed = seed
        self._contents = Contents(seed)
        self._players = [
            Player(number, seed, world.ledger, self._contents, world.buckets, clock) for number in range(clients)
        ]
        self._base = world.node.config
        self._door: Door | None = None
        self.tally = Tally()
        self._lasting: list[Blow] = []  #: faults that last now
        self._pended: set[str] = set()  #: faults during which something was pending

    def play(self, plan: Plan, seconds: float) -> Tally:
        """Ends with everything healed and the node stopped."""
        self.tally = Tally(plan.number, str(plan))
        self._lasting, self._pended = [], set()
        self._world.node.configure(settled(self._base, workers=plan.workers, linger=plan.linger))
        self._start(plan)
        self._load(plan, seconds)
        self._mend()
        self._judge(plan)
        return self.tally

    # ---------------------------------------------------------------- the node

    def _start(self, plan: Plan) -> None:
        """With its point, which may come before it is ready."""
        node = self._world.node
        node.point = plan.point
        try:
            node.start()
        except Failed:
            if plan.point is None:
                raise
            self._ended(plan)
            node.point = None
            node.start()
        self._door = node.door

    def _start_again(self) -> None:
        """Not where a disk without any room forbids it: then it is tried again."""
        self._door = None
        self._world.node.point = None
        try:
            self._world.node.start()
        except Failed:
            if not any(blow.fault.group is Group.DISK for blow in self._lasting):
                raise
            self.tally.seen["starts refused for want of room"] += 1
            return
        self._door = self._world.node.door

    def _ended(self, plan: Plan) -> None:
        """The node is not there any more: was it told so?"""
        node = self._world.node
        if node.point is not None and plan.point is not None:
            when = "after" if plan.point.after else "before"
            self.tally.faults[f"node killed {when} {plan.point.door}: {plan.point.kind}"] += 1
        else:
            said = node.log.read_text(errors="replace")[-600:]
            self.tally.fail(Wrong.BROKEN, f"the node ended by itself with {node.status}: {said}")

    # ---------------------------------------------------------------- load and faults

    def _load(self, plan: Plan, seconds: float) -> None:
        stop, events = threading.Event(), self._events(plan, seconds)
        with ThreadPoolExecutor(len(self._players)) as threads:
            running = [threads.submit(one.play, lambda: self._door, self.tally, stop) for one in self._players]
            try:
                self._conduct(plan, events, time.monotonic(), seconds)
                if plan.killed:
                    self._world.node.kill()
                    self.tally.faults["SIGKILL of the node"] += 1
            finally:
                self._door = None
                stop.set()
        for one in running:
            one.result()
        self.tally.seen["pending at the end of the load"] = self._world.node.pending() or 0

    def _events(self, plan: Plan, seconds: float) -> list[Event]:
        chance = random.Random(f"{self._seed}/blows/{plan.number}")
        found = []
        for blow in plan.blows:
            found.append(Event(blow.begin * seconds, lambda blow=blow: self._begin(blow, chance)))  # type: ignore[misc]
            found.append(Event(blow.end * seconds, lambda blow=blow: self._end(blow)))  # type: ignore[misc]
        return sorted(found, key=lambda event: event.at)

    def _conduct(self, plan: Plan, events: list[Event], begin: float, seconds: float) -> None:
        """The round's time stands still while the node starts: a fault that nobody can meet proves nothing."""
        looked = 0.0
        while (now := time.monotonic() - begin) < seconds or events:
            if not self._world.node.alive:
                if self._door is not None:
                    self._ended(plan)
                self._start_again()
                if self._door is not None:
                    begin += time.monotonic() - begin - now
                    continue
            if events and events[0].at <= now:
                events.pop(0).act()
            if now - looked >= LOOK:
                self._look()
                looked = now
            time.sleep(TICK)

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
        self._lasting = []
        if self._world.node.point is not None and self._world.node.alive:
            self.tally.seen["points not reached"] += 1
            self._world.node.kill()
        if not self._world.node.alive:
            self._start_again()
        self._world.node.reload()

    def _judge(self, plan: Plan) -> None:
        self._not_in_vain(plan)
        if plan.only_copies:
            chance = random.Random(f"{self._seed}/only/{plan.number}")
            only_copies(self._world, self.tally, self._contents, chance)
        with closing(Judge(self._world, self.tally)) as judge:
            self._judge_by(judge, plan)

    def _judge_by(self, judge: Judge, plan: Plan) -> None:
        if not judge.drained():
            return
        judge.uploads()
        groups = {blow.fault.group for blow in plan.blows}
        found = judge.contents(cut_off=plan.kills or Group.DISK in groups)
        judge.after_purge()
        judge.at_rest()
        judge.settle(found)
        judge.stopped(
            killed=plan.kills or plan.only_copies, disk=Group.DISK in groups,
            damaged=Group.BLOBS in groups or plan.only_copies,
        )  # fmt: skip
        self._forget(found)

    def _not_in_vain(self, plan: Plan) -> None:
        if not self.tally.acknowledged:
            self.tally.fail(Wrong.VAIN, "nothing was acknowledged in this round")
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
