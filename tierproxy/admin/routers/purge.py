"""/purge: the dry run."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from tierproxy.admin.callers import Caller, require
from tierproxy.admin.routers.standing import NAMED, STANDING, standing
from tierproxy.admin.services import Services
from tierproxy.admin.snapshots import Snapshots
from tierproxy.catalogue import CatalogueReader
from tierproxy.desk.plan import Wanted, plan
from tierproxy.wire.purges import PurgePlan

Reader = Annotated[Caller, Depends(require("read"))]
Target = Annotated[str, Query(max_length=1100, description="BUCKET or BUCKET/PREFIX; empty: everything.")]


def purge_router(services: Services, snapshots: Snapshots) -> APIRouter:
    """Everything below /purge."""
    router = APIRouter(prefix="/purge", tags=["runs"])

    @router.get("/plan", summary="What a purge would remove")
    async def planned(
        _: Reader,
        target: Target = "",
        rule: Annotated[str, Query(max_length=200, description="Only what this rule purges.")] = "",
        everything: Annotated[bool, Query(description="All of the target, whatever rules keep.")] = False,
        limit: Annotated[int, Query(ge=0, le=1000, description="Objects to name.")] = 20,
        fresh: Annotated[bool, Query(description="As it is now, not some seconds old.")] = False,
    ) -> PurgePlan:
        """By the rules in force, rule by rule, with the first objects that would go and why. Nothing is removed. It may
        be some seconds old: `computed_at`."""
        wanted = Wanted(target, rule, everything)
        if wanted == Wanted() and limit <= NAMED:
            found = await snapshots.ask(STANDING, standing(services), fresh=fresh)
            return found.plan.model_copy(update={"objects": found.plan.objects[:limit]})

        def look(catalogue: CatalogueReader) -> PurgePlan:
            return plan(services.config(), catalogue, wanted, services.clock.now(), limit)

        return await snapshots.ask(("plan", wanted, limit), look, fresh=fresh)

    return router
