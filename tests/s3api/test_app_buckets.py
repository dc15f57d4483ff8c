"""Buckets, listings and DeleteObjects through the probe."""

from __future__ import annotations

import base64
import hashlib
from xml.sax.saxutils import escape

import pytest

from tierproxy.clock import SystemClock
from tierproxy.config.sections import ListenSection
from tierproxy.errors import AltUnavailable
from tierproxy.model import ObjectName
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.auth import Open
from tierproxy.store.calls import ANYTHING, Precondition
from tierproxy.testing.memory_store import MemoryStore
from tierproxy.testing.probe import Answer, Probe
from tierproxy.traffic import NOBODY, Visitor


def serve(store: MemoryStore, **listen: object) -> Probe:
    return Probe(ObjectApp(store, Open(), ListenSection(auth="none", **listen), SystemClock()))  # type: ignore[arg-type]


def filled(*keys: str) -> MemoryStore:
    store = MemoryStore()
    for key in keys:
        store.put(key, key.encode())
    return store


# ---------------------------------------------------------------- buckets


async def test_buckets_are_listed() -> None:
    store = MemoryStore()
    await store.create_bucket("archive")
    answer = await serve(store).get("/")
    assert answer.texts("Buckets/Bucket/Name") == ["archive", "mail"]
    assert answer.text("Buckets/Bucket/CreationDate") == "2023-11-14T22:13:20.250Z"
    page = await serve(store).get("/?max-buckets=1")
    assert page.texts("Buckets/Bucket/Name") == ["archive"]
    rest = await serve(store).get(f"/?continuation-token={page.text('ContinuationToken')}")
    assert rest.texts("Buckets/Bucket/Name") == ["mail"]


async def test_head_bucket_knows_what_is_there() -> None:
    probe = serve(MemoryStore(), region="eu-central-1")
    there = await probe.head("/mail")
    assert (there.status, there.headers["x-amz-bucket-region"]) == (200, "eu-central-1")
    assert (await probe.head("/nowhere/")).status == 404


async def test_the_location_is_the_configured_region() -> None:
    assert (await serve(MemoryStore()).get("/mail?location")).xml.text is None
    assert (await serve(MemoryStore(), region="eu-central-1").get("/mail?location")).xml.text == "eu-central-1"
    assert (await serve(MemoryStore()).get("/nowhere?location")).code == "NoSuchBucket"


async def test_versioning_was_never_enabled_and_cannot_be() -> None:
    answer = await serve(MemoryStore()).get("/mail?versioning")
    assert (answer.status, answer.xml.tag, len(answer.xml)) == (200, "VersioningConfiguration", 0)
    assert (await serve(MemoryStore()).put("/mail?versioning", b"<a/>")).status == 501


async def test_a_bucket_is_created_and_deleted_when_empty() -> None:
    store = MemoryStore()
    probe = serve(store)
    created = await probe.put("/news")
    assert (created.status, created.headers["location"]) == (200, "/news")
    assert (await probe.put("/news")).code == "BucketAlreadyOwnedByYou"
    assert (await probe.put("/news/1", b"x")).status == 200
    assert ((await probe.delete("/news")).status, (await probe.delete("/news")).code) == (409, "BucketNotEmpty")
    await probe.delete("/news/1")
    assert (await probe.delete("/news")).status == 204
    assert (await probe.delete("/news")).code == "NoSuchBucket"


async def test_a_bucket_is_created_in_our_region_or_not_at_all() -> None:
    probe = serve(MemoryStore(), region="eu-central-1")
    body = "<CreateBucketConfiguration><LocationConstraint>{}</LocationConstraint></CreateBucketConfiguration>"
    assert (await probe.put("/one", body.format("eu-central-1").encode())).status == 200
    wrong = await probe.put("/two", body.format("mars-1").encode())
    assert (wrong.status, wrong.code) == (400, "InvalidLocationConstraint")
    assert (await probe.put("/two", b"<Create")).code == "MalformedXML"


async def test_bad_bucket_names_are_refused() -> None:
    assert (await serve(MemoryStore()).put("/Up.Case")).code == "InvalidBucketName"
    assert (await serve(MemoryStore()).put("/new", b"", {"x-amz-bucket-object-lock-enabled": "true"})).status == 501


# ---------------------------------------------------------------- listings


async def test_a_listing_shows_keys_sizes_and_etags() -> None:
    answer = await serve(filled("a", "b/c")).get("/mail?list-type=2")
    assert answer.text("Name") == "mail"
    assert answer.texts("Contents/Key") == ["a", "b/c"]
    assert answer.texts("Contents/Size") == ["1", "3"]
    assert answer.text("Contents/ETag") == f'"{hashlib.md5(b"a").hexdigest()}"'
    assert answer.text("Contents/LastModified") == "2023-11-14T22:13:20.250Z"
    assert answer.text("Contents/StorageClass") == "STANDARD"
    assert answer.text("KeyCount") == "2"
    assert answer.text("IsTruncated") == "false"
    assert answer.text("Contents/Owner/ID") is None
    owned = await serve(filled("a")).get("/mail?list-type=2&fetch-owner=true")
    assert owned.text("Contents/Owner/ID") == "tierproxy"


async def test_a_delimiter_folds_keys_into_prefixes() -> None:
    answer = await serve(filled("ann/1", "ann/2", "bob/1", "top")).get("/mail?list-type=2&delimiter=%2F")
    assert answer.texts("CommonPrefixes/Prefix") == ["ann/", "bob/"]
    assert answer.texts("Contents/Key") == ["top"]
    assert answer.text("KeyCount") == "3"
    below = await serve(filled("ann/1", "ann/2", "bob/1")).get("/mail?list-type=2&prefix=ann/&delimiter=/")
    assert below.texts("Contents/Key") == ["ann/1", "ann/2"]


async def test_pages_of_v2_join_without_a_gap() -> None:
    keys = [f"k{number:02}" for number in range(7)] + ["ä ö/+&<"]
    probe = serve(filled(*keys))
    found: list[str] = []
    token = ""
    for _ in range(9):
        page = await probe.get("/mail?list-type=2&max-keys=3" + token)
        found += page.texts("Contents/Key")
        if page.text("IsTruncated") == "false":
            assert page.text("NextContinuationToken") is None
            break
        token = f"&continuation-token={page.text('NextContinuationToken')}"
    assert found == keys


async def test_start_after_skips_and_a_token_wins_over_it() -> None:
    probe = serve(filled("a", "b", "c"))
    assert (await probe.get("/mail?list-type=2&start-after=a")).texts("Contents/Key") == ["b", "c"]
    token = (await probe.get("/mail?list-type=2&max-keys=2")).text("NextContinuationToken")
    later = await probe.get(f"/mail?list-type=2&start-after=a&continuation-token={token}")
    assert later.texts("Contents/Key") == ["c"]


async def test_max_keys_is_between_nothing_and_a_thousand() -> None:
    store = filled(*(f"{number:04}" for number in range(1003)))
    none = await serve(store).get("/mail?list-type=2&max-keys=0")
    assert (none.texts("Contents/Key"), none.text("IsTruncated")) == ([], "false")
    many = await serve(store).get("/mail?list-type=2&max-keys=5000")
    assert (len(many.texts("Contents/Key")), many.text("MaxKeys")) == (1000, "1000")
    assert (await serve(store).get("/mail?list-type=2&max-keys=-1")).code == "InvalidArgument"
    assert (await serve(store).get("/nowhere?list-type=2&max-keys=0")).code == "NoSuchBucket"


async def test_encoding_type_url_encodes_what_xml_cannot_carry() -> None:
    answer = await serve(filled("a b/\x01ä")).get("/mail?list-type=2&encoding-type=url&delimiter=%2F&prefix=a%20")
    assert answer.texts("CommonPrefixes/Prefix") == ["a%20b/"]
    assert answer.text("Prefix") == "a%20"
    plain = await serve(filled("a b/\x01ä")).get("/mail?list-type=2&encoding-type=url")
    assert plain.texts("Contents/Key") == ["a%20b/%01%C3%A4"]
    assert plain.text("EncodingType") == "url"
    assert (await serve(filled()).get("/mail?list-type=2&encoding-type=rot13")).code == "InvalidArgument"


@pytest.mark.parametrize("token", ["x", "AAAA", "%21", ""])
async def test_a_forged_token_is_refused(token: str) -> None:
    answer = await serve(filled("a")).get(f"/mail?list-type=2&continuation-token={token}")
    assert (answer.status, answer.code) == (400, "InvalidArgument")


async def test_version_1_pages_by_marker() -> None:
    probe = serve(filled("a", "b", "c"))
    first = await probe.get("/mail?max-keys=2")
    assert first.texts("Contents/Key") == ["a", "b"]
    assert (first.text("IsTruncated"), first.text("NextMarker"), first.text("Contents/Owner/ID")) == (
        "true", "b", "tierproxy",
    )  # fmt: skip
    rest = await probe.get("/mail?marker=b")
    assert (rest.texts("Contents/Key"), rest.text("Marker"), rest.text("NextMarker")) == (["c"], "b", None)


# ---------------------------------------------------------------- DeleteObjects


def document(*keys: str, quiet: bool = False, extra: str = "") -> bytes:
    objects = "".join(f"<Object><Key>{escape(key)}</Key>{extra}</Object>" for key in keys)
    return f"<Delete>{objects}<Quiet>{str(quiet).lower()}</Quiet></Delete>".encode()


async def delete(store: MemoryStore, body: bytes, headers: dict[str, str] | None = None) -> Answer:
    return await serve(store).post("/mail?delete", body, headers)


async def test_many_objects_are_deleted_at_once() -> None:
    store = filled("a", "b", "c&d")
    answer = await delete(store, document("a", "c&d", "never was"))
    assert answer.texts("Deleted/Key") == ["a", "c&d", "never was"]
    assert list(store.objects) == [ObjectName("mail", "b")]


async def test_quiet_tells_only_of_failures() -> None:
    store = filled("a")
    assert len((await delete(store, document("a", quiet=True))).xml) == 0


async def test_one_that_fails_does_not_stop_the_others() -> None:
    class Failing(MemoryStore):
        async def delete(
            self, name: ObjectName, precondition: Precondition = ANYTHING, *, visitor: Visitor = NOBODY
        ) -> None:
            if name.key == "b":
                raise AltUnavailable
            await super().delete(name, precondition)

    store = Failing()
    for key in "abc":
        store.put(key, b"x")
    answer = await delete(store, document("a", "b", "c"))
    assert answer.texts("Deleted/Key") == ["a", "c"]
    assert (answer.texts("Error/Key"), answer.text("Error/Code")) == (["b"], "ServiceUnavailable")


async def test_a_bug_in_one_delete_fails_the_request_and_leaks_nothing() -> None:
    store = filled("a")
    store.fail = RuntimeError("secret detail")
    answer = await delete(store, document("a"))
    assert (answer.status, answer.code) == (500, "InternalError")
    assert b"secret" not in answer.body


async def test_an_etag_makes_a_delete_conditional() -> None:
    store = filled("a")
    answer = await delete(store, document("a", extra="<ETag>0123</ETag>"))
    assert answer.text("Error/Code") == "PreconditionFailed"
    assert store.objects


async def test_versions_cannot_be_deleted() -> None:
    store = filled("a")
    assert (await delete(store, document("a", extra="<VersionId>7</VersionId>"))).text("Error/Code") == "NotImplemented"
    assert (await delete(store, document("a", extra="<VersionId>null</VersionId>"))).texts("Deleted/Key") == ["a"]


async def test_a_list_of_deletes_is_checked_and_bounded() -> None:
    store = filled("a")
    good = document("a")
    md5 = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    assert (await delete(store, good, {"content-md5": md5})).code == "BadDigest"
    assert (await delete(store, b"<Delete></Delete>")).code == "MalformedXML"
    assert (await delete(store, b"<!DOCTYPE a><Delete/>")).code == "MalformedXML"
    assert (await delete(store, document(*map(str, range(1001))))).code == "MalformedXML"
    assert (await delete(store, b" " * (5 * 2**20))).code == "MaxMessageLengthExceeded"
    assert (await serve(store).post("/nowhere?delete", good)).code == "NoSuchBucket"
    assert store.objects
