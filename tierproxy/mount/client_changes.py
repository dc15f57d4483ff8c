"""Hearing of changes: one answer without an end, asked for again whenever it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncGenerator
from typing import Any

from tierproxy.logs import event
from tierproxy.mount.client_connection import Connection
from tierproxy.mount.client_patience import Patience
from tierproxy.mount.client_requests import Ask, Requests
from tierproxy.mount.ports import Doubt, NodeError, Told
from tierproxy.ports import Clock

log = logging.getLogger(__name__)
SILENCE = 15.0
"""Seconds without even a heart-beat (the node's are 5 s apart) after which the feed is taken for dead."""
SOON, LATE = 0.2, 5.0
"""Seconds before the first and the later tries to listen again."""
WAITING = 1000
"""Batches that wait for whoever listens; then the node is made to wait, and will cut us off."""
LONGEST = 64 * 1024

Batch = tuple[Connection | None, list[Told]]
ANYTHING = Told("")


class Feed:
    """The change feed of one client. One at a time listens."""

    def __init__(self, requests: Requests, clock: Clock, *, bucket: str, prefix: str) -> None:
        self._requests = requests
        self._clock = clock
        self._prefix = prefix
        query = (("tierproxy-changes", ""), *((("prefix", prefix),) if prefix else ()))
        self._ask = Ask("GET", f"/{bucket}", query, always=True)
        self._patience = Patience(clock, SILENCE)
        self._believed: Connection | None = None

    def __repr__(self) -> str:
        return f"<Feed {'fresh' if self.fresh else 'not fresh'}>"

    @property
    def fresh(self) -> bool:
        """Whoever listens has taken in that everything may have changed, and the connection that tells of all that
        changed since is alive."""
        return self._believed is not None and not self._believed.closed

    async def changes(self) -> AsyncGenerator[Told, None]:
        """``NodeClient.changes``. Reads in a task of its own: the deadline of a request belongs to a task, and whoever
        listens may ask for each change from another one."""
        batches: asyncio.Queue[Batch] = asyncio.Queue(WAITING)
        reader = asyncio.get_running_loop().create_task(self._read_on(batches), name="mount-changes")
        try:
            while True:
                connection, batch = await batches.get()
                if ANYTHING in batch:
                    self._believed = None
                for told in batch:
                    yield told
                if connection is not None:  # not before it was taken in, which asking for the next one says
                    self._believed = connection
        finally:
            self._believed = None
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader

    async def close(self) -> None:
        await self._patience.close()

    async def _read_on(self, batches: asyncio.Queue[Batch]) -> None:
        pause, level = SOON, logging.WARNING
        while True:
            begun = False
            try:
                async with self._requests.answered(self._ask, self._patience) as answered:
                    lines = Lines(answered.connection)
                    if not answered.head.good:
                        raise (await answered.whole(LONGEST)).refusal()
                    await lines.hello()
                    begun, pause, level = True, SOON, logging.WARNING
                    event(log, logging.INFO, "hearing of changes")
                    await batches.put((answered.connection, [ANYTHING]))
                    while True:
                        await batches.put((None, self._told(await lines.next())))
            except NodeError as error:
                event(log, level, "not hearing of changes", error=error)
                level = logging.DEBUG  # once is enough, until there is something new to say
            if begun:
                await batches.put((None, [ANYTHING]))
            await self._clock.sleep(pause)
            pause = min(2 * pause, LATE)

    def _told(self, lines: list[Any]) -> list[Told]:
        try:
            found = [Told(str(line["key"]), str(line["etag"])) for line in lines]
        except (KeyError, TypeError) as error:
            raise Doubt(f"the node's line about a change cannot be read: {error}") from error
        cut = len(self._prefix)
        return [Told(told.key[cut:], told.etag) for told in found if told.key.startswith(self._prefix)]


class Lines:
    """The JSON lines of an answer; empty ones are heart-beats."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._rest = b""
        self._ahead: list[Any] = []

    async def hello(self) -> None:
        """The first line. Raises Broken, Doubt."""
        first: list[Any] = []
        while not first:
            first = await self.next()
        if not isinstance(first[0], dict) or "hello" not in first[0]:
            raise Doubt("the node does not say hello before it tells of changes")
        self._ahead = first[1:]

    async def next(self) -> list[Any]:
        """What came, maybe nothing. Raises Broken, Doubt."""
        if self._ahead:
            found, self._ahead = self._ahead, []
            return found
        data = await self._connection.more()
        if not data:
            raise Doubt("the node tells of no more changes")
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST:
            raise Doubt("a line about a change has no end")
        try:
            return [json.loads(line) for line in whole if line]
        except ValueError as error:
            raise Doubt(f"the node's line about a change is no JSON: {error}") from error
