"""Whatever a client asks, it gets an answer of the table: no bug, no traceback, no lie."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from tierproxy.clock import SystemClock
from tierproxy.config.sections import ListenSection
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.auth import Open
from tierproxy.s3api.faults import STATUS
from tierproxy.s3api.route import OPERATIONS, UNSUPPORTED
from tierproxy.testing.memory_store import MemoryStore
from tierproxy.testing.probe import Answer, Probe

METHODS = st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH"])
PATHS = st.sampled_from(["/", "/mail", "/mail/", "/mail/1", "/nowhere/1", "/%", "/mail/%2e%2E/%00", "/mail/%ff", "//"])
PARAMETERS = sorted(
    {row.marker for row in OPERATIONS if row.marker}
    | {name for row in OPERATIONS for name in row.parameters}
    | {"versionId", "x-id", "%", "", *list(UNSUPPORTED)[:3]}
)
VALUES = st.sampled_from(
    ["", "1", "0", "-1", "2", "url", "true", "x", "99999999999999999999", "%ff", "%", "null", "upload-1", "*", '"e"',
     "bytes=0-0", "bytes=5-", "bytes=-1", "bytes=9-3", "mail/1", "/mail/1", "mail/none", "REPLACE", "both", "private",
     "CRC32", "SHA256", "COMPOSITE", "aws-chunked", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "UNSIGNED-PAYLOAD",
     "x-amz-checksum-crc32", "AAAAAA==", "Tue, 14 Nov 2023 22:13:20 GMT"]
)  # fmt: skip
HEADERS = st.sampled_from(
    ["range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range", "content-md5",
     "x-amz-copy-source", "x-amz-copy-source-range", "x-amz-copy-source-if-match", "x-amz-metadata-directive",
     "x-tierproxy-ack", "x-amz-acl", "x-amz-checksum-crc32", "x-amz-checksum-algorithm", "x-amz-checksum-type",
     "x-amz-checksum-mode", "x-amz-trailer", "x-amz-sdk-checksum-algorithm", "x-amz-content-sha256",
     "x-amz-decoded-content-length", "content-encoding", "x-amz-mp-object-size", "x-amz-storage-class",
     "x-amz-meta-a", "x-amz-tagging", "host", "expect"]
)  # fmt: skip
BODIES = st.sampled_from(
    [b"", b"x", b"<Delete><Object><Key>1</Key></Object></Delete>", b"<Delete>", b"<a/>", b"5\r\nhello\r\n0\r\n\r\n",
     b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>a</ETag></Part></CompleteMultipartUpload>"]
)  # fmt: skip
QUERIES = st.lists(st.tuples(st.sampled_from(PARAMETERS), VALUES), max_size=3)


async def _ask(method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[Answer, MemoryStore]:
    store = MemoryStore()
    store.put("1", b"one")
    probe = Probe(ObjectApp(store, Open(), ListenSection(auth="none"), SystemClock()))
    await probe.post("/mail/1?uploads")
    return await probe.request(method, target, body, headers), store


@settings(max_examples=400, deadline=None)
@given(METHODS, PATHS, QUERIES, st.dictionaries(HEADERS, VALUES, max_size=4), BODIES)
def test_every_request_has_an_answer_of_the_table(
    method: str, path: str, query: list[tuple[str, str]], headers: dict[str, str], body: bytes
) -> None:
    pairs = "&".join(f"{name}={value}" if value else name for name, value in query)
    target = f"{path}?{pairs}".replace(" ", "%20").replace('"', "%22")
    answer, store = asyncio.run(_ask(method, target, headers, body))
    assert answer.whole
    assert answer.status != 500
    assert store.open_readings == 0
    if answer.status >= 400 and method != "HEAD":
        assert answer.code in STATUS
    if answer.status >= 400:
        assert [name.key for name in store.objects] == ["1"], "an error must not have changed anything"
