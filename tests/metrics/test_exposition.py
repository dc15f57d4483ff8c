"""What /metrics says is what happened, and all that it says is declared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.metrics.promtool import needs_promtool, promtool
from tests.metrics.watched import Scrape, scrape, watched
from tierproxy.alt.budget import RetryBudget
from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import AltSection, HistorySection, MemorySection, PurgeSection
from tierproxy.errors import AltUnavailable
from tierproxy.metrics.exposition import ROOMS
from tierproxy.metrics.families import Kind
from tierproxy.model import Ack
from tierproxy.purges import Drop, PurgeRun, RunKind, RunState
from tierproxy.stats import CatalogueGauges
from tierproxy.store.breaker import QUIET
from tierproxy.store.counters import OTHER, REASONS, Counters
from tierproxy.store.health import Side
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.rig import Rig
from tierproxy.traffic import Reason, Visitor

DECLARED = {metric.name: metric for room in ROOMS for metric in room.metrics}
MACHINE = Visitor("backup@host", reason=Reason.BACKUP)

RULES = """
[[rule]]
name = "large"
when = { size = ">= 1KiB" }
then = "purge"

[[rule]]
name = "the rest"
then = "keep"
"""


async def lived(rig: Rig) -> Scrape:
    """Some of everything: a write, hits of both near tiers, a miss, a purge and its regrets, a delete."""
    await rig.put("u.1", b"x" * 4096)
    await rig.put("u.2", b"y", ack=Ack.DISK)
    await rig.drained()
    await rig.get("u.1")
    await rig.get("u.1")
    assert await rig.purge("u.1") > 0
    await rig.get("u.1")
    await rig.idle()
    assert await rig.purge("u.1") > 0
    await rig.get("u.1", visitor=MACHINE)
    await rig.get("u.2", visitor=MACHINE)
    await rig.delete("u.2")
    await rig.drained()
    return await scrape(rig)


async def test_everything_that_is_declared_is_there_and_nothing_else(tmp_path: Path) -> None:
    async with watched(tmp_path) as rig:
        found = await lived(rig)
    named = [name for name in found.families if not name.startswith("process_")]
    assert sorted(named) == sorted(DECLARED)
    for name in named:
        family, metric = found.families[name], DECLARED[name]
        assert family.documentation == metric.help
        assert family.type == metric.kind
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(metric.labels)


@needs_promtool
async def test_names_and_units_keep_to_prometheus_conventions(tmp_path: Path) -> None:
    async with watched(tmp_path) as rig:
        found = await lived(rig)
    assert promtool("check", "metrics", text=found.text) == ""


def test_every_metric_has_a_help_and_a_name_that_says_its_unit() -> None:
    for name, metric in DECLARED.items():
        assert metric.help[0].isupper() or metric.help[0] in "[1", name
        assert not metric.help.endswith("."), name
        assert name.startswith("tierproxy_"), name
        assert name.endswith("_total") == (metric.kind is Kind.COUNTER), name
        if metric.kind is Kind.HISTOGRAM:
            assert name.endswith("_seconds")


async def test_gets_reads_and_bytes_are_those_of_the_store(tmp_path: Path) -> None:
    async with watched(tmp_path) as rig:
        found = await lived(rig)
    gets = {labels["outcome"]: value for labels, value in found.samples("tierproxy_gets_total")}
    assert gets == {"memory": 1, "disk": 2, "fill": 1, "join": 0, "pass": 1, "stub": 0, "error": 0}
    assert found.value("tierproxy_reads_total", reason="person", result="hit") == 2
    assert found.value("tierproxy_reads_total", reason="person", result="miss") == 1
    assert found.value("tierproxy_reads_total", reason="backup", result="hit") == 1
    assert found.value("tierproxy_reads_total", reason="backup", result="miss") == 1
    assert sum(value for _, value in found.samples("tierproxy_delivered_bytes_total")) == 4 * 4096 + 1
    assert found.value("tierproxy_get_first_byte_seconds_count", outcome="memory", tier="memory") == 1
    assert found.value("tierproxy_get_first_byte_seconds_count", outcome="fill", tier="alt") == 1
    assert found.value("tierproxy_phase_seconds_count", operation="get", phase="disk") == 2
    assert found.value("tierproxy_phase_seconds_count", operation="get", phase="alt-first-byte") == 2


async def test_writes_say_who_had_them(tmp_path: Path) -> None:
    async with watched(tmp_path) as rig:
        found = await lived(rig)
    assert found.value("tierproxy_puts_total", held="both") == 1
    assert found.value("tierproxy_puts_total", held="disk") == 1
    assert found.value("tierproxy_puts_queued_total") == 1
    assert found.value("tierproxy_deletes_total") == found.value("tierproxy_delete_seconds_count") == 1
    assert found.value("tierproxy_put_seconds_count") == 2
    assert found.value("tierproxy_phase_seconds_count", operation="put", phase="disk") == 2
    assert found.value("tierproxy_uploads_total", result="done") == 2


async def test_purges_and_regrets_are_booked_on_their_reason(tmp_path: Path) -> None:
    async with watched(tmp_path) as rig:
        found = await lived(rig)
        counters = rig.parts.counters
    assert found.value("tierproxy_purged_objects_total", reason="operator") == 2
    assert found.value("tierproxy_purged_bytes_total", reason="operator") >= 2 * 4096
    assert found.value("tierproxy_regrets_total", reason="operator", reader="person") == counters.regrets == 1
    assert found.value("tierproxy_regrets_total", reason="operator", reader="machine") == counters.machine_regrets == 1
    assert found.value("tierproxy_purged_objects_total", reason="pressure") == 0


async def test_a_rule_that_purges_is_there_before_it_has(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(RULES)
    async with watched(tmp_path, purge=PurgeSection(rules=str(file))) as rig:
        found = await scrape(rig)
    reasons = {labels["reason"] for labels, _ in found.samples("tierproxy_purged_objects_total")}
    assert reasons == {"pressure", "operator", "rule:large"}
    assert found.value("tierproxy_rules_version", set="live") == 1
    assert found.value("tierproxy_rules_version", set="shadow") == 0


async def test_what_alt_was_asked_and_how_it_went(tmp_path: Path) -> None:
    async with watched(tmp_path) as rig:
        found = await lived(rig)
    assert found.value("tierproxy_alt_requests_total", operation="put", outcome="ok") == 2
    assert found.value("tierproxy_alt_requests_total", operation="get", outcome="ok") == 2
    assert found.value("tierproxy_alt_request_seconds_count", operation="get") == 2
    assert found.value("tierproxy_alt_bytes_total", direction="written") == 4097
    assert found.value("tierproxy_alt_up") == 1


async def test_mail_on_one_disk_only_is_seen_with_its_age(tmp_path: Path) -> None:
    alt, clock = FaultyAlt(MemoryAlt()), VirtualClock()
    async with watched(tmp_path, alt=alt, clock=clock) as rig:
        alt.down()
        await rig.put("u.1", b"x" * 100, ack=Ack.DISK)
        await clock.advance(90)
        found = await scrape(rig)
        assert found.value("tierproxy_dirty_objects") == 1
        assert found.value("tierproxy_dirty_bytes") == found.value("tierproxy_queue_bytes") == 100
        assert 60 <= found.value("tierproxy_dirty_oldest_age_seconds") <= 91
        assert found.value("tierproxy_queue_oldest_age_seconds") == 90
        assert found.value("tierproxy_queue_failing_jobs") == 1
        assert found.value("tierproxy_alt_up") == 0
        assert found.value("tierproxy_alarms", alarm="alt does not take changes") == 1
        alt.heal()
        await clock.advance(120)
        await rig.drained()
        found = await scrape(rig)
        assert found.value("tierproxy_dirty_oldest_age_seconds") == 0
        assert found.value("tierproxy_alt_up") == 1
        assert rig.parts.metrics is not None
        measured = rig.parts.metrics._sources.measured
        measured.gauges = CatalogueGauges(oldest_dirty_at=1.0)  # as it was looked up before the upload
        assert (await scrape(rig)).value("tierproxy_dirty_oldest_age_seconds") == 0


async def test_deletes_that_wait_are_no_mail_at_risk(tmp_path: Path) -> None:
    alt, clock = FaultyAlt(MemoryAlt()), VirtualClock()
    async with watched(tmp_path, alt=alt, clock=clock) as rig:
        await rig.put("u.1", b"x")
        alt.down()
        await rig.delete("u.1")
        await clock.advance(500)
        await rig.put("u.2", b"y", ack=Ack.DISK)
        await clock.advance(50)
        found = await scrape(rig)
        assert found.value("tierproxy_queue_oldest_age_seconds") == 550
        assert found.value("tierproxy_dirty_oldest_age_seconds") == 50


async def test_the_disk_shows_its_peak_and_what_nobody_reads(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with watched(tmp_path, clock=clock, memory=MemorySection(max_bytes=0)) as rig:  # type: ignore[arg-type]
        await rig.put("u.1", b"x" * 50_000)
        await clock.advance(1000)
        await rig.put("u.2", b"x" * 50_000)
        found = await scrape(rig)
        used = found.value("tierproxy_disk_used_bytes")
        assert used == rig.parts.space.used > 100_000
        assert found.value("tierproxy_disk_peak_used_bytes") == used
        assert 999 <= found.value("tierproxy_disk_oldest_idle_age_seconds") <= 1001
        await rig.purge("u.1")
        await clock.advance(20)
        found = await scrape(rig)
        assert found.value("tierproxy_disk_used_bytes") < used
        assert found.value("tierproxy_disk_peak_used_bytes") == used
        assert found.value("tierproxy_disk_oldest_idle_age_seconds") <= 21


async def test_nobody_s_name_becomes_a_label_and_more_mail_makes_no_more_lines(tmp_path: Path) -> None:
    async with watched(tmp_path) as rig:
        before = (await lived(rig)).text.count("\n")
        for number in range(30):
            owner = f"person{number}"
            await rig.put(f"{owner}/mailboxes/INBOX/dbox-Mails/u.1", b"x" * 64)
            await rig.get(f"{owner}/mailboxes/INBOX/dbox-Mails/u.1", visitor=Visitor(f"{owner}@host", owner, owner))
        found = await scrape(rig)
    assert "person" not in found.text.replace('"person"', "").replace("person's", "").replace("(person,", "")
    assert found.text.count("\n") == before


def test_reasons_are_bounded() -> None:
    counters = Counters()
    for number in range(REASONS + 100):
        counters.toll(f"rule:{number}").objects += 1
    assert len(counters.tolls) == REASONS + 1
    assert counters.tolls[OTHER].objects == 100


async def test_a_rule_shows_its_share_of_regret_once_it_purged_enough_and_what_that_may_be(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text("[regret]\nleast = 4\n" + RULES.replace('then = "purge"', 'then = "purge"\nregret = "3%"'))
    async with watched(tmp_path, purge=PurgeSection(rules=str(file))) as rig:
        for number in range(4):
            await rig.put(f"u.{number}", b"x" * 2048)
        rows = rig.parts.catalogue.victims(10)
        await rig.parts.store.purge([Drop.of(row, "rule:large") for row in rows])
        assert await rig.get("u.0")
        await rig.parts.tally.flush()
        found = await scrape(rig)
    assert found.value("tierproxy_purged_objects_total", reason="rule:large") == 4
    assert found.value("tierproxy_regrets_total", reason="rule:large", reader="person") == 1
    assert found.value("tierproxy_rule_regret_ratio", rule="large") == 0.25
    assert found.value("tierproxy_rule_regret_budget_ratio", rule="large") == 0.03
    assert len(found.values("tierproxy_rule_regret_ratio")) == 1, "one that keeps has none"


async def test_a_bucket_with_a_budget_has_lines_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text('[budget.bucket.mail]\nmax_bytes = "10MB"\n')
    async with watched(tmp_path, purge=PurgeSection(rules=str(file))) as rig:
        await rig.put("u.1", b"x" * 2048)
        found = await scrape(rig)
        assert found.value("tierproxy_bucket_used_bytes", bucket="mail") == rig.parts.space.footprint("mail") > 2048
    assert found.value("tierproxy_bucket_max_bytes", bucket="mail") == 10_000_000


async def test_history_that_waits_is_seen_until_it_is_written(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with watched(tmp_path, clock=clock, history=HistorySection()) as rig:
        await rig.put("u.1", b"x")
        waiting = await scrape(rig)
        assert waiting.value("tierproxy_history_waiting_events") == 1
        await clock.advance(1)
        await rig.parts.history.flush()  # type: ignore[union-attr]
        assert (await scrape(rig)).value("tierproxy_history_waiting_events") == 0
    assert waiting.value("tierproxy_history_dropped_events_total") == 0


async def test_purge_runs_on_record_and_the_last_end(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with watched(tmp_path, clock=clock) as rig:
        asked = PurgeRun(0, RunKind.OPERATOR, RunState.ASKED, clock.now(), author="me")
        run = await rig.parts.catalogue.add_run(asked)
        done = replace(run, state=RunState.DONE, ended_at=clock.now() - 100)
        await rig.parts.catalogue.save_run(done, expected=RunState.ASKED)
        found = await scrape(rig)
        assert found.value("tierproxy_purge_runs", kind="operator", state="done") == 1
        ended = found.value("tierproxy_purge_last_run_timestamp_seconds", kind="operator")
        assert ended == clock.now() - 100


async def test_alt_s_failures_are_no_latencies(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    async with watched(tmp_path, alt=alt) as rig:
        await rig.put("u.1", b"x" * 64)
        await rig.purge("u.1")
        alt.down()
        with pytest.raises(AltUnavailable):
            await rig.get("u.1")
        found = await scrape(rig)
        alt.heal()
    assert found.value("tierproxy_alt_requests_total", operation="get", outcome="AltUnavailable") == 1
    assert found.values("tierproxy_alt_request_seconds_count", operation="get") == []
    assert found.value("tierproxy_gets_total", outcome="error") == 1


async def test_a_tier_has_one_state_and_what_was_not_asked_of_it_is_counted(tmp_path: Path) -> None:
    alt, clock = FaultyAlt(MemoryAlt()), VirtualClock()
    async with watched(tmp_path, alt=alt, clock=clock) as rig:
        await rig.put("u.1", b"a mail")
        await rig.purge()
        await clock.advance(QUIET)
        alt.down()
        for _ in range(AltSection().breaker_failures + 2):
            with pytest.raises(AltUnavailable):
                await rig.get("u.1")
        found = await scrape(rig)
        alt.heal()
    states = _states(found)
    assert states["alt", "mail"] == {"normal": 0, "unstable": 0, "down": 1, "probing": 0}
    assert states["disk", ""] == {"normal": 1, "unstable": 0, "down": 0, "probing": 0}
    assert found.value("tierproxy_tier_state_changes_total", tier="alt", bucket="mail") >= 1
    assert found.value("tierproxy_alt_refused_requests_total", bucket="mail", side="reads") == 2
    assert found.value("tierproxy_alt_refused_requests_total", bucket="mail", side="changes") == 0


def _states(found: Scrape) -> dict[tuple[str, str], dict[str, float]]:
    states: dict[tuple[str, str], dict[str, float]] = {}
    for labels, value in found.samples("tierproxy_tier_state"):
        states.setdefault((labels["tier"], labels["bucket"]), {})[labels["state"]] = value
    return states


async def test_buckets_that_clients_made_are_one_and_the_worst_of_them_shows(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with watched(tmp_path, clock=clock) as rig:
        health = rig.parts.alt_health
        await clock.advance(QUIET)
        for bucket in ("made-1", "made-2"):
            health.ended(health.visit(bucket, Side.READS))
        await clock.advance(QUIET)
        for _ in range(AltSection().breaker_failures):
            health.ended(health.visit("made-1", Side.READS), AltUnavailable())
        with pytest.raises(AltUnavailable):
            health.visit("made-1", Side.READS)
        found = await scrape(rig)
    assert {labels["bucket"] for labels, _ in found.samples("tierproxy_tier_state")} == {"mail", "other", ""}
    assert _states(found)["alt", "other"]["down"] == 1
    assert found.value("tierproxy_alt_refused_requests_total", bucket="other", side="reads") == 1


async def test_second_tries_are_counted_made_and_withheld(tmp_path: Path) -> None:
    async with watched(tmp_path) as rig:
        budget = rig.parts.alt.budget = RetryBudget(0.1)
        for _ in range(15):
            budget.second("mail")
        found = await scrape(rig)
    assert found.value("tierproxy_alt_second_tries_total", result="made") == 10
    assert found.value("tierproxy_alt_second_tries_total", result="withheld") == 5
