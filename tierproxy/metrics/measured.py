"""Values that cost a query: looked up in a thread when somebody scrapes, and then kept for a while."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from tierproxy.errors import TierproxyError
from tierproxy.logs import event
from tierproxy.ports import Catalogue, Clock
from tierproxy.purges import RuleRecord, RulesInForce
from tierproxy.stats import CatalogueGauges
from tierproxy.traffic import DAY

log = logging.getLogger(__name__)
AGE = 15.0  #: seconds that what was looked up is good for
PATIENCE = 5.0  #: seconds that a scrape waits for it; after that it shows what was found before


class Measured:
    """``gauges`` and ``records`` (of the days of the regret budget, by reason) as they were at most ``AGE`` seconds
    before the last ``refresh``, unless the catalogue is slow or fails: then older ones."""

    def __init__(
        self, catalogue: Catalogue, clock: Clock, rules: Callable[[], RulesInForce], *, patience: float = PATIENCE
    ) -> None:
        self._catalogue = catalogue
        self._clock = clock
        self._rules = rules
        self._patience = patience
        self._at: float | None = None
        self._look: asyncio.Task[None] | None = None
        self.gauges = CatalogueGauges()
        self.records: Mapping[str, RuleRecord] = {}
        self.failures = 0  #: looks that failed

    def __repr__(self) -> str:
        return f"<Measured {'never' if self._at is None else self._clock.monotonic() - self._at:.0f} s ago>"

    async def refresh(self) -> None:
        """Look again if it is time. One look at once, however many ask; it goes on when nobody waits any more."""
        if self._at is not None and self._clock.monotonic() - self._at < AGE:
            return
        if self._look is None or self._look.done():
            self._look = asyncio.get_running_loop().create_task(self._measure(), name="metrics")
        await asyncio.wait({self._look}, timeout=self._patience)

    async def stop(self) -> None:
        if self._look is not None:
            self._look.cancel()
            await asyncio.gather(self._look, return_exceptions=True)

    async def _measure(self) -> None:
        since = int(self._clock.now() // DAY) - self._rules().rules.regret.days
        try:
            self.gauges = await self._catalogue.gauges()
            self.records = {record.by: record for record in await self._catalogue.records(since)}
        except TierproxyError as error:
            self.failures += 1
            event(log, logging.WARNING, "metrics not measured", error=error)
            return
        self._at = self._clock.monotonic()
