"""Spans for OpenTelemetry, sent by OTLP over HTTP. Nothing is imported here unless ``[node] otel_endpoint`` is set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tierproxy.errors import ConfigError
from tierproxy.offload import ThreadPool

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

MISSING = "pip install 'tierproxy[otel]', or leave [node] otel_endpoint empty"


class OtelSpan:
    """``tierproxy.ports.Span``."""

    def __init__(self, span: Span) -> None:
        self._span = span

    @property
    def trace_id(self) -> str:
        return f"{self._span.get_span_context().trace_id:032x}"

    def note(self, name: str = "", /, **facts: str | int) -> None:
        if name:
            self._span.update_name(name)
        for fact, value in facts.items():
            self._span.set_attribute(fact.replace("__", "\0").replace("_", ".").replace("\0", "_"), value)


class OtelSpans:
    """``tierproxy.ports.Spans`` by the OpenTelemetry SDK: a thread of its own sends batches and drops what the receiver
    does not take. The sampler is the parent's: a client that does not record its trace does not have ours recorded."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer: Tracer = provider.get_tracer("tierproxy")
        self._server, self._client = SpanKind.SERVER, SpanKind.CLIENT
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def request(self, method: str, carrier: Mapping[str, str]) -> Iterator[OtelSpan]:
        context = self._propagator.extract(dict(carrier))  # a root without a parent in it, whatever span is current
        with self._tracer.start_as_current_span(method, context=context, kind=self._server) as span:
            yield OtelSpan(span)

    @contextmanager
    def call(self, operation: str) -> Iterator[OtelSpan]:
        with self._tracer.start_as_current_span(f"alt {operation}", kind=self._client) as span:
            yield OtelSpan(span)

    async def close(self) -> None:
        """Send what waits, for some seconds at most."""
        threads = ThreadPool("otel", 1)
        try:
            await threads.run(self._provider.shutdown)
        finally:
            await threads.close()


def otel_spans(endpoint: str, *, version: str, data: str) -> OtelSpans:
    """Spans to the OTLP receiver at ``endpoint`` (a URL that ends in /v1/traces). ``data``: the data directory, which
    names this instance. Raises ConfigError when the packages of the extra ``otel`` are missing."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise ConfigError(f"[node] otel_endpoint is set, and {error.name} is not installed", hint=MISSING) from error
    facts: dict[str, Any] = {
        "service.name": "tierproxy", "service.version": version, "service.instance.id": data,
    }  # fmt: skip
    provider = TracerProvider(resource=Resource.create(facts), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint)))
    return OtelSpans(provider)
