"""The tables of ``docs/metrics.md``."""

from __future__ import annotations

from tierproxy.metrics import mount
from tierproxy.metrics.exposition import ROOMS
from tierproxy.metrics.families import Metric


def tables() -> str:
    """Every metric of a node and of a mount, by subject, as Markdown."""
    rooms = [(room.title, room.metrics) for room in ROOMS] + [(room.title, room.metrics) for room in mount.ROOMS]
    return "\n".join(line for title, metrics in rooms for line in _table(title, metrics))


def _table(title: str, metrics: tuple[Metric, ...]) -> list[str]:
    head = [f"### {title}", "", "| metric | type | labels | what it is |", "|---|---|---|---|"]
    return [*head, *(_row(metric) for metric in metrics), ""]


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |"
