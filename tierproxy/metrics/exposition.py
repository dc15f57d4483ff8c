"""The page at /metrics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator

from prometheus_client import ProcessCollector
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from tierproxy.errors import TierproxyError
from tierproxy.logs import event
from tierproxy.metrics import health, requests, tiers, upkeep
from tierproxy.metrics.families import Room, families
from tierproxy.metrics.sources import Sources

log = logging.getLogger(__name__)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus' text format (prometheus.io/docs/instrumenting/exposition_formats)."""
SAFE, QUEUE, *TIERS = tiers.ROOMS
ROOMS: tuple[Room[Sources], ...] = (SAFE, *health.ROOMS, QUEUE, *requests.ROOMS, *TIERS, *upkeep.ROOMS)


class Page(Collector):
    """Families that are at hand, in the shape prometheus_client renders."""

    def __init__(self, found: Iterable[Family]) -> None:
        self._found = found

    def collect(self) -> Iterator[Family]:
        yield from self._found


class Exposition:
    """Reads everything off what the node counts anyway, when it is asked: nothing is counted twice, and a node that
    nobody scrapes does nothing for it."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._process: tuple[Collector, ...] = (ProcessCollector(registry=None),)

    def __repr__(self) -> str:
        return f"<Exposition of {sum(len(room.metrics) for room in ROOMS)} metrics>"

    async def page(self) -> tuple[bytes, str]:
        """The text and its content type. Other tasks get their turn between two rooms; what needs SQL is looked up in a
        thread. A room whose source fails is left out and counted: the rest says what is wrong."""
        await self._sources.measured.refresh()
        parts = []
        for room in ROOMS:
            parts.append(self._room(room))
            await asyncio.sleep(0)
        parts += [generate_latest(collector) for collector in self._process]
        return b"".join(parts), CONTENT_TYPE

    def _room(self, room: Room[Sources]) -> bytes:
        try:
            found = families(room.metrics, list(room.look(self._sources)))
        except TierproxyError as error:
            self._sources.measured.failures += 1
            event(log, logging.WARNING, "metrics left out", room=room.title, error=error)
            return b""
        return generate_latest(Page(found))
