"""Who knows whom among the parts of the file system."""

from __future__ import annotations

from tierproxy.fuse.operations import Kernel
from tierproxy.mount.bodies import Bodies
from tierproxy.mount.callers import Callers
from tierproxy.mount.changing import Changer
from tierproxy.mount.copies import Copies
from tierproxy.mount.counters import Counters
from tierproxy.mount.directories import Directories
from tierproxy.mount.finding import Finder
from tierproxy.mount.flights import Flights
from tierproxy.mount.hearing import Doubts, Hearing
from tierproxy.mount.intents import IntentJournal
from tierproxy.mount.making import Gate, Maker
from tierproxy.mount.moving import Mover
from tierproxy.mount.nearby import Beside, NodesFiles, Nowhere
from tierproxy.mount.nodes import Nodes
from tierproxy.mount.opening import OpenFiles
from tierproxy.mount.ports import NodeClient
from tierproxy.mount.renames import Carrier, Unfinished
from tierproxy.mount.reports import ReadReports
from tierproxy.mount.scratch import Scratch
from tierproxy.mount.settings import MountSettings
from tierproxy.mount.stat import Stat
from tierproxy.mount.tree import Tree
from tierproxy.ports import Clock


class Parts:
    """All of them, put together."""

    def __init__(
        self, client: NodeClient, kernel: Kernel, scratch: Scratch, settings: MountSettings, clock: Clock,
        beside: Beside | None,
    ) -> None:  # fmt: skip
        self.scratch = scratch
        self.counters = counters = Counters()
        self.flights = flights = Flights()
        self.callers = Callers(clock)
        self.nodes = nodes = Nodes()
        doubts = Doubts(kernel, nodes)
        self.tree = tree = Tree(client, clock, counters, flights, settings.remember, doubts.name)
        self.hearing = Hearing(client, kernel, nodes, tree, doubts, counters)
        journal = IntentJournal(scratch)
        self.unfinished = Unfinished(
            Carrier(client, tree), journal, nodes, kernel, counters, flights, settings.deadline
        )  # fmt: skip
        self.finder = finder = Finder(
            client, nodes, tree, Stat(settings, tree), self.unfinished, settings, counters, clock
        )  # fmt: skip
        self.reports = reports = ReadReports(client, clock, counters)
        nearby = Nowhere() if beside is None else NodesFiles(beside, scratch.threads, reports)
        self.bodies = bodies = Bodies(client, nearby, settings, clock, counters, flights)
        self.copies = copies = Copies(client, tree, finder, bodies, scratch, clock, counters)
        self.files = files = OpenFiles(
            client, nodes, tree, finder, bodies, copies, scratch, clock
        )  # fmt: skip
        gate = Gate(finder, clock, counters)
        self.maker = Maker(
            client, nodes, tree, finder, gate, files, copies, bodies, scratch, clock, counters
        )  # fmt: skip
        self.mover = Mover(
            client, nodes, tree, finder, gate, self.maker, files, copies, bodies, self.unfinished, scratch, clock,
            counters,
        )  # fmt: skip
        self.directories = Directories(nodes, tree, finder, self.unfinished, doubts)
        self.changer = Changer(client, tree, finder, files, settings, clock)

    async def close(self) -> None:
        """What is open fails from now on."""
        await self.flights.close()
        await self.reports.close()
        self.bodies.close()
        for node in self.nodes:
            self.copies.drop(node)
