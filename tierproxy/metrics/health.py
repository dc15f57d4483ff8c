"""Metrics of how well the tiers do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tierproxy.metrics.families import Room, Sample, counter, gauge
from tierproxy.metrics.sources import Sources
from tierproxy.ports.health import Condition, State
from tierproxy.store.health import ALARM as ALT_DOWN
from tierproxy.store.health import WORST, Side

OTHER = "other"
"""Buckets that clients have made, as one: the values of a label are never theirs to choose."""

ALT_UP = gauge("tierproxy_alt_up", "1: alt takes changes, as far as the last tries tell; 0: not those of some bucket")
ALARMS = gauge("tierproxy_alarms", "Alarms that are raised, by name; how many subjects", "alarm")
STATE = gauge(
    "tierproxy_tier_state",
    "1 for the state the tier is in, 0 for the others: normal, unstable, down, probing; of alt for each bucket (made "
    "by clients: the worst of them, as other), of the disk with an empty one",
    "tier", "bucket", "state",
)  # fmt: skip
CHANGES = counter(
    "tierproxy_tier_state_changes", "Changes of that state; down and probing count as one", "tier", "bucket"
)
REFUSED = counter(
    "tierproxy_alt_refused_requests", "Reads and changes not sent to alt because it was down", "bucket", "side"
)
TRIES = counter(
    "tierproxy_alt_second_tries",
    "Requests to alt that failed and could have been tried again: made, or withheld because the budget of second tries "
    "was spent or alt was in trouble",
    "result",
)


def _health(sources: Sources) -> Iterator[Sample]:
    """Apart from what asks the catalogue, which may be what the alarms are about."""
    active = [alarm for alarm, _ in sources.alarms.active()]
    yield ALT_UP.of(ALT_DOWN not in active)
    for alarm in sorted(set(active)):
        yield ALARMS.of(active.count(alarm), alarm)


def _states(sources: Sources) -> Iterator[Sample]:
    configured = {bucket.name for bucket in sources.config().bucket}
    for (tier, bucket), found in _placed(sources.conditions(), configured).items():
        worst = min(found, key=lambda one: WORST.index(one.state))
        for state in State:
            yield STATE.of(state is worst.state, tier, bucket, state)
        yield CHANGES.of(sum(one.changes for one in found), tier, bucket)
    refused: dict[tuple[str, Side], int] = {(bucket, side): 0 for bucket in sorted(configured) for side in Side}
    for (bucket, side), count in sources.refused().items():
        place = (bucket if bucket in configured else OTHER, side)
        refused[place] = refused.get(place, 0) + count
    for (bucket, side), count in refused.items():
        yield REFUSED.of(count, bucket, side)
    if sources.alt.budget is not None:
        yield TRIES.of(sources.alt.budget.made.total(), "made")
        yield TRIES.of(sources.alt.budget.withheld.total(), "withheld")


def _placed(conditions: Sequence[Condition], configured: set[str]) -> dict[tuple[str, str], list[Condition]]:
    """By tier and what the label says."""
    found: dict[tuple[str, str], list[Condition]] = {}
    for one in conditions:
        bucket = "" if one.tier == "disk" else one.subject if one.subject in configured else OTHER
        found.setdefault((one.tier, bucket), []).append(one)
    return found


ROOMS = (
    Room("Health", (ALT_UP, ALARMS), _health),
    Room("The state of the tiers", (STATE, CHANGES, REFUSED, TRIES), _states),
)
