"""What replays found, as documents."""

from __future__ import annotations

from array import array
from dataclasses import replace

from tierproxy.purges import RuleRecord
from tierproxy.traffic import DAY
from tierproxy.whatif.latency import Latencies
from tierproxy.whatif.result import MONTH, Dollars, Result
from tierproxy.whatif.tally import Tally
from tierproxy.wire.base import Amount
from tierproxy.wire.status import CostLine
from tierproxy.wire.whatif import AltUse, Outcome, ReasonCount

RULES = "rules"  #: the policy of a candidate with rules
GB = 1e9


def outcome_of(name: str, found: Result, *, priced: bool, share: float = 1.0) -> Outcome:
    """Of a rule set. ``share``: of the objects that were followed; counts and bytes stand for all."""
    people, delay, disk = found.people, found.delay, [(float(one.day * DAY), float(one.most)) for one in found.days]
    delivered = found.bytes.total
    return Outcome(
        name=name, policy=RULES, reads=whole(people.total, share), hits=whole(people.hits, share),
        misses=whole(people.misses, share), machine_reads=whole(found.machines.total, share),
        machine_hits=whole(found.machines.hits, share),
        hit_ratio=people.hit_ratio if people.total else None,
        byte_hit_ratio=found.bytes.hits / delivered if delivered else None, fills=whole(found.fills, share),
        purged=Amount(objects=whole(found.purged_objects, share), bytes=whole(found.purged_bytes, share)),
        regrets=whole(found.regrets, share), by_reason=[_reason(one, share) for one in found.reasons],
        disk=[(at, most / share) for at, most in disk], disk_mean=found.mean_disk / share,
        disk_peak=whole(found.most_disk, share), alt=_alt(found, share),
        delay_mean=delay.mean if people.total else None, delay_p99=delay.p99 if people.total else None,
        dollars=found.dollars.total / share if priced else None,
        bill=_bill(found, share) if priced else [],
    )  # fmt: skip


def policy_outcome(
    name: str, tally: Tally, latencies: Latencies, *, share: float = 1.0, ceiling: bool = False
) -> Outcome:
    """Of a policy without rules. Machines' reads and requests to alt are not part of it, so it has no bill, and no
    share of bytes that could stand beside that of rules, which is of all that is delivered."""
    missed = array("q", [(tally.bytes - tally.hit_bytes) // max(tally.misses, 1)]) * tally.misses
    return Outcome(
        name=name, policy=name, reads=whole(tally.requests, share), hits=whole(tally.hits, share),
        misses=whole(tally.misses, share), hit_ratio=tally.hit_ratio if tally.requests else None,
        byte_hit_ratio=None, purged=Amount(objects=whole(tally.evictions, share)),
        delay_mean=latencies.of(tally.hits, missed).mean if tally.requests else None, ceiling=ceiling,
    )  # fmt: skip


def whole(count: float, share: float) -> int:
    """What ``count`` in a sample stands for."""
    return round(count / share)


def _reason(one: RuleRecord, share: float) -> ReasonCount:
    first, second, third, fourth, fifth = (whole(count, share) for count in one.soon)
    return ReasonCount(
        by=one.by, objects=whole(one.objects, share), bytes=whole(one.bytes, share),
        regrets=whole(one.regrets, share), soon=(first, second, third, fourth, fifth),
    )  # fmt: skip


def _alt(found: Result, share: float) -> AltUse:
    alt = found.alt
    counts = {"get": alt.get, "put": alt.put, "delete": alt.delete, "head": alt.head, "list": alt.list}
    return AltUse(
        requests={name: whole(count, share) for name, count in counts.items()},
        sent_bytes=whole(alt.sent, share), received_bytes=whole(alt.fetched, share),
    )  # fmt: skip


def _bill(found: Result, share: float) -> list[CostLine]:
    """A month of it. The disk is paid for whether it is full or not."""
    months = found.seconds / MONTH or 1.0
    alt, dollars = found.alt, _scaled(found.dollars, share)
    requests = (alt.get + alt.put + alt.delete + alt.head + alt.list) / months / share
    return [
        CostLine(what="requests to alt", amount=requests, unit="requests", dollars=dollars.requests),
        CostLine(what="out of alt", amount=alt.fetched / GB / months / share, unit="GB", dollars=dollars.egress),
        CostLine(what="disk", amount=found.max_bytes / GB / share, unit="GB", dollars=dollars.disk),
        CostLine(what="kept in alt", amount=found.kept_bytes / GB / share, unit="GB", dollars=dollars.stored),
    ]


def _scaled(dollars: Dollars, share: float) -> Dollars:
    return replace(
        dollars, requests=dollars.requests / share, egress=dollars.egress / share, disk=dollars.disk / share,
        stored=dollars.stored / share,
    )  # fmt: skip
