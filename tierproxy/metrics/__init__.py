"""The only prometheus_client and the only OpenTelemetry: what the node counts, in the formats others read."""

from tierproxy.metrics.exposition import Exposition
from tierproxy.metrics.lag import LoopLag
from tierproxy.metrics.measured import Measured
from tierproxy.metrics.otel import otel_spans
from tierproxy.metrics.sources import Activity, Sources

__all__ = ["Activity", "Exposition", "LoopLag", "Measured", "Sources", "otel_spans"]
