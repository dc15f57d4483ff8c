"""Who comes in and what is recognised: authentication, grants, routing, limits, health, the compatibility page."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tierproxy.clock import SystemClock
from tierproxy.config.sections import ListenSection
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.auth import Admission, Identity, Open, Payload, SigV4
from tierproxy.s3api.compatibility import compatibility_page
from tierproxy.s3api.faults import S3Error
from tierproxy.s3api.grants import Grants
from tierproxy.s3api.request import Request
from tierproxy.s3api.route import OPERATIONS, UNSUPPORTED, Level
from tierproxy.testing.memory_store import MemoryStore
from tierproxy.testing.probe import Probe

LISTEN = ListenSection(auth="none")


def serve(store: MemoryStore | None = None, **listen: object) -> Probe:
    settings = ListenSection(auth="none", **listen)  # type: ignore[arg-type]
    return Probe(ObjectApp(store or MemoryStore(), Open(), settings, SystemClock()))


class Known:
    """Everybody is the key "ann" with these grants."""

    def __init__(self, *buckets: str, access: str = "write") -> None:
        self._identity = Identity("ann", Grants.of(buckets, access))

    def admit(self, request: Request) -> Admission:
        return Admission(self._identity, Payload.UNSIGNED)


def serve_known(store: MemoryStore, *buckets: str, access: str = "write") -> Probe:
    return Probe(ObjectApp(store, Known(*buckets, access=access), LISTEN, SystemClock()))


# ---------------------------------------------------------------- authentication and grants


async def test_nobody_comes_in_unsigned() -> None:
    store = MemoryStore()
    probe = Probe(ObjectApp(store, SigV4([], "us-east-1", SystemClock()), LISTEN, SystemClock()))
    async with probe.call("PUT", "/mail/1", {"content-length": "5"}) as call:
        answer = await call.answer()
        assert call.asked == 0
    assert (answer.status, answer.code) == (403, "AccessDenied")
    assert (await probe.head("/mail/1")).status == 403
    assert (await probe.get("/mail?acl")).status == 403


async def test_who_signed_for_another_region_is_told_ours() -> None:
    class Elsewhere:
        def admit(self, request: Request) -> Admission:
            raise S3Error("AuthorizationHeaderMalformed", "The region is wrong.")

    settings = ListenSection(region="eu-central-1")
    answer = await Probe(ObjectApp(MemoryStore(), Elsewhere(), settings, SystemClock())).get("/mail/1")
    assert (answer.code, answer.text("Region")) == ("AuthorizationHeaderMalformed", "eu-central-1")


async def test_health_is_answered_to_everybody() -> None:
    probe = Probe(ObjectApp(MemoryStore(), SigV4([], "us-east-1", SystemClock()), LISTEN, SystemClock()))
    answer = await probe.get("/-/health")
    assert (answer.status, answer.body) == (200, b"ok")


async def test_an_object_that_is_called_like_the_health_check_is_an_object() -> None:
    store = MemoryStore()
    probe = serve(store, domain="s3.example.org")
    host = {"host": "mail.s3.example.org"}
    assert (await probe.put("/-/health", b"mail", host)).status == 200
    assert store.data("-/health") == b"mail"
    assert (await probe.get("/-/health", host)).body == b"mail"
    assert (await probe.get("/-/health")).body == b"ok"
    assert (await probe.put("/-/health", b"mail")).code == "InvalidBucketName"


async def test_the_store_is_told_who_reads() -> None:
    store = MemoryStore()
    store.put("1", b"x")
    await serve_known(store, "*").get("/mail/1")
    assert [visitor.access_key for visitor in store.visitors] == ["ann"]


async def test_a_key_that_may_read_may_not_write() -> None:
    store = MemoryStore()
    store.put("ann/1", b"x")
    probe = serve_known(store, "mail", access="read")
    assert (await probe.get("/mail/ann/1")).status == 200
    refused = [
        await probe.put("/mail/ann/2", b"x"),
        await probe.delete("/mail/ann/1"),
        await probe.put("/mail/ann/2", b"", {"x-amz-copy-source": "mail/ann/1"}),
        await probe.post("/mail/ann/2?uploads"),
        await probe.put("/new"),
        await probe.delete("/mail"),
    ]
    assert {(answer.status, answer.code) for answer in refused} == {(403, "AccessDenied")}
    many = await probe.post("/mail?delete", b"<Delete><Object><Key>ann/1</Key></Object></Delete>")
    assert many.text("Error/Code") == "AccessDenied"
    assert len(store.objects) == 1


async def test_a_key_sees_only_its_prefix() -> None:
    store = MemoryStore()
    store.put("ann/1", b"x")
    store.put("bob/1", b"x")
    await store.create_bucket("other")
    probe = serve_known(store, "mail/ann")
    assert (await probe.get("/mail/ann/1")).status == 200
    assert (await probe.get("/mail/bob/1")).status == 403
    assert (await probe.get("/mail?list-type=2&prefix=ann/")).texts("Contents/Key") == ["ann/1"]
    assert (await probe.get("/mail?list-type=2")).status == 403
    assert (await probe.get("/mail?uploads")).status == 403
    assert (await probe.get("/")).texts("Buckets/Bucket/Name") == ["mail"]
    assert (await probe.head("/mail")).status == 200
    assert (await probe.head("/other")).status == 403
    stolen = await probe.put("/mail/ann/2", b"", {"x-amz-copy-source": "mail/bob/1"})
    assert (stolen.status, stolen.code) == (403, "AccessDenied")
    both = b"<Delete><Object><Key>ann/1</Key></Object><Object><Key>bob/1</Key></Object></Delete>"
    answer = await probe.post("/mail?delete", both)
    assert (answer.texts("Deleted/Key"), answer.texts("Error/Key")) == (["ann/1"], ["bob/1"])


# ---------------------------------------------------------------- routing


@pytest.mark.parametrize("parameter", sorted(UNSUPPORTED))
async def test_what_is_not_supported_is_501_with_every_method(parameter: str) -> None:
    store = MemoryStore()
    store.put("1", b"x")
    for path in ("/mail", "/mail/1"):
        for method in ("GET", "PUT", "POST", "DELETE"):
            answer = await serve(store).request(method, f"{path}?{parameter}", b"")
            assert (answer.status, answer.code) == (501, "NotImplemented"), (method, path)
    assert len(store.objects) == 1


@pytest.mark.parametrize(
    ("method", "target", "status", "code"),
    [
        ("PATCH", "/mail/1", 405, "MethodNotAllowed"),
        ("OPTIONS", "/mail/1", 405, "MethodNotAllowed"),
        ("POST", "/", 405, "MethodNotAllowed"),
        ("POST", "/mail", 501, "NotImplemented"),
        ("POST", "/mail/1", 501, "NotImplemented"),
        ("GET", "/mail/1?uploads", 501, "NotImplemented"),
        ("GET", "/mail/1?versionId=7", 501, "NotImplemented"),
        ("DELETE", "/mail/1?versionId=7", 501, "NotImplemented"),
        ("PUT", "/mail/1?partNumber=1", 400, "InvalidArgument"),
        ("DELETE", "/mail?uploadId=1", 501, "NotImplemented"),
        ("DELETE", "/mail/1?uploadId=", 404, "NoSuchUpload"),
        ("GET", "/mail?location&versioning", 400, "InvalidArgument"),
        ("GET", "/mail?list-type=3", 400, "InvalidArgument"),
        ("GET", "/%zz/1", 400, "InvalidURI"),
        ("GET", "/a", 400, "InvalidBucketName"),
        ("GET", "/mail/" + "k" * 1025, 400, "KeyTooLongError"),
    ],
)
async def test_what_is_no_operation_is_told_apart(method: str, target: str, status: int, code: str) -> None:
    answer = await serve().request(method, target, b"")
    assert (answer.status, answer.code) == (status, code)


async def test_parameters_nobody_knows_are_ignored() -> None:
    store = MemoryStore()
    store.put("1", b"x")
    assert (await serve(store).get("/mail/1?x-id=GetObject&versionId=null")).body == b"x"
    assert (await serve(store).delete("/mail/1?x-id=DeleteObject")).status == 204


async def test_a_bucket_can_be_named_by_the_host() -> None:
    store = MemoryStore()
    store.put("ann/1", b"x")
    probe = serve(store, domain="s3.example.org")
    assert (await probe.get("/ann/1", {"host": "mail.s3.example.org:9300"})).body == b"x"
    assert (await probe.get("/mail/ann/1", {"host": "s3.example.org"})).body == b"x"
    assert (await probe.get("/?list-type=2", {"host": "mail.s3.example.org"})).texts("Contents/Key") == ["ann/1"]


async def test_dots_in_keys_are_ordinary_names() -> None:
    store = MemoryStore()
    store.put("../a/./b//c", b"x")
    assert (await serve(store).get("/mail/../a/./b//c")).body == b"x"
    assert (await serve(store).get("/mail/%2e%2e/a/./b%2F/c")).body == b"x"


def test_no_two_operations_answer_the_same_request() -> None:
    places = [(row.method, row.level, row.marker, row.copies) for row in OPERATIONS]
    assert len(places) == len(set(places))
    assert len({row.name for row in OPERATIONS}) == len(OPERATIONS)
    assert not {row.marker for row in OPERATIONS} & UNSUPPORTED.keys()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
async def test_every_operation_of_the_table_needs_its_grant_and_is_reached(operation: object) -> None:
    row = next(one for one in OPERATIONS if one is operation)
    path = {Level.SERVICE: "/", Level.BUCKET: "/mail", Level.OBJECT: "/mail/1"}[row.level]
    marker = {"list-type": "list-type=2", "uploadId": "uploadId=1&partNumber=1"}.get(row.marker, row.marker)
    headers = {"x-amz-copy-source": "mail/1"} if row.copies else {}
    target = f"{path}?{marker}" if marker else path
    reached = await serve().request(row.method, target, b"", headers)
    assert reached.status not in {403, 405, 501}
    stranger = await serve_known(MemoryStore(), "elsewhere").request(row.method, target, b"", headers)
    assert stranger.status == (200 if row.level is Level.SERVICE else 403)


def test_the_compatibility_page_names_every_operation_and_refusal() -> None:
    page = compatibility_page()
    for row in OPERATIONS:
        assert f"| {row.name} |" in page
    for name in UNSUPPORTED:
        assert f"| `{name}` |" in page


# ---------------------------------------------------------------- limits and logs


async def test_requests_beyond_the_limit_are_told_to_slow_down() -> None:
    store = MemoryStore(gate=asyncio.Event())
    probe = serve(store, max_concurrent_requests=1)
    async with probe.call("PUT", "/mail/1", {"content-length": "1"}) as call:
        await call.send(b"x", last=True)
        answer = await probe.get("/mail/1")
        assert (answer.status, answer.code) == (503, "SlowDown")
        assert answer.headers["retry-after"] == "1"
        assert (await probe.get("/-/health")).status == 200
        assert store.gate is not None
        store.gate.set()
        assert (await call.answer()).status == 200
    assert (await probe.get("/mail/1")).status == 200


async def test_request_ids_are_never_the_same() -> None:
    probe = serve()
    ids = {(await probe.get("/mail")).headers["x-amz-request-id"] for _ in range(5)}
    assert len(ids) == 5


async def test_the_access_log_has_a_line_for_every_request(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "tierproxy.s3api")
    store = MemoryStore()
    store.put("1", b"four")
    probe = Probe(ObjectApp(store, Open(), LISTEN, SystemClock(), access_log=True))
    await probe.get("/mail/1?X-Amz-Signature=abc")
    await probe.get("/mail/2")
    facts = [record.facts for record in caplog.records if record.getMessage() == "request"]  # type: ignore[attr-defined]
    assert (facts[0]["path"], facts[0]["status"], facts[0]["sent"]) == ("/mail/1", 200, 4)
    assert facts[1]["status"] == 404
    assert "abc" not in str(facts)
