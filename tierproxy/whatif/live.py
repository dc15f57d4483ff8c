"""Recorded traffic through rule files, as the live node would work by them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import lru_cache

from tierproxy.config.sections import BucketSection, Config, CountingSection, DiskSection, FillSection
from tierproxy.model import Ack, FillPolicy
from tierproxy.purge.plan import merged
from tierproxy.rules.model import RuleSet
from tierproxy.trace import Trace
from tierproxy.whatif import cost
from tierproxy.whatif.engine.columns import Columns
from tierproxy.whatif.engine.decisions import Decisions
from tierproxy.whatif.engine.policies import Policies
from tierproxy.whatif.engine.replay import Progress, Replay
from tierproxy.whatif.latency import DEFAULT, Latencies
from tierproxy.whatif.prices import Prices
from tierproxy.whatif.result import AltRequests, DiskDay, Dollars, Reads, Result
from tierproxy.whatif.scans import corrected

REMEMBERED = 10_000  #: buckets whose default policies are known


@dataclass(frozen=True, slots=True)
class Setup:
    """What of a configuration a replay works by. ``ack``: that of ``[write]``; ``buckets``: for their own policies;
    ``counting``: what the node that wrote the history took for a scan."""

    disk: DiskSection = field(default_factory=DiskSection)
    fill: FillSection = field(default_factory=FillSection)
    ack: Ack = Ack.BOTH
    buckets: tuple[BucketSection, ...] = ()
    counting: CountingSection = field(default_factory=CountingSection)

    @staticmethod
    def of(config: Config) -> Setup:
        return Setup(config.disk, config.fill, config.write.ack, config.bucket, config.counting)

    def policies(self, decisions: Decisions, columns: Columns) -> Policies:
        """The policies of rules, then of this."""
        patterned = {bucket.name for bucket in self.buckets if bucket.policy}
        of_bucket = lru_cache(REMEMBERED)(lambda bucket: self._defaults(bucket, ""))

        def defaults(bucket: str, key: str) -> tuple[Ack, FillPolicy]:
            return self._defaults(bucket, key) if bucket in patterned else of_bucket(bucket)

        return Policies(decisions, columns, self.fill, defaults)

    def _defaults(self, bucket: str, key: str) -> tuple[Ack, FillPolicy]:
        """As ``tierproxy.store.policies``: key pattern, bucket, section."""
        section = next((one for one in self.buckets if one.name == bucket), BucketSection(name=""))
        fits = [policy for policy in section.policy if fnmatchcase(key, policy.key)]
        ack = next((policy.ack for policy in fits if policy.ack is not None), None) or section.ack or self.ack
        fill = next((policy.fill for policy in fits if policy.fill is not None), None) or section.fill
        return ack, fill or self.fill.policy


def simulate(
    trace: Trace, rules: RuleSet, setup: Setup | None = None, *, warm: bool = True, warm_up: float = 0.0,
    latencies: Latencies = DEFAULT, prices: Prices | None = None, progress: Progress | None = None,
) -> Result:  # fmt: skip
    """``trace`` by ``rules``. ``warm``: what had been on disk when it was read first (a recorded hit) is there at the
    start; ``warm_up``: seconds that are played and not counted. Without ``prices`` everything is free. ``progress`` is
    told (events done, of) every 50,000 events; what it raises ends the replay.

    Takes some 200 bytes an object and 8 a read beside the trace.
    """
    given = setup or Setup()
    disk = merged(given.disk, rules.budget)
    replay = Replay(corrected(trace, given.counting), rules, disk, given.policies)
    replay.run(warm=warm, warm_up=warm_up, progress=progress)
    return _result(trace, replay, disk, warm_up, latencies, prices)


def compare(
    trace: Trace, rules: Mapping[str, RuleSet], setup: Setup | None = None, *, warm: bool = True, warm_up: float = 0.0,
    latencies: Latencies = DEFAULT, prices: Prices | None = None, progress: Progress | None = None,
) -> dict[str, Result]:  # fmt: skip
    """``simulate`` of each, by name. ``progress`` is told of all of them as of one."""
    given = setup or Setup()
    trace = corrected(trace, given.counting)
    known = replace(given, counting=replace(given.counting, scan_objects=0))
    total = len(trace) * len(rules)
    found: dict[str, Result] = {}
    for before, (name, one) in enumerate(rules.items()):
        found[name] = simulate(
            trace, one, known, warm=warm, warm_up=warm_up, latencies=latencies, prices=prices,
            progress=None if progress is None else _shifted(progress, before * len(trace), total),
        )  # fmt: skip
    return found


def _shifted(progress: Progress, before: int, total: int) -> Progress:
    return lambda done, _of: progress(before + done, total)


def _result(
    trace: Trace, replay: Replay, disk: DiskSection, warm_up: float, latencies: Latencies, prices: Prices | None
) -> Result:  # fmt: skip
    ledger, (begin, until) = replay.ledger, trace.span
    since = min(begin + warm_up, until)
    people = Reads(ledger.person_hits, ledger.person_misses)
    machines = Reads(ledger.machine_hits, ledger.machine_misses)
    gets = Reads(people.hits + machines.hits + ledger.late_hits, people.misses + machines.misses + ledger.late_misses)
    alt = AltRequests(gets.misses, ledger.puts, ledger.deletes, fetched=ledger.fetched, sent=ledger.sent)
    kept = replay.mean_stored
    paid = Dollars() if prices is None else cost.dollars(
        prices, alt, seconds=until - since, max_bytes=disk.max_bytes, kept_bytes=kept
    )  # fmt: skip
    return Result(
        events=len(trace), since=since, until=until, people=people, machines=machines, gets=gets,
        bytes=Reads(ledger.hit_bytes, ledger.miss_bytes), fills=ledger.fills, passes=ledger.passes,
        no_room=ledger.no_room, writes=ledger.writes, around=ledger.around, refused=ledger.refused,
        deletes=ledger.deletes, reasons=tuple(ledger.records()), pressure_runs=ledger.pressure_runs,
        short=ledger.short, days=tuple(DiskDay(*day) for day in replay.room.days), max_bytes=disk.max_bytes,
        kept_bytes=kept, alt=alt, delay=latencies.of(people.hits, ledger.missed), dollars=paid,
    )  # fmt: skip
