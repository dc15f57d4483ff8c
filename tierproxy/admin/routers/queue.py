"""/queue: what alt does not have yet."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from tierproxy.admin.callers import Caller, note, require
from tierproxy.admin.services import Services
from tierproxy.desk import objects
from tierproxy.desk import queue as desk
from tierproxy.wire.objects import Hurried, HurryWish, Queue

Reader = Annotated[Caller, Depends(require("read"))]
Operator = Annotated[Caller, Depends(require("operate"))]


def queue_router(services: Services) -> APIRouter:
    """Everything below /queue."""
    router = APIRouter(prefix="/queue", tags=["queue"])

    @router.get("", summary="The upload queue")
    async def queue(
        _: Reader,
        limit: Annotated[int, Query(ge=0, le=10_000, description="Jobs to show, oldest first; 0: 10,000.")] = 50,
        failing: Annotated[bool, Query(description="Only jobs that have failed before.")] = False,
    ) -> Queue:
        """Uploads and deletes that wait for alt, with the queue in numbers."""
        return await services.desk.ask(lambda catalogue: desk.queue(catalogue, limit or MOST, failing=failing))

    @router.post("/hurry", summary="Try jobs now")
    async def hurry(_: Operator, request: Request, wish: HurryWish) -> Hurried:
        """Whatever their backoff says: of these objects, or of all (after alt has come back)."""
        names = None if wish.objects is None else [objects.name_of(text) for text in wish.objects]
        hurried = await services.catalogue.hurry(names, services.clock.now())
        services.queue.wake()
        note(request, hurried=hurried)
        return Hurried(hurried=hurried)

    return router


MOST = 10_000  #: jobs of an answer
