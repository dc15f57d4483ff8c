"""Following what a node does for us: its events until they are settled, and its end when somebody presses Ctrl-C."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel

from tierproxy.cli.node import Line, NodeClient, Unreachable
from tierproxy.cli.outcome import err
from tierproxy.errors import Busy, NoSuchKey, StaleGeneration
from tierproxy.offload import ThreadPool

D = TypeVar("D", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Work(Generic[D]):
    """Something a node was asked to do. ``path``: below /api, where its document, ``/events`` and ``/cancel`` are.
    ``name``: of it, for people. ``settled``: nothing more comes of it by itself. ``left``: what becomes of it when the
    node goes away, for people."""

    node: NodeClient
    kind: type[D]
    path: str
    name: str
    settled: Callable[[D], bool]
    left: str

    async def followed(self, show: Callable[[D], None]) -> D:
        """Until it is settled. The first interruption asks the node to end it and waits for that, a second one leaves
        it to the node. Requests are made in threads, so that an interruption is heard while one waits. Raises Busy,
        Unreachable when the node goes away before."""
        threads, line = ThreadPool("node", 2), Line()
        try:
            following = asyncio.ensure_future(threads.run(self._follow, show, line))
            try:
                return await asyncio.shield(following)
            except asyncio.CancelledError:
                err().print(f"interrupted: {self.name} is asked to end; Ctrl-C again leaves it to the node")
                await threads.run(self._end)
                return await following
        finally:
            line.cut()
            await threads.close()

    def _follow(self, show: Callable[[D], None], line: Line) -> D:
        """thread."""
        try:
            for _, found in self.node.events(f"{self.path}/events", line):
                document = self.kind.model_validate(found)
                show(document)
                if self.settled(document):
                    return document
        except Unreachable as error:
            raise Unreachable(str(error), hint=self.left) from error
        raise Busy(f"the node has stopped telling of {self.name}", hint=self.left)

    def _end(self) -> None:
        """thread. What has ended meanwhile is fine."""
        try:
            self.node.post(self.kind, f"{self.path}/cancel")
        except (StaleGeneration, NoSuchKey):
            return
