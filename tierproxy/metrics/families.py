"""What a metric is, declared once: name, unit (in its name), labels and help. ``docs/metrics.md`` is held to these.

Names follow Prometheus' conventions (prometheus.io/docs/practices/naming): base units, ``_total`` for what only grows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family

from tierproxy.stats import Latency

S = TypeVar("S")
LEAST, MOST = 3, 26
"""The powers of two (microseconds) that a histogram shows: 8 us to 67 s."""


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Sample(NamedTuple):
    """One line (a histogram: some lines) of a metric."""

    metric: Metric
    labels: tuple[str, ...]
    value: float | Latency


@dataclass(frozen=True, slots=True)
class Metric:
    """``name`` is what a query says. ``help`` ends without a full stop."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()

    def of(self, value: float | Latency, *labels: str) -> Sample:
        return Sample(self, labels, value)


@dataclass(frozen=True, slots=True)
class Room(Generic[S]):
    """Metrics of one subject. ``look`` reads them off what the node counts anyway; it neither waits nor changes
    anything, and may raise DiskError."""

    title: str
    metrics: tuple[Metric, ...]
    look: Callable[[S], Iterator[Sample]]


def counter(name: str, help: str, *labels: str) -> Metric:
    return Metric(f"{name}_total", Kind.COUNTER, help, labels)


def gauge(name: str, help: str, *labels: str) -> Metric:
    return Metric(name, Kind.GAUGE, help, labels)


def histogram(name: str, help: str, *labels: str) -> Metric:
    return Metric(name, Kind.HISTOGRAM, help, labels)


def families(metrics: Iterable[Metric], samples: Iterable[Sample]) -> list[Family]:
    """``samples`` by metric, in the order of ``metrics``; those without samples are there with their help alone."""
    found: dict[Metric, list[Sample]] = {metric: [] for metric in metrics}
    for sample in samples:
        found[sample.metric].append(sample)
    return [_family(metric, of) for metric, of in found.items()]


def _family(metric: Metric, samples: list[Sample]) -> Family:
    if metric.kind is Kind.HISTOGRAM:
        return _histogram(metric, samples)
    kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels)
    for _, labels, value in samples:
        assert not isinstance(value, Latency)
        family.add_metric(labels, value)
    return family


def _histogram(metric: Metric, samples: list[Sample]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    for _, labels, value in samples:
        assert isinstance(value, Latency)
        family.add_metric(labels, _cumulative(value), value.microseconds / 1e6)
    return family


BOUNDS = tuple((power, str(2**power / 1e6)) for power in range(LEAST, MOST + 1))


def _cumulative(latency: Latency) -> list[tuple[str, float]]:
    """Bucket k of a latency counts less than 2^k microseconds."""
    seen, begin, bounds = 0, 0, []
    for power, bound in BOUNDS:
        seen += sum(latency.buckets[begin : power + 1])
        begin = power + 1
        bounds.append((bound, float(seen)))
    return [*bounds, ("+Inf", float(latency.count))]
