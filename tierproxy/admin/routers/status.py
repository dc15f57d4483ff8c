"""/status, /series, /buckets, /costs, /configuration: how the node is, now and over time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from tierproxy.admin import costs
from tierproxy.admin.callers import Caller, require
from tierproxy.admin.events import Event, events
from tierproxy.admin.live import live
from tierproxy.admin.services import Services
from tierproxy.config.describe import values
from tierproxy.desk import objects, series, status
from tierproxy.desk.costs import usage
from tierproxy.wire.status import Bucket, Costs, Series, Status

Reader = Annotated[Caller, Depends(require("read"))]
LATEST = 1e11  #: seconds since the epoch: the year 5138
Moment = Annotated[float | None, Query(ge=0, le=LATEST, allow_inf_nan=False, description="Seconds since the epoch.")]

PERIOD = 2.0  #: seconds from one status event to the next
GOOD_FOR = 1.0  #: seconds: however many dashboards are open, one look a second
BACK = {"minute": 3600.0, "hour": 7 * 86_400.0, "day": 90 * 86_400.0}
"""Seconds that a series goes back when nobody says how far."""


def status_router(services: Services) -> APIRouter:
    """The looks that cost nothing."""
    router, glance = APIRouter(tags=["status"]), Glance(services)
    _now(router, glance, services)
    _over_time(router, services)
    return router


class Glance:
    """The status as it was at most a second ago, looked up once for all who ask."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._turn = asyncio.Lock()
        self._seen: tuple[float, Status] | None = None

    async def now(self) -> Status:
        """Raises ConfigError, DiskError, Busy."""
        async with self._turn:
            now = self._services.clock.monotonic()
            if self._seen is None or now - self._seen[0] >= GOOD_FOR:
                self._seen = now, await self._look()
            return self._seen[1]

    async def _look(self) -> Status:
        config, now, alive = self._services.config(), self._services.clock.now(), live(self._services)
        return await self._services.desk.ask(lambda catalogue: status.status(config, catalogue, now, alive))


def _now(router: APIRouter, glance: Glance, services: Services) -> None:
    @router.get("/status", summary="Everything the first screen shows")
    async def status_now(_: Reader) -> Status:
        """Is mail safe, is it fast, is there room; tiers, alarms, and which rules are in force. At most a second old,
        and never a scan of the catalogue."""
        return await glance.now()

    @router.get("/status/events", summary="The status as it changes", response_class=Response, responses=STREAM)
    async def status_events(_: Reader) -> Response:
        """Server-sent events named `status`, each a Status, one every two seconds."""
        return events(_ticking(glance, services))


async def _ticking(glance: Glance, services: Services) -> AsyncIterator[Event]:
    while True:
        yield Event(await glance.now(), "status")
        await services.clock.sleep(PERIOD)


def _over_time(router: APIRouter, services: Services) -> None:
    @router.get("/series", summary="Counters over time")
    async def points(
        _: Reader,
        span: Annotated[series.Span, Query(description="What a point is the sum of. Days are UTC days.")] = "minute",
        since: Moment = None,
        until: Moment = None,
    ) -> Series:
        """Gets by outcome, reads, regrets, writes, bytes delivered by tier, requests to alt, and the time to the first
        byte by outcome (mean, median, 99th percentile; the last two are upper bounds of powers of two). Without
        `since` the last hour of minutes, week of hours or 90 days. Spans without traffic are left out; at most 10,000
        points, the newest."""
        last = services.clock.now() if until is None else until
        first = max(0.0, last - BACK[span]) if since is None else since
        return await services.desk.ask(lambda catalogue: series.series(catalogue, span, first, last))

    @router.get("/buckets", summary="The buckets clients see")
    async def buckets(_: Reader) -> list[Bucket]:
        """What each holds, on disk and in all, where it lies in alt, and whether the catalogue knows all of it."""
        config = services.config()
        return await services.desk.ask(lambda catalogue: objects.buckets(config, catalogue))

    @router.get("/costs", summary="What it costs a month")
    async def bill(
        _: Reader,
        days: Annotated[float, Query(gt=0, le=3650, allow_inf_nan=False, description="Of traffic that counts.")] = 30.0,
    ) -> Costs:
        """At the traffic of the last days: requests to alt by class, bytes out of it, what it keeps, and the disk; and
        what it would be if every get went to alt. By prices.toml beside the configuration, or the sheet that comes
        with tierproxy."""
        prices, sheet = await services.desk.run(costs.priced, services.config_file)
        config = services.config()
        now = services.clock.now()
        used = await services.desk.ask(lambda catalogue: usage(config, catalogue, now, days))
        return costs.costs(used, prices, sheet)

    @router.get("/configuration", summary="The options in force")
    async def configuration(_: Reader) -> dict[str, object]:
        """Section by section, as `tierproxy config describe --json`; secrets are masked."""
        return values(services.config())


STREAM: dict[int | str, dict[str, object]] = {
    200: {"description": "A stream that goes on until either side ends it.", "content": {"text/event-stream": {}}}
}
