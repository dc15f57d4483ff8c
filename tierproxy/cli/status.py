"""``tierproxy status``: is mail safe, is it fast, is there room."""

from __future__ import annotations

from collections.abc import Iterator

from tierproxy.cli.node import far, near
from tierproxy.cli.outcome import out, warn
from tierproxy.cli.settings import AsJson, ConfigFile, configuration, print_json
from tierproxy.cli.words import ago, bytes_text, count_text, share_text
from tierproxy.clock import SystemClock
from tierproxy.config.sections import Config
from tierproxy.desk import status as desk
from tierproxy.wire.status import Alarm, DiskBudget, Safety, Speed, Status, Tier, TierHealth, TierLatency, Workers


def status(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Is mail safe, is it fast, is there room: of the running node, or what its data directory says without one."""
    found = _asked(configuration(config))
    for text in found.warnings:
        warn(text)
    if as_json:
        print_json(found)
        return
    for line in _lines(found):
        out().print(line, markup=False)


def _asked(config: Config) -> Status:
    node = far(config)
    if node is not None:
        return node.get(Status, "/status")
    return near(config, lambda catalogue: desk.status(config, catalogue, SystemClock().now()))


def _lines(found: Status) -> Iterator[str]:
    for label, text in _facts(found):
        yield f"{label:<10}{text}"


def _facts(found: Status) -> Iterator[tuple[str, str]]:
    yield "node", _node(found)
    yield "safe", _safe(found.safety, found.now)
    yield "alt", _alt(found.safety)
    for index, one in enumerate(found.health):
        yield "" if index else "health", _health(one, found.now)
    if found.workers is not None:
        yield "workers", _workers(found.workers)
    yield "reads", f"people: {_shares({label: (one.hits, one.reads) for label, one in found.speed.people.items()})}"
    yield "gets", f"all: {_shares({label: (one.hits, one.gets) for label, one in found.speed.hits.items()})}"
    if any(one.stubs for one in found.speed.hits.values()):
        stubs = (f"{label} {count_text(one.stubs)}" for label, one in found.speed.hits.items())
        yield "", f"from stubs: {', '.join(stubs)}"
    yield "speed", _speed(found.speed)
    yield "disk", _disk(found.disk)
    for bucket, part in found.disk.buckets.items():
        share = share_text(part.used, part.max_bytes)
        yield "", f"bucket {bucket}: {share} of {bytes_text(part.max_bytes)} used"
    yield from (("tiers" if not index else "", _tier(tier)) for index, tier in enumerate(found.tiers))
    yield "rules", f"{found.rules_about}{', with a shadow' if found.shadow else ''}{_runs(found.open_runs)}"
    yield from (("alarm", _alarm(alarm)) for alarm in found.alarms)


def _node(found: Status) -> str:
    if not found.node or found.started_at is None:
        return f"none is to be had; this is what {found.data} says"
    return f"{found.name}, {found.version}, for {ago(found.now - found.started_at)}, {found.url or 'serves nobody'}"


def _safe(safety: Safety, now: float) -> str:
    if not safety.one_disk.objects:
        waiting = f"; {count_text(safety.queue_jobs, 'delete')} waiting" if safety.queue_jobs else ""
        return f"everything is on alt{waiting}"
    amount = f"{count_text(safety.one_disk.objects, 'object')} with {bytes_text(safety.one_disk.bytes)}"
    oldest = f", the oldest for {ago(now - safety.oldest_at)}" if safety.oldest_at is not None else ""
    return f"{amount} on this disk alone{oldest}; {safety.failing:,} failing"


def _alt(safety: Safety) -> str:
    words = {"ok": "takes changes", "trouble": "takes no changes", "unknown": "not known without a node"}
    return words[safety.alt] + (f": {safety.alt_error}" if safety.alt_error else "")


def _health(one: TierHealth, now: float) -> str:
    """The disk is one; alt is one for each bucket."""
    what = one.tier if one.tier == "disk" else f"{one.tier}, bucket {one.subject}"
    if one.state == "normal":
        return f"{what}: normal"
    return f"{what}: {one.state} for {ago(now - one.since)}" + (f": {one.reason}" if one.reason else "")


def _workers(found: Workers) -> str:
    ended = found.places - found.running
    missing = f", {ended:,} ended: the node listens there" if ended else ""
    started = f"; {count_text(found.restarts, 'restart')}" if found.restarts else ""
    served = f"{count_text(found.answers, 'hit')} answered, {count_text(found.connections, 'connection')} open"
    return f"{found.running:,} of {found.places:,} running{missing}{started}; {served}"


def _shares(shares: dict[str, tuple[int, int]]) -> str:
    return ", ".join(
        f"{label} {share_text(hits, all_)} of {count_text(all_)}" for label, (hits, all_) in shares.items()
    )


def _speed(speed: Speed) -> str:
    times = [_latency(one) for one in speed.latency if one.p99 is not None]
    return f"{speed.per_second:.1f} gets/s" + (f"; 99% within: {', '.join(times)}" if times else "")


def _latency(one: TierLatency) -> str:
    return f"{one.outcome} {1000 * (one.p99 or 0):.3g} ms"


def _disk(disk: DiskBudget) -> str:
    used = f"{share_text(disk.used, disk.max_bytes)} of {bytes_text(disk.max_bytes)} used"
    waters = f"pressure from {bytes_text(disk.high)} down to {bytes_text(disk.low)}"
    return f"{used}; {waters}; {bytes_text(disk.free_bytes)} free on the file system"


def _tier(tier: Tier) -> str:
    most = f" of {bytes_text(tier.max_bytes)}" if tier.max_bytes is not None else ""
    return f"{tier.tier}: {count_text(tier.objects, 'object')}, {bytes_text(tier.bytes)}{most}"


def _runs(open_: int) -> str:
    return f"; {count_text(open_, 'purge run')} open" if open_ else ""


def _alarm(alarm: Alarm) -> str:
    facts = ", ".join(f"{name} {value}" for name, value in alarm.facts.items() if value not in {None, ""})
    return f"{alarm.alarm}: {alarm.subject}" + (f" ({facts})" if facts else "")
