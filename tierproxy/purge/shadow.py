"""The shadow rules' purges: bookkeeping beside the live ones. No blob is touched."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tierproxy.config.sections import DiskSection
from tierproxy.ports import Catalogue, Clock
from tierproxy.purge import orders
from tierproxy.purge.plan import Choice, Need, merged, pressed, ruled
from tierproxy.purge.relief import keeps
from tierproxy.purges import Place, RulesInForce, Scope
from tierproxy.rules.model import Kept, Order
from tierproxy.rules.spans import within

PAGE = 500
PERIOD = 60.0  #: seconds between looks at the shadow's budget


class ShadowPurge:
    """What the shadow rules would purge goes from the shadow's disk: by its schedule what its rules decide, and every
    minute what its budget asks for. The orders with a state have none here: SIEVE and S3-FIFO are taken as LRU."""

    def __init__(
        self, catalogue: Catalogue, clock: Clock, shadow: Callable[[], RulesInForce | None],
        disk: Callable[[], DiskSection],
    ) -> None:  # fmt: skip
        """``disk``: ``[disk]`` of the configuration, for what the shadow's budget does not say."""
        self._catalogue = catalogue
        self._clock = clock
        self._shadow = shadow
        self._disk = disk
        self._last = clock.monotonic()
        self._version: int | None = None

    async def run(self) -> None:
        """Until cancelled. Raises DiskError."""
        while True:
            await self._clock.sleep(PERIOD)
            await self.look()

    async def look(self) -> None:
        """Do what is due now. Raises DiskError."""
        shadow = self._shadow()
        if shadow is None:
            return
        if shadow.number != self._version:
            self._version, self._last = shadow.number, self._clock.monotonic()
        if self._due(shadow):
            self._last = self._clock.monotonic()
            await self._by_rules(shadow)
        await self._by_pressure(shadow)

    def _due(self, shadow: RulesInForce) -> bool:
        schedule = shadow.rules.schedule
        if self._clock.monotonic() - self._last < schedule.every:
            return False
        return not schedule.spans or within(schedule.spans, schedule.timezone, self._clock.now())

    async def _by_rules(self, shadow: RulesInForce) -> None:
        after = None
        while page := await self._catalogue.decided(self._scope(shadow), after, PAGE):
            after = page[-1].name
            await self._drop(ruled(shadow.rules, page))

    async def _by_pressure(self, shadow: RulesInForce) -> None:
        need = await self._need(shadow)
        if need is None:
            return
        said = shadow.rules.pressure.order
        order = Order.LRU if said in orders.STATEFUL else said
        rest = await self._take(shadow, need, order, kept=False)
        if rest is not None and shadow.rules.pressure.kept is Kept.LAST and keeps(shadow.rules):
            await self._take(shadow, rest, order, kept=True)

    async def _need(self, shadow: RulesInForce) -> Need | None:
        record = await self._catalogue.shadow()
        disk = merged(self._disk(), shadow.rules.budget)
        if record is None or record.shadow_bytes <= disk.max_bytes * disk.high_water:
            return None
        return Need(record.shadow_bytes - int(disk.max_bytes * disk.low_water), 0, "high water")

    async def _take(self, shadow: RulesInForce, need: Need, order: Order, *, kept: bool) -> Need | None:
        rest: Need | None = need
        after: Place | None = None
        while rest is not None:
            page = await self._catalogue.pressed(self._scope(shadow), order, PAGE, after=after, kept=kept)
            if not page:
                break
            drops = orders.simple(rest, page).drops
            after = orders.place_of(drops[-1])
            choices = [pressed(shadow.rules, drop, need, order, kept=kept) for drop in drops]
            went = await self._drop(choices)
            rest = rest.less(went, len(choices))
        return rest

    async def _drop(self, choices: Sequence[Choice]) -> int:
        """Bytes that went."""
        drops = [choice.drop for choice in choices]
        went = await self._catalogue.shadow_drop(drops, at=self._clock.now())
        return sum(drop.blob_bytes for drop, done in zip(drops, went, strict=True) if done)

    def _scope(self, shadow: RulesInForce) -> Scope:
        return Scope(shadow.rules, self._clock.now(), shadow=True)
