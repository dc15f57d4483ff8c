"""/stats: how often mails are read, and what of them lives on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query

from tierproxy.admin.callers import Caller, require
from tierproxy.admin.kept import Keeper
from tierproxy.admin.services import Services
from tierproxy.admin.snapshots import Snapshots
from tierproxy.catalogue import CatalogueReader
from tierproxy.desk import stats as desk
from tierproxy.stats import Breakdown
from tierproxy.wire.base import Document
from tierproxy.wire.stats import Heat, StatsTable

Reader = Annotated[Caller, Depends(require("read"))]
Bucket = Annotated[str, Query(max_length=63, description="Only this bucket; empty: all.")]
Fresh = Annotated[bool, Query(description="As it is now, however long that takes, not some seconds old.")]
Row = Literal["age", "owner", "folder", "day"]


def stats_router(services: Services, snapshots: Snapshots) -> APIRouter:
    """Everything below /stats."""
    router, looks = APIRouter(prefix="/stats", tags=["stats"]), Looks(services)
    keeper = Keeper(services.data, "stats", Overview, services.files)
    snapshots.expect(("stats", ""), looks.overview(""), keeper)

    @router.get("", summary="How often mails are read")
    async def stats(
        _: Reader,
        by: Annotated[Row, Query(description="What the rows are. By rule: `GET /api/rules`.")] = "age",
        bucket: Bucket = "",
        limit: Annotated[int, Query(ge=0, le=10_000, description="Rows to show (of days the last); 0: all.")] = 100,
        search: Annotated[str, Query(max_length=200, description="Only rows with this in their label.")] = "",
        fresh: Fresh = False,
    ) -> StatsTable:
        """By age since written, owner, folder class or day of reading. Counted in the background with a look at every
        object: `computed_at` says when. Owners and folders come with the largest first."""
        if by == "day":
            days = await snapshots.ask(("stats", "day", bucket), looks.days(bucket), fresh=fresh)
            return desk.part(days, limit, search)
        whole = await snapshots.ask(("stats", bucket), looks.overview(bucket), fresh=fresh)
        return desk.part(whole.by(by), limit, search)

    @router.get("/heat", summary="Age by reads")
    async def heat(_: Reader, bucket: Bucket = "", fresh: Fresh = False) -> Heat:
        """Objects and bytes, and what of them is on disk, by age since written (rows) and reads by people (columns).
        Counted in the background: `computed_at` says when."""
        return (await snapshots.ask(("stats", bucket), looks.overview(bucket), fresh=fresh)).heat

    return router


class Overview(Document):
    """What one look at every object tells."""

    tables: list[StatsTable]
    heat: Heat

    def by(self, label: str) -> StatsTable:
        return next(one for one in self.tables if one.by == label)


class Looks:
    """What the desk's threads do for these routes, at the moment at which they begin."""

    def __init__(self, services: Services) -> None:
        self._config = services.config
        self._clock = services.clock

    def days(self, bucket: str) -> Callable[[CatalogueReader], StatsTable]:
        return lambda catalogue: desk.table(self._config(), catalogue, self._clock.now(), Breakdown.DAY, bucket)

    def overview(self, bucket: str) -> Callable[[CatalogueReader], Overview]:
        def look(catalogue: CatalogueReader) -> Overview:
            tables, heat = desk.overview(self._config(), catalogue, self._clock.now(), bucket)
            return Overview(tables=tables, heat=heat)

        return look
