"""/objects and /pins: what there is, why each is where it is, and moving some by name."""

from __future__ import annotations

import math
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from tierproxy.admin.callers import Caller, note, require
from tierproxy.admin.moving import Moving
from tierproxy.admin.services import Services
from tierproxy.admin.snapshots import Snapshots
from tierproxy.catalogue import CatalogueReader, Wanted
from tierproxy.desk import explain as explaining
from tierproxy.desk import objects as desk
from tierproxy.desk.stats import require as require_bucket
from tierproxy.errors import NoSuchKey, RequestError
from tierproxy.model import ObjectName, State
from tierproxy.wire.base import ObjectText
from tierproxy.wire.objects import Account, MoveResult, ObjectPage, Objects, Pin, Pinned, PinWish, Unpinned

Reader = Annotated[Caller, Depends(require("read"))]
Operator = Annotated[Caller, Depends(require("operate"))]
Name = Annotated[ObjectText, Query(alias="object", description="BUCKET/KEY.", examples=["mail/alice/1"])]
Bucket = Annotated[str, Query(max_length=63, description="Only this bucket; empty: all.")]
NOTED = 3  #: objects named in the line of the log


def objects_router(services: Services, snapshots: Snapshots) -> APIRouter:
    """Everything below /objects, and /pins."""
    router = APIRouter(tags=["objects"])
    _looks(router, services)
    _pins(router, services, snapshots)
    _moves(router, Moving(services), snapshots)
    return router


def _looks(router: APIRouter, services: Services) -> None:
    @router.get("/objects", summary="Find objects")
    async def page(
        _: Reader,
        bucket: Bucket = "",
        prefix: Annotated[str, Query(max_length=1024, description="Keys that begin so.")] = "",
        after: Annotated[str, Query(max_length=1088, description="`next` of the page before.")] = "",
        limit: Annotated[int, Query(ge=1, le=1000, description="Objects at most.")] = 100,
        owner: Annotated[str | None, Query(max_length=1024, description="Only this owner's; empty: nobody's.")] = None,
        state: Annotated[State | None, Query(description="Only in this state. Tombstones show with it alone.")] = None,
    ) -> ObjectPage:
        """In name order, a page at a time. With `owner`, or `state` clean, a request looks at no more than 20,000
        objects: a page may then be short, or empty, and yet have a `next` to go on with."""
        start = desk.name_of(after) if after else ObjectName("", "")
        wanted = Wanted(bucket, prefix, start, owner, state)

        def look(catalogue: CatalogueReader) -> ObjectPage:
            require_bucket(catalogue, bucket)
            return desk.page(catalogue, wanted, limit)

        return await services.desk.ask(look)

    @router.get("/objects/explain", summary="Why an object is where it is")
    async def explain(_: Reader, target: Name) -> Account:
        """Where it is, every rule with its numbers, which one decides, what the next run, pressure and time itself do
        to it. 404 for an object the catalogue does not know."""
        config, now, name = services.config(), services.clock.now(), desk.name_of(target)
        found = await services.desk.ask(lambda catalogue: explaining.account(config, catalogue, now, name))
        row = services.catalogue.find(name)
        stub = row is not None and await services.stubs.has(name, row.generation)
        return found.model_copy(update={"stub": True}) if stub else found


def _pins(router: APIRouter, services: Services, snapshots: Snapshots) -> None:
    @router.get("/pins", summary="What commands have pinned")
    async def pins(_: Reader, limit: Annotated[int, Query(ge=1, le=10_000)] = 100) -> list[Pin]:
        """The first to end first. Pins of rules are not listed: `GET /api/objects/explain` tells of them."""
        now = services.clock.now()
        return await services.desk.ask(lambda catalogue: desk.pins(catalogue, now, limit))

    @router.post("/objects/pin", summary="Keep objects on disk")
    async def pin(_: Operator, request: Request, wish: PinWish) -> Pinned:
        """Until then, whatever rules and pressure say. All of them or, when one is not known, none. What is not on disk
        is kept once it comes there."""
        end = math.inf if wish.until == "forever" else wish.until
        if end <= services.clock.now():
            raise RequestError("that is over already: until is in the past")
        absent = await _set(services, wish.objects, end)
        _noted(request, snapshots, wish.objects)
        return Pinned(pinned=wish.objects, until=wish.until, not_on_disk=absent)

    @router.post("/objects/unpin", summary="Leave objects to the rules again")
    async def unpin(_: Operator, request: Request, wish: Objects) -> Unpinned:
        """Those that are not pinned are fine. A rule's pin is not changed by this."""
        await _set(services, wish.objects, None)
        _noted(request, snapshots, wish.objects)
        return Unpinned(unpinned=wish.objects)


async def _set(services: Services, objects: list[str], until: float | None) -> list[str]:
    """Look for all of them first: a wrong name among them changes nothing. Returns those that are not on disk."""
    absent, names = [], [desk.name_of(text) for text in objects]
    for name in names:
        entry = services.catalogue.find(name)
        if entry is None or entry.state is State.DELETING:
            raise NoSuchKey(f"the catalogue knows no object {name}", hint="nothing was changed")
        if entry.blob is None:
            absent.append(str(name))
    for name in names:
        await services.catalogue.pin(name, until)
    return absent


def _noted(request: Request, snapshots: Snapshots, objects: list[str]) -> None:
    note(request, objects=len(objects), first=" ".join(objects[:NOTED]))
    snapshots.changed("rules", "plan", "stats", "heat")


def _moves(router: APIRouter, moving: Moving, snapshots: Snapshots) -> None:
    @router.post("/objects/fetch", summary="Bring objects to disk")
    async def fetch(_: Operator, request: Request, wish: Objects) -> MoveResult:
        """Each is read through the node as a prefetch: nobody's read is counted, and nothing is purged for it. Answers
        when all are read; many belong into `POST /api/jobs/warm`."""
        _noted(request, snapshots, wish.objects)
        return await moving.fetch([desk.name_of(text) for text in wish.objects])

    @router.post("/objects/purge", summary="Remove objects from disk")
    async def purge(_: Operator, request: Request, wish: Objects) -> MoveResult:
        """From disk alone, booked on `operator`. What alt does not have for certain, what is pinned, what is on disk
        for less than min_on_disk and what is being read stays: `why` tells."""
        _noted(request, snapshots, wish.objects)
        return await moving.purge([desk.name_of(text) for text in wish.objects])
