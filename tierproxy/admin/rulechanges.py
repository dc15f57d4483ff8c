"""Rules put in force by the node itself: the version is recorded, the file replaced, and the node works by it at
once."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tierproxy.admin.services import Services
from tierproxy.desk import rules as desk
from tierproxy.desk.applying import Replacement, remove_file
from tierproxy.desk.inforce import LIVE, SHADOW, Source, needed_file, stands
from tierproxy.desk.wishes import NoShadow, Overtaken
from tierproxy.desk.words import moment
from tierproxy.ports import Offload
from tierproxy.purges import RulesInForce, Version
from tierproxy.wire.base import Kind
from tierproxy.wire.rules import Applied, ApplyWish, RestoreWish


class RuleChanges:
    """One change at a time, each compared with what is in force when its turn comes: of two who began with the same
    version the second one is told, and changes nothing."""

    def __init__(self, services: Services, threads: Offload) -> None:
        """``threads``: for texts and files; the desk's may be busy with every row for seconds."""
        self._services = services
        self._threads = threads
        self._live = services.purges.live
        self._turn = asyncio.Lock()

    async def apply(self, wish: ApplyWish, author: str) -> Applied:
        """loop. Raises Unusable; ConfigError when no file is configured or it cannot be written; Overtaken."""
        async with self._turn:
            return await self._apply(wish.text, wish.kind, author, wish.reason, wish.base)

    async def restore(self, wish: RestoreWish, author: str) -> Applied:
        """loop. As ``apply``; and raises NoSuchVersion."""
        async with self._turn:
            old = desk.known_version(self._services.catalogue, wish.version)
            reason = wish.reason or f"version {old.number} restored"
            return await self._apply(old.text, wish.kind, author, reason, None)

    async def promote(self, author: str) -> Applied:
        """loop. The shadow's text becomes live; the shadow goes on beside it until it is ended. Raises as ``apply``,
        and NoShadow."""
        async with self._turn:
            await self._live.look()
            if self._live.shadow is None:
                raise NoShadow("there are no shadow rules", hint="put some in the shadow first")
            shadow = self._live.shadow
            reason = f"shadow version {shadow.number} promoted"
            return await self._apply(shadow.rules.text, "live", author, reason, None)

    async def end_shadow(self) -> None:
        """loop. Its file is removed, and what it counted. Raises NoShadow, ConfigError."""
        async with self._turn:
            target = needed_file(self._services.config(), SHADOW)
            if self._live.shadow is None and not target.exists():
                raise NoShadow("there are no shadow rules")
            await self._threads.run(remove_file, target, self._services.files)
            await self._live.look()

    async def _apply(self, text: str, kind: Kind, author: str, reason: str, base: int | None) -> Applied:
        services = self._services
        config, now = services.config(), services.clock.now()
        target = needed_file(config, kind)
        found, _ = await self._threads.run(desk.accepted, config, text, now)
        await self._live.look()  # what somebody else has written is in force before we compare
        self._refuse_overtaken(kind, base)
        if await self._threads.run(stands, Source(self._in_force(kind), ""), found, target):
            return Applied(version=self._in_force(kind).number, file=str(target), node=True, live=True)
        number = await self._written(target, Version(0, kind, now, author, reason, text))
        await self._live.look()
        live = self._in_force(kind).number == number
        return Applied(version=number, file=str(target), node=True, live=live)

    async def _written(self, target: Path, version: Version) -> int:
        """The version's number. It is recorded when nothing but the rename is left to do; a node that finds the text in
        its file knows by the record who put it there."""
        services = self._services
        replacement = Replacement(target, version.text, services.files)
        await self._threads.run(replacement.prepare)
        try:
            recorded = await services.catalogue.add_version(version)
        except BaseException:
            await self._threads.run(replacement.discard)
            raise
        await self._threads.run(replacement.commit)
        return recorded.number

    def _in_force(self, kind: Kind) -> RulesInForce:
        return self._live.in_force if kind == LIVE else self._live.shadow or RulesInForce()

    def _refuse_overtaken(self, kind: Kind, base: int | None) -> None:
        number = self._in_force(kind).number
        if base in {None, number}:
            return
        version = self._services.catalogue.version(number)
        who = f" of {moment(version.at)} by {version.author}" if version is not None else ""
        raise Overtaken(
            f"version {number}{who} is in force, and this was made from version {base}", number,
            hint="look at what has changed meanwhile, then apply again",
        )  # fmt: skip
