"""Alarms on regret budgets, over the real catalogue's books."""

from __future__ import annotations

from pathlib import Path

from tests.purge.bench import Bench, bench
from tierproxy.purge.regret import ALARM
from tierproxy.testing.rig import name
from tierproxy.traffic import Counts, Regret

RULES = """
[regret]
within = "7d"
max_share = 0.25
least = 4

[[rule]]
name = "large"
when = { size = ">= 1000" }
then = "purge"

[[rule]]
name = "tight"
when = { key = "tight.*" }
then = "purge"
regret = 0.0
"""


async def regretted(b: Bench, by: str, times: int, *, machine: bool = False) -> None:
    now = b.clock.now()
    regrets = tuple(Regret(name("u.0"), by, now, 60.0, machine) for _ in range(times))
    await b.rig.parts.catalogue.count(Counts(now, regrets=regrets))


async def purged(b: Bench, count: int, prefix: str = "u.", body: bytes = b"m" * 1000) -> None:
    await b.mails(count, prefix, body)
    await b.ask(confirmed=True)
    await b.runs.work()


async def test_a_rule_over_its_budget_is_an_alarm_until_it_is_under_it_again(tmp_path: Path) -> None:
    async with bench(tmp_path / "d", RULES) as b:
        watch = b.rig.parts.purges.regret
        await purged(b, 4)
        await regretted(b, "rule:large", 1)
        await watch.check()
        assert b.alarms() == [], "a quarter is allowed"
        await regretted(b, "rule:large", 1)
        await watch.check()
        assert b.alarms() == [(ALARM, "large")]
        await purged(b, 4, "more.")
        assert b.alarms() == [], "looked at after a run as well"


async def test_regrets_are_forgotten_after_the_budgets_days(tmp_path: Path) -> None:
    async with bench(tmp_path / "d", RULES) as b:
        await purged(b, 4)
        await regretted(b, "rule:large", 4)
        await b.rig.parts.purges.regret.check()
        assert b.alarms() == [(ALARM, "large")]
        b.clock.jump_wall(8 * 86_400)
        await b.rig.parts.purges.regret.check()
        assert b.alarms() == []


async def test_a_rule_that_purged_little_is_not_judged(tmp_path: Path) -> None:
    async with bench(tmp_path / "d", RULES) as b:
        await purged(b, 3)
        await regretted(b, "rule:large", 3)
        await b.rig.parts.purges.regret.check()
        assert b.alarms() == []


async def test_machines_regret_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path / "d", RULES) as b:
        await purged(b, 4)
        await regretted(b, "rule:large", 4, machine=True)
        await b.rig.parts.purges.regret.check()
        assert b.alarms() == []


async def test_a_rules_own_budget_comes_before_that_of_all(tmp_path: Path) -> None:
    async with bench(tmp_path / "d", RULES) as b:
        await purged(b, 8, "tight.", b"s")
        await regretted(b, "rule:tight", 1)
        await b.rig.parts.purges.regret.check()
        assert b.alarms() == [(ALARM, "tight")]
