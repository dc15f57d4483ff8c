"""Objects fetched to disk, or purged from it, by name."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tierproxy.admin.fetching import Fetching
from tierproxy.admin.services import Services
from tierproxy.desk.explain import FATES
from tierproxy.errors import TierproxyError
from tierproxy.model import ObjectName
from tierproxy.purge.explain import Fate, fate
from tierproxy.purge.plan import everything
from tierproxy.purges import OPERATOR, Drop
from tierproxy.traffic import Reason, Visitor
from tierproxy.wire.objects import Moved, MoveResult

WORKERS = 4  #: objects fetched at once: people's reads go first
VISITOR = Visitor(client="admin", user_agent="tierproxy fetch", reason=Reason.PREFETCH)
NO_ROOM = "no copy was kept: the disk, or the bucket's budget, has no room, or it is larger than [fill] max_object"
CHANGED = "it changed meanwhile, or is being read"
UNKNOWN = "the catalogue knows no such object"


class Moving:
    """What an operator does to some objects. Each has its own outcome: one that fails stops no other."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._fetching = Fetching(services.store, services.catalogue, services.clock, VISITOR)

    async def fetch(self, names: Sequence[ObjectName]) -> MoveResult:
        """Read each through the node as a prefetch: nobody's read is counted, and nothing goes for it."""
        places = asyncio.Semaphore(WORKERS)

        async def one(name: ObjectName) -> Moved:
            async with places:
                return await self._fetch(name)

        return MoveResult(action="fetch", objects=list(await asyncio.gather(*map(one, names))))

    async def purge(self, names: Sequence[ObjectName]) -> MoveResult:
        """Remove their blobs as an operator's run does: not what alt lacks, what is pinned, young, or being read.
        Raises DiskError."""
        verdicts = {name: self._droppable(name) for name in names}
        drops = [drop for drop in verdicts.values() if isinstance(drop, Drop)]
        if drops:
            await self._services.store.purge(drops)
        return MoveResult(action="purge", objects=[self._purged(name, verdicts[name]) for name in names])

    async def _fetch(self, name: ObjectName) -> Moved:
        if self._fetching.there(name):
            return Moved(object=str(name), done=False, why="it is on disk")
        try:
            size = await self._fetching.bring(name)
        except TierproxyError as error:
            return Moved(object=str(name), done=False, why=str(error))
        return Moved(object=str(name), done=size is not None, bytes=size or 0, why=NO_ROOM if size is None else "")

    def _droppable(self, name: ObjectName) -> Drop | str:
        """Its blob, or why it stays."""
        standing = self._services.catalogue.standing(name)
        if standing is None:
            return UNKNOWN
        rules = everything(self._services.purges.live.in_force.rules)
        found = fate(standing, rules, self._services.clock.now())
        return Drop.of(standing.entry, OPERATOR) if found is Fate.GOES else FATES[found].partition(": ")[2]

    def _purged(self, name: ObjectName, verdict: Drop | str) -> Moved:
        if isinstance(verdict, str):
            return Moved(object=str(name), done=False, why=verdict)
        row = self._services.catalogue.find(name)
        if row is not None and row.blob == verdict.blob:
            return Moved(object=str(name), done=False, why=CHANGED)
        return Moved(object=str(name), done=True, bytes=verdict.blob_bytes)
