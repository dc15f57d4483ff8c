"""Metrics of purges and rules, of the work in the background, and of the process."""

from __future__ import annotations

import platform
from collections.abc import Iterator

from tierproxy.metrics.families import Room, Sample, counter, gauge, histogram
from tierproxy.metrics.sources import Sources
from tierproxy.purges import OPERATOR, PRESSURE, by_rule
from tierproxy.rules.model import Rule
from tierproxy.store.counters import Toll

PURGED = counter(
    "tierproxy_purged_objects", "Blobs that purges removed, by reason (rule:NAME, pressure, operator)", "reason"
)
PURGED_BYTES = counter("tierproxy_purged_bytes", "Their bytes on disk", "reason")
REGRETS = counter(
    "tierproxy_regrets", "Reads that missed what a purge had removed, by its reason, as first taken", "reason", "reader"
)
REGRETS_CORRECTED = counter(
    "tierproxy_regrets_corrected", "Regrets taken for a person's that were a scan's: subtract them", "reason"
)
REGRET_SHARE = gauge(
    "tierproxy_rule_regret_ratio",
    "People's regrets per object that a rule purged, in the days of the regret budget",
    "rule",
)
REGRET_BUDGET = gauge("tierproxy_rule_regret_budget_ratio", "What that may be", "rule")
RUNS = gauge("tierproxy_purge_runs", "Purge runs on record by kind and state", "kind", "state")
LAST_RUN = gauge("tierproxy_purge_last_run_timestamp_seconds", "When the last purge run ended", "kind")
PRESSURE_RUNS = counter("tierproxy_pressure_runs", "Times that pressure purged")
SHORT = counter("tierproxy_pressure_short", "Times that pressure purged and it was not enough")
VERSION = gauge("tierproxy_rules_version", "Number of the rules in force: live and shadow; 0: none", "set")

SCRUBBED = counter("tierproxy_scrub_objects", "Blobs verified by the scrub")
SCRUBBED_BYTES = counter("tierproxy_scrub_bytes", "Their bytes on disk")
WALKS = counter("tierproxy_scrub_walks", "Walks over all blobs that were finished")
FOUND = counter("tierproxy_scrub_findings", "What the scrub found, by kind", "kind")
PROGRESS = gauge("tierproxy_scrub_progress_ratio", "How far the walk is")
DROPPED = counter("tierproxy_history_dropped_events", "Events of history that could not be kept")
WAITING = gauge("tierproxy_history_waiting_events", "Events that wait to be written")
BEHIND = gauge("tierproxy_history_lag_seconds", "How long the oldest of them has waited")

LAG = histogram("tierproxy_event_loop_lag_seconds", "How late the event loop was, looked at four times a second")
LONGEST_LAG = gauge("tierproxy_event_loop_lag_max_seconds", "The longest of the last minute or two")
BUILD = gauge("tierproxy_build_info", "1, with the version of tierproxy and of Python", "version", "python")
NOT_MEASURED = counter("tierproxy_metrics_failures", "Looks for metrics that failed: some may be missing or old")

FINDINGS = ("corrupt", "missing", "unreadable", "orphans", "quarantined", "kept", "newer", "parts")


def _purges(sources: Sources) -> Iterator[Sample]:
    tolls = _tolls(sources)
    for reason, toll in tolls.items():
        yield PURGED.of(toll.objects, reason)
        yield PURGED_BYTES.of(toll.bytes, reason)
        yield REGRETS.of(toll.regrets, reason, "person")
        yield REGRETS.of(toll.machine_regrets, reason, "machine")
        yield REGRETS_CORRECTED.of(toll.corrected, reason)
    ended: dict[str, float] = {}
    for run in sources.measured.gauges.runs:
        yield RUNS.of(run.count, run.kind, run.state)
        if run.ended_at is not None:
            ended[run.kind] = max(run.ended_at, ended.get(run.kind, 0.0))
    for kind, at in ended.items():
        yield LAST_RUN.of(at, kind)
    yield PRESSURE_RUNS.of(sources.purges.pressure.counters.runs)
    yield SHORT.of(sources.purges.pressure.counters.short)


def _tolls(sources: Sources) -> dict[str, Toll]:
    """Also of rules that have removed nothing yet: a counter that is not there cannot grow."""
    rules = sources.purges.live.in_force.rules.rules
    reasons = (PRESSURE, OPERATOR, *(by_rule(rule.name) for rule in rules if _removes(rule)))
    return {reason: Toll() for reason in reasons} | sources.counters.tolls


def _removes(rule: Rule) -> bool:
    return rule.then is not None and rule.then.purges


def _rules(sources: Sources) -> Iterator[Sample]:
    live, shadow = sources.purges.live.in_force, sources.purges.live.shadow
    yield VERSION.of(live.number, "live")
    yield VERSION.of(0 if shadow is None else shadow.number, "shadow")
    budget = live.rules.regret
    for rule in live.rules.rules:
        record = sources.measured.records.get(by_rule(rule.name))
        if record is not None and record.objects >= budget.least:
            yield REGRET_SHARE.of(record.regrets / record.objects, rule.name)
            yield REGRET_BUDGET.of(_allowed(rule, budget.max_share), rule.name)


def _allowed(rule: Rule, of_all: float) -> float:
    return of_all if rule.regret is None else rule.regret


def _scrub(sources: Sources) -> Iterator[Sample]:
    counters, progress = sources.scrub.counters, sources.scrub.progress
    yield SCRUBBED.of(counters.blobs)
    yield SCRUBBED_BYTES.of(counters.bytes)
    yield WALKS.of(counters.walks)
    for kind in FINDINGS:
        yield FOUND.of(getattr(counters, kind), kind)
    yield PROGRESS.of(min(1.0, progress.done / progress.total) if progress.total else 0.0)


def _history(sources: Sources) -> Iterator[Sample]:
    history = sources.history
    yield DROPPED.of(history.dropped)
    yield WAITING.of(history.waiting)
    since = history.waiting_since
    yield BEHIND.of(0.0 if since is None else max(0.0, sources.clock.now() - since))


def _process(sources: Sources) -> Iterator[Sample]:
    yield LAG.of(sources.lag.latency)
    yield LONGEST_LAG.of(sources.lag.longest)
    yield BUILD.of(1, sources.version, platform.python_version())
    yield NOT_MEASURED.of(sources.measured.failures)


ROOMS = (
    Room("Purges", (PURGED, PURGED_BYTES, REGRETS, REGRETS_CORRECTED, RUNS, LAST_RUN, PRESSURE_RUNS, SHORT), _purges),
    Room("Rules", (VERSION, REGRET_SHARE, REGRET_BUDGET), _rules),
    Room("Scrub", (SCRUBBED, SCRUBBED_BYTES, WALKS, FOUND, PROGRESS), _scrub),
    Room("History", (DROPPED, WAITING, BEHIND), _history),
    Room("The process", (LAG, LONGEST_LAG, BUILD, NOT_MEASURED), _process),
)
