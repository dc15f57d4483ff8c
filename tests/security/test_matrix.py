"""Who may do what: every kind of key, every operation, every way of signing. What is refused changes nothing and tells
nothing, not even whether there is something to be refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import pytest
from botocore.credentials import Credentials

from tests.security.signing import Wanted, by_chunks, by_header, by_query
from tierproxy.clock import SystemClock
from tierproxy.config.sections import ListenSection
from tierproxy.model import BucketRow, Headers, ObjectName
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.auth import AccessKey, SigV4
from tierproxy.s3api.grants import Grants
from tierproxy.s3api.route import OPERATIONS
from tierproxy.testing.memory_store import NOW, MemoryStore
from tierproxy.testing.probe import Answer, Probe

# What each key may do is written down here once more, place by place: a table, and no code that could err with ours.

KEYS: dict[str, tuple[tuple[str, ...], str]] = {
    "all": (("*",), "write"),
    "writer": (("mail",), "write"),
    "reader": (("mail",), "read"),
    "ann": (("mail/ann",), "write"),
    "ann*": (("mail/ann*",), "read"),
    "other": (("elsewhere",), "write"),
    "nothing": ((), "write"),
}
STRANGERS = ("unknown", "wrong secret", "unsigned")
WHO = (*KEYS, *STRANGERS)

PLACES = ("mail/ann/1", "mail/ann/none", "mail/anna/1", "mail/bob/1", "elsewhere/1", "nowhere/1")
READS: dict[str, str] = {
    "all": "mail/ann/1 mail/ann/none mail/anna/1 mail/bob/1 elsewhere/1 nowhere/1",
    "writer": "mail/ann/1 mail/ann/none mail/anna/1 mail/bob/1",
    "reader": "mail/ann/1 mail/ann/none mail/anna/1 mail/bob/1",
    "ann": "mail/ann/1 mail/ann/none",
    "ann*": "mail/ann/1 mail/ann/none mail/anna/1",
    "other": "elsewhere/1",
}
WRITES: dict[str, str] = {who: READS[who] for who in ("all", "writer", "ann", "other")}

BUCKETS = ("mail", "elsewhere", "nowhere")
SEES: dict[str, str] = {
    "all": "mail elsewhere nowhere", "writer": "mail", "reader": "mail", "ann": "mail", "ann*": "mail",
    "other": "elsewhere",
}  # fmt: skip
OWNS: dict[str, str] = {"all": "mail elsewhere nowhere", "writer": "mail", "other": "elsewhere"}

PREFIXES = ("mail?", "mail?ann", "mail?ann/", "mail?ann/1", "mail?bob/", "elsewhere?", "nowhere?")
LISTS: dict[str, str] = {
    "all": "mail? mail?ann mail?ann/ mail?ann/1 mail?bob/ elsewhere? nowhere?",
    "writer": "mail? mail?ann mail?ann/ mail?ann/1 mail?bob/",
    "reader": "mail? mail?ann mail?ann/ mail?ann/1 mail?bob/",
    "ann": "mail?ann/ mail?ann/1",
    "ann*": "mail?ann mail?ann/ mail?ann/1",
    "other": "elsewhere?",
}


def may(table: dict[str, str], who: str, what: str) -> bool:
    return what in table.get(who, "").split(" ")


# ---------------------------------------------------------------- the requests


@dataclass(frozen=True)
class Try:
    """One request and whether ``who`` may make it. ``operation``: its name in the table of operations."""

    operation: str
    who: str
    what: str
    allowed: bool
    wanted: Wanted


DELETE = b"<Delete><Object><Key>%b</Key></Object></Delete>"
COMPLETE = b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>a</ETag></Part></CompleteMultipartUpload>"
READ_LINE = (
    b'{"key": "%b", "size": 1, "reason": "", "times": 1, "sent": 1, "at": 1.0, "ranged": false, "owner": null, '
    b'"folder": null}'
)
ON_OBJECTS: dict[str, tuple[dict[str, str], Callable[[str], Wanted]]] = {
    "GetObject": (READS, lambda place: Wanted("GET", f"/{place}")),
    "HeadObject": (READS, lambda place: Wanted("HEAD", f"/{place}")),
    "PutObject": (WRITES, lambda place: Wanted("PUT", f"/{place}", body=b"other")),
    "DeleteObject": (WRITES, lambda place: Wanted("DELETE", f"/{place}")),
    "CreateMultipartUpload": (WRITES, lambda place: Wanted("POST", f"/{place}?uploads")),
    "UploadPart": (WRITES, lambda place: Wanted("PUT", f"/{place}?partNumber=1&uploadId=u", body=b"part")),
    "ListParts": (READS, lambda place: Wanted("GET", f"/{place}?uploadId=u")),
    "CompleteMultipartUpload": (WRITES, lambda place: Wanted("POST", f"/{place}?uploadId=u", body=COMPLETE)),
    "AbortMultipartUpload": (WRITES, lambda place: Wanted("DELETE", f"/{place}?uploadId=u")),
}
ON_BUCKETS: dict[str, tuple[dict[str, str], Callable[[str], Wanted]]] = {
    "HeadBucket": (SEES, lambda bucket: Wanted("HEAD", f"/{bucket}")),
    "GetBucketLocation": (SEES, lambda bucket: Wanted("GET", f"/{bucket}?location")),
    "GetBucketVersioning": (SEES, lambda bucket: Wanted("GET", f"/{bucket}?versioning")),
    "CreateBucket": (OWNS, lambda bucket: Wanted("PUT", f"/{bucket}")),
    "DeleteBucket": (OWNS, lambda bucket: Wanted("DELETE", f"/{bucket}")),
    "DeleteObjects": (SEES, lambda bucket: Wanted("POST", f"/{bucket}?delete", body=DELETE % b"none")),
    "NoteReads": (SEES, lambda bucket: Wanted("POST", f"/{bucket}?tierproxy-reads", body=READ_LINE % b"none")),
}
ON_PREFIXES: dict[str, str] = {
    "ListObjectsV2": "list-type=2&", "ListObjects": "", "ListMultipartUploads": "uploads=&",
    "ListChildren": "tierproxy-children=&", "ListenToChanges": "tierproxy-changes=&",
}  # fmt: skip


def listing(parameters: str, what: str) -> Wanted:
    bucket, _, prefix = what.partition("?")
    return Wanted("GET", f"/{bucket}?{parameters}prefix={prefix.replace('/', '%2F')}")


def tries(who: str) -> Iterator[Try]:
    """Every operation at every place, but the copies, of which there are as many as pairs of places."""
    for operation, (table, make) in ON_OBJECTS.items():
        for place in PLACES:
            yield Try(operation, who, place, may(table, who, place), make(place))
    for operation, (table, make) in ON_BUCKETS.items():
        for bucket in BUCKETS:
            yield Try(operation, who, bucket, may(table, who, bucket), make(bucket))
    for operation, parameters in ON_PREFIXES.items():
        for what in PREFIXES:
            yield Try(operation, who, what, may(LISTS, who, what), listing(parameters, what))
    known = who in KEYS
    yield Try("ListBuckets", who, "/", known, Wanted("GET", "/"))
    yield Try("GetRoom", who, "/", known, Wanted("GET", "/?tierproxy-room"))
    for source, target in product(PLACES[:3] + PLACES[4:], PLACES[:3] + PLACES[4:]):
        allowed = may(READS, who, source) and may(WRITES, who, target)
        for operation, query in (("CopyObject", ""), ("UploadPartCopy", "?partNumber=1&uploadId=u")):
            wanted = Wanted("PUT", f"/{target}{query}", {"x-amz-copy-source": source})
            yield Try(operation, who, f"{source} to {target}", allowed, wanted)


def credentials(who: str) -> Credentials:
    return Credentials(f"AKIA{who}", "guess" if who in STRANGERS else f"secret of {who}")


WAYS: dict[str, Callable[[Wanted, Credentials], Wanted]] = {
    "header": by_header,
    "unsigned payload": lambda wanted, keys: by_header(wanted, keys, unsigned=True),
    "presigned": by_query,
    "chunks": by_chunks,
}


# ---------------------------------------------------------------- the store they are tried on


def furnished() -> MemoryStore:
    store = MemoryStore()
    store.rows["elsewhere"] = BucketRow("elsewhere", NOW, False, True)
    for place in PLACES:
        bucket, _, key = place.partition("/")
        if bucket != "nowhere" and not key.endswith("none"):
            store.keep(ObjectName(bucket, key), b"the mail of " + key.encode(), Headers(), "e" * 32)
    return store


def keys() -> SigV4:
    secrets = {who: f"secret of {who}" for who in KEYS} | {"wrong secret": "the right one"}
    all_of_them = [
        AccessKey(f"AKIA{who}", secret, Grants.of(*KEYS.get(who, (("*",), "write")))) for who, secret in secrets.items()
    ]
    return SigV4(all_of_them, "us-east-1", SystemClock())


async def asked(store: MemoryStore, one: Try, way: str) -> Answer:
    probe = Probe(ObjectApp(store, keys(), ListenSection(), SystemClock()), headers={"host": "127.0.0.1:9300"})
    sent = one.wanted if one.who == "unsigned" else WAYS[way](one.wanted, credentials(one.who))
    body = sent.body if sent.body or sent.method in {"PUT", "POST"} else None
    return await probe.request(sent.method, sent.target, body, sent.headers)


def picture(store: MemoryStore) -> tuple[object, ...]:
    """All a request could change."""
    uploads = store.multipart._uploads
    return dict(store.objects), dict(store.rows), dict(uploads), list(store.told), list(store.deliveries)


_VARIES = re.compile(rb"<(RequestId|Resource)>[^<]*</")


def said(answer: Answer) -> tuple[object, ...]:
    """What an answer tells of the world."""
    headers = {
        name: value for name, value in answer.headers.items() if name not in {"x-amz-request-id", "content-length"}
    }
    return answer.status, headers, _VARIES.sub(b"", answer.body)


def test_every_operation_is_tried() -> None:
    assert {one.operation for one in tries("all")} == {row.name for row in OPERATIONS}


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_allowed_is_what_the_table_says(way: str) -> None:
    store = furnished()
    before = picture(store)
    for who in WHO:
        refusals: dict[str, tuple[object, ...]] = {}
        for one in tries(who):
            if way == "chunks" and not one.wanted.body:
                continue
            answer = await asked(store, one, way)
            if one.allowed:
                assert answer.status != 403, one
                store = furnished()  # whatever it did
                before = picture(store)
                continue
            assert answer.status == 403, one
            assert said(answer) == refusals.setdefault(one.wanted.method, said(answer)), "a refusal tells something"
            assert picture(store) == before, one


async def test_one_delete_of_many_needs_its_own_grant() -> None:
    names = [place.partition("/")[2] for place in PLACES if place.startswith("mail/")]
    body = b"<Delete>%b</Delete>" % b"".join(b"<Object><Key>%b</Key></Object>" % name.encode() for name in names)
    for who in KEYS:
        store = furnished()
        one = Try("DeleteObjects", who, "mail", True, Wanted("POST", "/mail?delete", body=body))
        answer = await asked(store, one, "header")
        if not may(SEES, who, "mail"):
            assert answer.status == 403
            continue
        allowed = {name for name in names if may(WRITES, who, f"mail/{name}")}
        assert set(answer.texts("Deleted/Key")) == allowed, who
        assert set(answer.texts("Error/Key")) == set(names) - allowed, who
        assert set(answer.texts("Error/Code")) <= {"AccessDenied"}
        left = {name.key for name in store.objects if name.bucket == "mail"}
        assert left == {name for name in names if not name.endswith("none")} - allowed


async def test_one_read_of_many_needs_its_own_grant() -> None:
    names = [place.partition("/")[2] for place in PLACES if place.startswith("mail/")]
    body = b"\n".join(READ_LINE % name.encode() for name in names)
    for who in KEYS:
        store = furnished()
        one = Try("NoteReads", who, "mail", True, Wanted("POST", "/mail?tierproxy-reads", body=body))
        answer = await asked(store, one, "header")
        told = {delivery.name.key for delivery in store.told}
        assert told == {name for name in names if may(READS, who, f"mail/{name}")}, who
        assert (answer.status == 403) == (not may(SEES, who, "mail"))


async def test_a_list_shows_nothing_but_what_may_be_read() -> None:
    for who, what in product(KEYS, PREFIXES):
        for operation, parameters in ON_PREFIXES.items():
            if operation == "ListenToChanges" or not may(LISTS, who, what) or what.startswith("nowhere"):
                continue
            one = Try(operation, who, what, True, listing(parameters, what))
            answer = await asked(furnished(), one, "header")
            bucket = what.partition("?")[0]
            for place in PLACES:
                hidden = place.startswith(f"{bucket}/") and not may(READS, who, place)
                assert not hidden or f"<Key>{place.partition('/')[2]}<".encode() not in answer.body, (one, place)


async def test_the_list_of_buckets_has_those_of_the_key() -> None:
    for who in KEYS:
        one = Try("ListBuckets", who, "/", True, Wanted("GET", "/"))
        found = (await asked(furnished(), one, "header")).texts("Buckets/Bucket/Name")
        assert set(found) == {bucket for bucket in ("mail", "elsewhere") if may(SEES, who, bucket)}, who


@pytest.mark.parametrize("way", ["header", "presigned"])
async def test_of_a_bucket_that_may_not_be_seen_nobody_learns_whether_it_is_there(way: str) -> None:
    for operation in (*ON_BUCKETS, *ON_OBJECTS):
        told = []
        for bucket in ("elsewhere", "nowhere"):
            make = (ON_BUCKETS | ON_OBJECTS)[operation][1]
            what = bucket if operation in ON_BUCKETS else f"{bucket}/1"
            told.append(said(await asked(furnished(), Try(operation, "ann", what, False, make(what)), way)))
        assert told[0] == told[1], operation
        assert told[0][0] == 403
