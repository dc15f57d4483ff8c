"""What a hit worker tells the node of what it served, as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tierproxy.model import ObjectName
from tierproxy.s3api.lane.ports import Served
from tierproxy.traffic import Delivery, Outcome, Reason, Visitor

BATCH = 500
"""Deliveries in one message: with the longest names a client can think of they still fit into a frame."""


class Report(NamedTuple):
    """``served``, ``overload`` (as ``Capacity.told``): since the report before. ``connections``: of clients, now."""

    served: Served
    connections: int
    overload: Mapping[str, int]


def told(served: Served, connections: int, overload: Mapping[str, int] | None = None) -> Iterator[dict[str, Any]]:
    """``served`` in as many messages as it needs; one at least."""
    answers = {str(status): count for status, count in served.answers.items()}
    batches = range(0, len(served.deliveries), BATCH) or range(1)
    for begin in batches:
        deliveries = [_row(one) for one in served.deliveries[begin : begin + BATCH]]
        yield {
            "connections": connections, "answers": answers, "deliveries": deliveries, "overload": dict(overload or {}),
        }  # fmt: skip
        answers, overload = {}, None


def heard(facts: Mapping[str, Any]) -> Report:
    """What ``told`` said. Raises KeyError, TypeError, ValueError for something else."""
    deliveries: Sequence[Delivery] = [_delivery(row) for row in facts["deliveries"]]
    answers = {int(status): int(count) for status, count in facts["answers"].items()}
    overload = {str(what): int(count) for what, count in facts["overload"].items()}
    return Report(Served(deliveries, answers), int(facts["connections"]), overload)


def _row(one: Delivery) -> list[Any]:
    visitor = one.visitor
    return [
        one.name.bucket, one.name.key, one.outcome, one.size, one.owner, one.folder, one.ranged, one.times, one.sent,
        one.at, visitor.client, visitor.access_key, visitor.user_agent, visitor.reason, visitor.owner, visitor.folder,
    ]  # fmt: skip


def _delivery(row: list[Any]) -> Delivery:
    bucket, key, outcome, size, owner, folder, ranged, times, sent, at, *of = row
    client, access_key, user_agent, reason, said_owner, said_folder = of
    visitor = Visitor(client, access_key, user_agent, reason and Reason(reason), said_owner, said_folder)
    return Delivery(
        ObjectName(bucket, key), visitor, Outcome(outcome), size, owner, folder, ranged, times, sent, at
    )  # fmt: skip
