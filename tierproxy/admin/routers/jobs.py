"""/jobs: long work asked for, followed, ended."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel

from tierproxy.admin.callers import Caller, NotAllowed, Role, note, require
from tierproxy.admin.children import Children
from tierproxy.admin.events import Event, EventStream, events
from tierproxy.admin.jobs import Jobs, Tell
from tierproxy.admin.services import Services
from tierproxy.admin.warmups import warm
from tierproxy.wire.whatif import AdviseWish, CurveWish, HistoryWish, Job, JobKind, SimulateWish, WarmWish

WISHED = ("--wish", "-", "--progress", "json")
PAUSE = 0.2  #: seconds between two events of one job

Reader = Annotated[Caller, Depends(require("read"))]
Operator = Annotated[Caller, Depends(require("operate"))]


@dataclass(frozen=True, slots=True)
class Desks:
    """What the routes of long work need. ``program``: what the commands of this tierproxy are called with."""

    services: Services
    jobs: Jobs
    children: Children
    program: tuple[str, ...] = (sys.executable, "-m", "tierproxy")

    def ask(self, kind: JobKind, author: str, arguments: tuple[str, ...], wish: BaseModel) -> Job:
        """A command of this program as a job."""
        file = self.services.config_file
        config = ("--config", str(file)) if file is not None else ()
        command = [*self.program, *arguments, "--json", *config]

        async def work(tell: Tell) -> dict[str, object]:
            return await self.children.run(command, wish.model_dump_json().encode(), tell)

        return self.jobs.ask(kind, author, work)


def jobs_router(desks: Desks) -> APIRouter:
    """Everything below /jobs."""
    router = APIRouter(prefix="/jobs", tags=["jobs"])
    _wishes(router, desks)
    _warm(router, desks)
    _looks(router, desks)
    return router


def _wishes(router: APIRouter, desks: Desks) -> None:
    @router.post("/simulate", summary="Replay recorded traffic with other rules", status_code=202)
    async def simulate(caller: Reader, wish: SimulateWish) -> Job:
        """The result is a Simulation: each candidate beside the others. Runs beside the node, at low priority."""
        return desks.ask("simulate", caller.name, ("simulate", *WISHED), wish)

    @router.post("/curve", summary="How much disk gives which hit ratio", status_code=202)
    async def curve(caller: Reader, wish: CurveWish) -> Job:
        """The result is a Curve, with the live budget's place on it."""
        return desks.ask("curve", caller.name, ("curve", *WISHED), wish)

    @router.post("/advise", summary="Search better rules", status_code=202)
    async def advise(caller: Reader, wish: AdviseWish) -> Job:
        """The result is Advised: at most three proposals, judged on days the search has not seen."""
        return desks.ask("advise", caller.name, ("advise", *WISHED), wish)

    @router.post("/history", summary="Count what the access history has", status_code=202)
    async def history(caller: Reader, wish: HistoryWish) -> Job:
        """The result is what `tierproxy history stats --json` prints."""
        return desks.ask("history", caller.name, ("history", "stats", *_span(wish)), wish)


def _span(wish: HistoryWish) -> tuple[str, ...]:
    found = {"--since": wish.since, "--until": wish.until}
    return tuple(text for name, at in found.items() if at is not None for text in (name, _written(at)))


def _written(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _warm(router: APIRouter, desks: Desks) -> None:
    @router.post("/warm", summary="Bring objects to disk", status_code=202)
    async def warmed(caller: Operator, request: Request, wish: WarmWish) -> Job:
        """Those below `target` that are not there, or those that `run` removed. As a prefetch: nobody's read is
        counted, and nothing else has to go for it. The result is Warmed."""
        note(request, target=wish.target, run=wish.run)
        return warm(desks.services, desks.jobs, wish, caller.name)


def _looks(router: APIRouter, desks: Desks) -> None:
    jobs = desks.jobs

    @router.get("", summary="Long work")
    async def listed(
        _: Reader, kind: JobKind | None = None, limit: Annotated[int, Query(ge=1, le=100)] = 20
    ) -> list[Job]:
        """The newest first, without results. The node keeps the last ones until it stops."""
        return jobs.jobs(limit, kind)

    @router.get("/{id}", summary="One job")
    async def job(_: Reader, id: str) -> Job:
        """With its result when it is done."""
        return jobs.job(id)

    @router.post("/{id}/cancel", summary="End a job")
    async def cancel(caller: Reader, id: str) -> Job:
        """Your own; with the role operate anybody's. 409 when it has ended."""
        if caller.role is not Role.OPERATE and jobs.job(id).author != caller.name:
            raise NotAllowed("this is another account's job", hint="log in with an account of the role operate")
        return await jobs.cancel(id)

    @router.get("/{id}/events", summary="Follow a job", response_class=EventStream)
    async def follow(_: Reader, id: str) -> EventStream:
        """Server-sent events `job`: the job whenever it has changed, at the end with its result. The stream ends with
        it."""
        jobs.job(id)
        return events(_followed(desks, id))


async def _followed(desks: Desks, id: str) -> AsyncIterator[Event]:
    async for job in desks.jobs.follow(id):
        yield Event(job, "job")
        if job.ended_at is None:
            await desks.services.clock.sleep(PAUSE)
