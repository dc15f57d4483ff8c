"""/runs: purges asked for, followed, confirmed, ended, and undone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from tierproxy.admin.accounts import author_of
from tierproxy.admin.callers import Caller, note, require
from tierproxy.admin.events import Event, EventStream, events
from tierproxy.admin.jobs import Jobs
from tierproxy.admin.services import Services
from tierproxy.admin.snapshots import Snapshots
from tierproxy.admin.warmups import warm_again
from tierproxy.desk import runs as desk
from tierproxy.desk.plan import Wanted, looked_at
from tierproxy.errors import StaleGeneration
from tierproxy.purges import PurgeRun
from tierproxy.wire.base import Number
from tierproxy.wire.purges import Run, RunWish
from tierproxy.wire.whatif import Job

AFFECTED = ("rules", "plan", "stats", "heat")  #: questions whose answers a run changes
LOOK = 0.25  #: seconds between looks at the row of a run that somebody follows

Reader = Annotated[Caller, Depends(require("read"))]
Operator = Annotated[Caller, Depends(require("operate"))]


def runs_router(services: Services, jobs: Jobs, snapshots: Snapshots) -> APIRouter:
    """Everything below /runs."""
    router = APIRouter(prefix="/runs", tags=["runs"])
    _looks(router, services)
    _changes(router, services, jobs)
    _tell_of_ends(services, snapshots)
    return router


def _tell_of_ends(services: Services, snapshots: Snapshots) -> None:
    """What was counted before a run is old after it, whoever asked for the run."""
    runs = services.purges.runs
    others = runs.on_end

    async def ended() -> None:
        snapshots.changed(*AFFECTED)
        await others()

    runs.on_end = ended


def _looks(router: APIRouter, services: Services) -> None:
    @router.get("", summary="Purge runs")
    async def runs(
        _: Reader,
        limit: Annotated[int, Query(ge=1, le=1000)] = 20,
        only_open: Annotated[
            bool, Query(alias="open", description="Only those that have not ended, oldest first.")
        ] = False,
    ) -> list[Run]:
        """By rules, by pressure and by people, the newest first: when, why, how much."""
        return desk.listed(services.catalogue, limit, open_only=only_open)

    @router.get("/{number}", summary="One run")
    async def run(_: Reader, number: Number) -> Run:
        """With what it removed, by rule."""
        return desk.one(services.catalogue, number)

    @router.get("/{number}/events", summary="Follow a run", response_class=EventStream)
    async def follow(_: Reader, number: Number) -> EventStream:
        """Server-sent events `run`: the run whenever it has changed. The stream ends with it."""
        desk.known(services.catalogue, number)
        return events(_followed(services, number))


async def _followed(services: Services, number: int) -> AsyncIterator[Event]:
    seen: Run | None = None
    while True:
        now = desk.one(services.catalogue, number)
        if now != seen:
            yield Event(now, "run")
        if now.ended:
            return
        seen = now
        await services.clock.sleep(LOOK)


def _changes(router: APIRouter, services: Services, jobs: Jobs) -> None:
    @router.post("", summary="Ask for a purge", status_code=202)
    async def ask(caller: Operator, request: Request, wish: RunWish) -> Run:
        """The node begins at once, or when the run under way has ended. A run that would remove too much of what was
        read recently waits (`waiting`) until somebody confirms it; with `confirmed` it does not ask, and confirms one
        that waits with the same target and rule."""
        run = await _asked(services, wish, author_of(caller, wish.author))
        services.purges.schedule.hurry()
        note(request, run=run.number, target=wish.target, rule=wish.rule, everything=wish.everything)
        return desk.document(run)

    @router.post("/{number}/confirm", summary="Let a run go on that waits")
    async def confirm(_: Operator, number: Number) -> Run:
        """It may remove what was read recently. 409 when it has ended."""
        run = _open(services, number, await services.catalogue.confirm_run(number))
        services.purges.schedule.hurry()
        return desk.document(run)

    @router.post("/{number}/cancel", summary="End a run")
    async def cancel(_: Operator, number: Number) -> Run:
        """One that runs ends after the objects under way. 409 when it has ended, and for a run of pressure, which makes
        room for mail."""
        desk.cancellable(desk.known(services.catalogue, number))
        run = await services.catalogue.cancel_run(number, at=services.clock.now())
        services.purges.schedule.hurry()
        return desk.document(_open(services, number, run))

    @router.post("/{number}/undo", summary="Bring back what a run removed", status_code=202)
    async def undo(caller: Operator, number: Number) -> Job:
        """A job that fetches from alt what this run took from disk and nobody has brought back since; as a prefetch, so
        nothing else has to go for it."""
        return warm_again(services, jobs, desk.known(services.catalogue, number), caller.name)


async def _asked(services: Services, wish: RunWish, author: str) -> PurgeRun:
    config, now = services.config(), services.clock.now()
    wanted = Wanted(wish.target, wish.rule, wish.everything)
    await services.desk.ask(lambda catalogue: looked_at(config, catalogue, wanted, now))
    run = desk.asked(wish, author, now)
    waiting = desk.waiting_for(services.catalogue, run) if wish.confirmed else None
    confirmed = await services.catalogue.confirm_run(waiting.number) if waiting is not None else None
    return confirmed or await services.catalogue.add_run(run)


def _open(services: Services, number: int, run: PurgeRun | None) -> PurgeRun:
    """Raises NoSuchRun, StaleGeneration."""
    if run is None:
        state = desk.known(services.catalogue, number).state
        raise StaleGeneration(f"run {number} has ended: it is {state}")
    return run
