"""/rules: are they right, what is in force, and putting others in force."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Depends, Query, Request

from tierproxy.admin.accounts import author_of
from tierproxy.admin.callers import Caller, note, require
from tierproxy.admin.routers.standing import STANDING, expect_standing, standing
from tierproxy.admin.rulechanges import RuleChanges
from tierproxy.admin.services import Services
from tierproxy.admin.snapshots import Snapshots
from tierproxy.catalogue import CatalogueReader
from tierproxy.desk import rules as desk
from tierproxy.ports import Offload
from tierproxy.wire.base import Kind, Number
from tierproxy.wire.rules import (
    Applied,
    ApplyWish,
    Comparison,
    RestoreWish,
    RulesCheck,
    RulesDifference,
    RulesHeld,
    RulesQuestion,
    Version,
)

Reader = Annotated[Caller, Depends(require("read"))]
Operator = Annotated[Caller, Depends(require("operate"))]
Days = Annotated[int, Query(ge=1, le=3650, description="Removed and regretted in so many days.")]


def rules_router(services: Services, snapshots: Snapshots, threads: Offload) -> APIRouter:
    """Everything below /rules. ``threads``: one, for texts: who types does not wait for a look at every row."""
    router = APIRouter(prefix="/rules", tags=["rules"])
    _questions(router, services, snapshots, threads)
    _records(router, services)
    _changes(router, RuleChanges(services, threads), snapshots)
    return router


class Held(NamedTuple):
    """What is asked of rules in force."""

    kind: Kind = "live"
    days: int = 30
    version: int | None = None
    bucket: str = ""

    def look(self, services: Services) -> Callable[[CatalogueReader], RulesHeld]:
        """At the moment at which a thread begins with it."""

        def look(catalogue: CatalogueReader) -> RulesHeld:
            return desk.held(services.config(), catalogue, services.clock.now(), **self._asdict())

        return look


def _questions(router: APIRouter, services: Services, snapshots: Snapshots, threads: Offload) -> None:
    expect_standing(services, snapshots)

    @router.get("", summary="The rules in force, and what they hold")
    async def held(
        _: Reader,
        kind: Kind = "live",
        days: Days = 30,
        version: Number | None = None,
        bucket: Annotated[str, Query(max_length=63)] = "",
        counts: Annotated[bool, Query(description="Without: the rules in force alone, at once.")] = True,
        fresh: Annotated[bool, Query(description="As it is now, not some seconds old.")] = False,
    ) -> RulesHeld:
        """In words, and what each rule decides of what is on disk, removed and cost. `version`: an earlier one,
        measured on what is on disk now. Counts may be some seconds old: `computed_at`."""
        if not counts:
            config, now = services.config(), services.clock.now()
            return await services.desk.ask(lambda catalogue: desk.told(config, catalogue, now, kind))
        question = Held(kind, days, version, bucket)
        if question == Held(days=days):
            found = (await snapshots.ask(STANDING, standing(services), fresh=fresh)).held
            return found if days == found.days else await _within(services, found, days)
        return await snapshots.ask(("rules", question), question.look(services), fresh=fresh)

    @router.post("/check", summary="Is a text right")
    async def check(_: Reader, question: RulesQuestion) -> RulesCheck:
        """Everything wrong or doubtful, with its line and what to write instead. Quick enough to ask while somebody
        types; with `effects` also what each rule decides of what is on disk now (`now`)."""
        config, now = services.config(), services.clock.now()
        if not question.effects:
            return await threads.run(desk.check, config, question.text, now)
        return await services.desk.ask(lambda catalogue: desk.check_all(config, catalogue, question.text, now))

    @router.post("/diff", summary="What a text changes")
    async def difference(_: Reader, question: RulesQuestion) -> RulesDifference:
        """What differs from the rules in force: in words, line by line, and with `effects` what would happen to what is
        on disk."""
        config, now = services.config(), services.clock.now()
        return await services.desk.ask(
            lambda catalogue: desk.change(
                config, catalogue, question.text, now, kind=question.kind, effects=question.effects
            )
        )


async def _within(services: Services, held: RulesHeld, days: int) -> RulesHeld:
    """Of another time: what was removed in it is in few rows."""
    now = services.clock.now()
    removed = await services.desk.ask(lambda catalogue: desk.removed(catalogue, held.kind, days, now))
    return held.model_copy(update={"days": days, "removed": removed})


def _records(router: APIRouter, services: Services) -> None:
    @router.get("/versions", summary="Every version that was put in force")
    async def versions(
        _: Reader,
        kind: Kind = "live",
        limit: Annotated[int, Query(ge=1, le=1000)] = 30,
        texts: Annotated[bool, Query(description="With the text of each.")] = False,
    ) -> list[Version]:
        """The newest first: when, by whom, why, and what its runs purged."""
        return await services.desk.ask(lambda catalogue: desk.versions(catalogue, kind, limit, texts=texts))

    @router.get("/versions/{number}", summary="One version with its text")
    async def version(_: Reader, number: Number) -> Version:
        """When, by whom, why, and what its runs purged."""
        return await services.desk.ask(lambda catalogue: desk.version(catalogue, number))

    @router.get("/compare", summary="The shadow rules beside the live ones")
    async def compare(_: Reader, days: Annotated[int, Query(ge=1, le=3650)] = 7) -> Comparison:
        """Disk, misses, purges and regrets of both within `days`. 404 without shadow rules."""
        now = services.clock.now()
        return await services.desk.ask(lambda catalogue: desk.comparison(catalogue, now, days))


def _changes(router: APIRouter, changes: RuleChanges, snapshots: Snapshots) -> None:
    def applied(request: Request, answer: Applied) -> Applied:
        snapshots.changed("rules", "plan")
        note(request, version=answer.version, live=answer.live)
        return answer

    @router.post("/apply", summary="Put a text in force")
    async def apply(caller: Operator, request: Request, wish: ApplyWish) -> Applied:
        """The node writes the configured rule file, records the version under your name, and works by it when this
        answers (`live`). `base`: the version you began with; 409 when another one is in force by now."""
        note(request, kind=wish.kind, reason=wish.reason)
        return applied(request, await changes.apply(wish, author_of(caller, wish.author)))

    @router.post("/restore", summary="Put an earlier version in force again")
    async def restore(caller: Operator, request: Request, wish: RestoreWish) -> Applied:
        """As a new version with the old text."""
        note(request, kind=wish.kind, restored=wish.version, reason=wish.reason)
        return applied(request, await changes.restore(wish, author_of(caller, wish.author)))

    @router.post("/promote", summary="Make the shadow rules live")
    async def promote(caller: Operator, request: Request) -> Applied:
        """The shadow's text becomes a live version. The shadow goes on beside it until it is ended."""
        return applied(request, await changes.promote(caller.name))

    @router.post("/shadow/end", summary="End the shadow rules", status_code=204)
    async def end_shadow(_: Operator) -> None:
        """Their file is removed, and what they counted is forgotten."""
        await changes.end_shadow()
        snapshots.changed("rules")
