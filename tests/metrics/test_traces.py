"""traceparent, spans, and the access log that goes with them."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.metrics.watched import watched
from tierproxy.config.sections import NodeSection
from tierproxy.errors import ConfigError
from tierproxy.logs import JsonFormatter
from tierproxy.metrics.otel import otel_spans
from tierproxy.s3api.tracing import carrier_of, trace_id_of
from tierproxy.testing.rig import Rig

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


@pytest.mark.parametrize(
    ("value", "trace"),
    [
        (TRACEPARENT, TRACE),
        (f"00-{TRACE}-{PARENT}-00", TRACE),
        (f"cc-{TRACE}-{PARENT}-01-what-the-future-brings", TRACE),
        (f"cc-{TRACE}-{PARENT}-01", TRACE),
        (f"00-{TRACE}-{PARENT}-01-more", ""),
        (f"cc-{TRACE}-{PARENT}-01.more", ""),
        (f"ff-{TRACE}-{PARENT}-01", ""),
        (f"00-{'0' * 32}-{PARENT}-01", ""),
        (f"00-{TRACE}-{'0' * 16}-01", ""),
        (f"00-{TRACE.upper()}-{PARENT}-01", ""),
        (f"00-{TRACE[:-1]}-{PARENT}-01", ""),
        (f"00-{TRACE}-{PARENT}-1", ""),
        (f"00-{TRACE}-{PARENT}-01,00-{TRACE}-{PARENT}-01", ""),
        (f" {TRACEPARENT}", ""),
        ("", ""),
    ],
)
def test_a_traceparent_is_taken_as_the_recommendation_says(value: str, trace: str) -> None:
    assert trace_id_of(value.encode()) == trace


def test_a_state_goes_with_its_parent_or_not_at_all() -> None:
    states = [(b"tracestate", b"a=1"), (b"tracestate", b"b=2")]
    assert carrier_of([(b"traceparent", TRACEPARENT.encode()), *states]) == {
        "traceparent": TRACEPARENT,
        "tracestate": "a=1,b=2",
    }
    assert carrier_of(states) == {}
    assert carrier_of([(b"traceparent", b"nonsense"), *states]) == {}
    assert carrier_of([(b"traceparent", TRACEPARENT.encode())] * 2) == {}


# ------------------------------------------------------------ the log


def logged(caplog: pytest.LogCaptureFixture, phrase: str) -> list[dict[str, Any]]:
    return [record.facts for record in caplog.records if record.getMessage() == phrase]  # type: ignore[attr-defined]


def access(root: Path) -> NodeSection:
    return NodeSection(data_dir=str(root / "data"), access_log=True)


async def test_the_access_log_says_who_asked_for_what_and_what_became_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tierproxy.s3api")
    async with (
        watched(tmp_path, node=access(tmp_path)) as rig,
        httpx.AsyncClient(base_url=rig.node.url or "", timeout=60) as client,
    ):
        answer = await client.put("/mail/a%20b", content=b"x" * 500, headers={"user-agent": "imap/1"})
        await client.get(
            "/mail/a%20b?x-id=GetObject", headers={"x-tierproxy-reason": "backup", "traceparent": TRACEPARENT}
        )
        await client.get("/mail/none")
        await client.get("/no", headers={"host": ""})
    put, get, missing, _ = logged(caplog, "request")
    assert put.pop("ms") >= 0
    assert put == {
        "id": answer.headers["x-amz-request-id"], "client": "127.0.0.1", "access_key": "", "method": "PUT",
        "path": "/mail/a%20b", "operation": "PutObject", "bucket": "mail", "key": "a b", "status": 200,
        "received": 500, "sent": 0, "agent": "imap/1",
    }  # fmt: skip
    assert (get["operation"], get["status"], get["received"], get["sent"]) == ("GetObject", 200, 0, 500)
    assert get["tier"] in {"memory", "disk"}
    assert (get["fill"], get["reason"], get["trace_id"]) == ("hit", "backup", TRACE)
    assert (missing["status"], missing["key"]) == (404, "none")
    assert "trace_id" not in missing


async def test_what_a_request_starts_is_logged_with_its_trace(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "tierproxy")
    async with watched(tmp_path) as rig, httpx.AsyncClient(base_url=rig.node.url or "", timeout=60) as client:
        await rig.put("u.1", b"x" * 200_000)
        row = rig.row("u.1")
        assert row is not None
        assert row.blob is not None
        next((rig.root / "blobs").rglob(f"*{row.blob}*")).unlink()
        rig.parts.hot.clear()
        answer = await client.get("/mail/u.1", headers={"traceparent": TRACEPARENT})
        await rig.idle()
    assert answer.status_code == 200
    (damaged,) = logged(caplog, "blob damaged, forgotten")
    assert damaged["trace_id"] == TRACE
    record = next(record for record in caplog.records if record.getMessage() == "blob damaged, forgotten")
    assert json.loads(JsonFormatter().format(record))["trace_id"] == TRACE


async def pipelined(rig: Rig, *heads: str) -> None:
    """Requests in one write: the server begins each inside the one before."""
    port = int((rig.node.url or "").rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = "GET /mail/{} HTTP/1.1\r\nhost: h\r\n{}\r\n"
    writer.write("".join(request.format(f"none.{number}", head) for number, head in enumerate(heads)).encode())
    for _ in heads:
        await reader.readuntil(b"</Error>")
    writer.close()
    await writer.wait_closed()


async def test_a_pipelined_request_is_not_of_the_trace_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tierproxy.s3api")
    with receiving() as (endpoint, receiver):
        node = NodeSection(data_dir=str(tmp_path / "data"), access_log=True, otel_endpoint=endpoint)
        async with watched(tmp_path, node=node) as rig:
            await pipelined(rig, f"traceparent: {TRACEPARENT}\r\n", "", "")
    first, second, third = logged(caplog, "request")
    assert first["trace_id"] == TRACE
    assert len({first["trace_id"], second["trace_id"], third["trace_id"]}) == 3
    assert [bool(span.parent_span_id) for span in receiver.spans if span.kind == 2].count(True) == 1
    caplog.clear()
    async with watched(tmp_path, node=access(tmp_path)) as rig:
        await pipelined(rig, f"traceparent: {TRACEPARENT}\r\n", "")
    assert [line.get("trace_id") for line in logged(caplog, "request")] == [TRACE, None]


# ------------------------------------------------------------ OpenTelemetry


class Receiver:
    """An OTLP receiver on loopback; what it was sent, as (name, attributes, trace, parent, kind)."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.resources: list[dict[str, Any]] = []

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            self.resources.append({fact.key: fact.value.string_value for fact in resource.resource.attributes})
            for scope in resource.scope_spans:
                self.spans += scope.spans

    def named(self, name: str) -> Any:
        (span,) = (span for span in self.spans if span.name == name)
        return span


@contextmanager
def receiving() -> Iterator[tuple[str, Receiver]]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            import gzip

            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.take(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def facts(span: Any) -> dict[str, Any]:
    return {fact.key: fact.value.string_value or fact.value.int_value for fact in span.attributes}


async def fill_of(rig: Rig, headers: dict[str, str]) -> httpx.Response:
    """A miss: alt is asked."""
    await rig.put("u.1", b"x" * 500)
    await rig.purge("u.1")
    async with httpx.AsyncClient(base_url=rig.node.url or "", timeout=60) as client:
        answer = await client.get("/mail/u.1", headers=headers)
    await rig.idle()
    return answer


async def test_requests_and_what_they_ask_of_alt_are_spans_of_the_client_s_trace(tmp_path: Path) -> None:
    with receiving() as (endpoint, receiver):
        node = NodeSection(data_dir=str(tmp_path / "data"), otel_endpoint=endpoint)
        async with watched(tmp_path, node=node) as rig:
            answer = await fill_of(rig, {"traceparent": TRACEPARENT})
    request, call = receiver.named("GetObject"), receiver.named("alt get")
    assert request.trace_id.hex() == call.trace_id.hex() == TRACE
    assert request.parent_span_id.hex() == PARENT
    assert call.parent_span_id == request.span_id
    assert (request.kind, call.kind) == (2, 3)  # server, client
    found = facts(request)
    assert found["http.request.method"] == "GET"
    assert found["http.response.status_code"] == 200
    assert (found["aws.s3.bucket"], found["aws.s3.key"], found["tierproxy.tier"]) == ("mail", "u.1", "alt")
    assert found["request.id"] == answer.headers["x-amz-request-id"]
    assert receiver.resources[0]["service.name"] == "tierproxy"


async def test_a_request_without_a_trace_begins_one_and_the_log_says_which(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tierproxy.s3api")
    with receiving() as (endpoint, receiver):
        node = NodeSection(data_dir=str(tmp_path / "data"), otel_endpoint=endpoint, access_log=True)
        async with watched(tmp_path, node=node) as rig:
            await fill_of(rig, {})
    (line,) = logged(caplog, "request")
    assert receiver.named("GetObject").trace_id.hex() == line["trace_id"]
    assert not receiver.named("GetObject").parent_span_id


async def test_what_the_client_does_not_record_is_not_recorded_here(tmp_path: Path) -> None:
    with receiving() as (endpoint, receiver):
        node = NodeSection(data_dir=str(tmp_path / "data"), otel_endpoint=endpoint)
        async with watched(tmp_path, node=node) as rig:
            await fill_of(rig, {"traceparent": f"00-{TRACE}-{PARENT}-00"})
    assert "GetObject" not in {span.name for span in receiver.spans}


def test_without_the_extra_the_option_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ConfigError) as caught:
        otel_spans("http://127.0.0.1:4318/v1/traces", version="1", data=".")
    assert "otel_endpoint" in str(caught.value)
    assert "tierproxy[otel]" in (caught.value.hint or "")


async def test_a_node_that_cannot_trace_does_not_start_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = NodeSection(data_dir=str(tmp_path / "data"), otel_endpoint="http://127.0.0.1:1/v1/traces")
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
        with pytest.raises(ConfigError):
            async with watched(tmp_path, node=node):
                pass
    async with watched(tmp_path):  # the data directory is free again
        pass


def test_nothing_of_opentelemetry_is_imported_unless_it_is_wanted() -> None:
    """FastAPI looks for the API by itself: it is the SDK and the exporter that cost something."""
    program = "import sys, tierproxy.wiring; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], timeout=60, check=True, capture_output=True, text=True)
    modules = done.stdout.split()
    assert "tierproxy.metrics.otel" in modules
    assert [name for name in modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))] == []
