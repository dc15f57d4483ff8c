"""Whether what rules removed is wanted back: an alarm for each rule over its regret budget."""

from __future__ import annotations

from collections.abc import Callable

from tierproxy.ports import Alarms, Catalogue, Clock
from tierproxy.purges import RuleRecord, RulesInForce, by_rule
from tierproxy.rules.model import RegretBudget, Rule
from tierproxy.traffic import DAY

ALARM = "rule over its regret budget"
PERIOD = 3600.0


class RegretWatch:
    """Looks every hour and after every run. A regret is a read by a person that missed because of a purge."""

    def __init__(self, catalogue: Catalogue, clock: Clock, alarms: Alarms, rules: Callable[[], RulesInForce]) -> None:
        self._catalogue = catalogue
        self._clock = clock
        self._alarms = alarms
        self._rules = rules
        self._raised: set[str] = set()

    async def run(self) -> None:
        """Until cancelled. Raises DiskError."""
        while True:
            await self.check()
            await self._clock.sleep(PERIOD)

    async def check(self) -> None:
        """Raise and clear the alarms. Raises DiskError."""
        rules = self._rules().rules
        budget = rules.regret
        since = int(self._clock.now() // DAY) - budget.days
        records = {record.by: record for record in await self._catalogue.records(since)}
        over = {}
        for rule in rules.rules:
            record = records.get(by_rule(rule.name))
            if record is not None and over_budget(record, rule, budget):
                over[rule.name] = record
        for name in self._raised - set(over):
            self._alarms.clear(ALARM, name)
        for name, record in over.items():
            self._alarms.set(ALARM, name, purged=record.objects, regrets=record.regrets, days=budget.days)
        self._raised = set(over)


def over_budget(record: RuleRecord, rule: Rule, budget: RegretBudget) -> bool:
    """More regrets than the rule's share (its own, or that of all) of what it purged in the same days."""
    share = budget.max_share if rule.regret is None else rule.regret
    return record.objects >= budget.least and record.regrets > share * record.objects
