"""The object port on the real store: disk tier, catalogue and a memory alt below it."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tierproxy.config.sections import DynamicBucketsSection, ListenSection
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.auth import Open
from tierproxy.s3api.ports import Store
from tierproxy.testing.probe import Ending, Probe
from tierproxy.testing.rig import Rig, rig

MIB = 2**20
MAIL = b"From: ann@example.org\r\n\r\nHelo\r\n"


@asynccontextmanager
async def served(root: Path) -> AsyncIterator[tuple[Probe, Rig]]:
    async with rig(root, dynamic_buckets=DynamicBucketsSection(enabled=True, alt_bucket="dynamic")) as node:
        store: Store = node.parts.store
        yield Probe(ObjectApp(store, Open(), ListenSection(auth="none"), node.parts.clock)), node


def crc(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


async def test_what_is_put_comes_back_from_every_tier(tmp_path: Path) -> None:
    async with served(tmp_path) as (probe, node):
        headers = {"content-type": "message/rfc822", "x-amz-meta-a": "ä", "x-amz-checksum-crc32": crc(MAIL)}
        put = await probe.put("/mail/ann/%C3%A4", MAIL, headers)
        assert (put.status, put.headers["x-tierproxy-tiers"]) == (200, "disk,alt")
        tiers = []
        for _ in range(3):
            got = await probe.get("/mail/ann/%C3%A4", {"x-amz-checksum-mode": "ENABLED"})
            assert (got.status, got.body, got.headers["etag"]) == (200, MAIL, put.headers["etag"])
            assert got.headers["content-type"] == "message/rfc822"
            assert got.headers["x-amz-meta-a"].encode("latin-1").decode() == "ä"
            assert got.headers["x-amz-checksum-crc32"] == crc(MAIL)
            tiers.append((got.headers["x-tierproxy-tier"], got.headers["x-tierproxy-fill"]))
            if len(tiers) == 1:
                await node.purge()
            await node.idle()
        assert tiers[1] == ("alt", "fill")
        assert tiers[2][1] == "hit"


async def test_ranges_and_conditions_on_hit_and_miss(tmp_path: Path) -> None:
    data = bytes(range(256)) * 8192
    async with served(tmp_path) as (probe, node):
        etag = (await probe.put("/mail/big", data)).headers["etag"]
        for _ in range(2):
            part = await probe.get("/mail/big", {"range": "bytes=1000-5000", "if-match": etag})
            assert (part.status, part.body) == (206, data[1000:5001])
            assert (await probe.get("/mail/big", {"if-none-match": etag})).status == 304
            assert (await probe.get("/mail/big", {"range": "bytes=99999999-"})).code == "InvalidRange"
            await node.idle()
            await node.purge()


async def test_acks_say_who_holds_the_object(tmp_path: Path) -> None:
    async with served(tmp_path) as (probe, node):
        assert (await probe.put("/mail/1", MAIL, {"x-tierproxy-ack": "disk"})).headers["x-tierproxy-tiers"] == "disk"
        assert (await probe.put("/mail/2", MAIL, {"x-tierproxy-ack": "alt"})).headers["x-tierproxy-tiers"] == "alt"
        await node.drained()
        assert (await probe.head("/mail/1")).headers["x-tierproxy-tiers"] == "disk,alt"


async def test_a_client_that_leaves_and_a_body_that_lies_leave_nothing(tmp_path: Path) -> None:
    async with served(tmp_path) as (probe, node):
        async with probe.call("PUT", "/mail/1", {"content-length": "800000"}) as call:
            await call.send(bytes(400000))
            call.leave()
            assert await call.ended() is Ending.SILENT
        lie = await probe.put("/mail/2", MAIL, {"content-md5": base64.b64encode(bytes(16)).decode()})
        assert (lie.status, lie.code) == (400, "BadDigest")
        assert (await probe.get("/mail?list-type=2")).text("KeyCount") == "0"
        assert node.parts.space.used == 0


async def test_deletes_copies_and_listings(tmp_path: Path) -> None:
    async with served(tmp_path) as (probe, _):
        for key in ("ann/1", "ann/2", "bob/1"):
            await probe.put(f"/mail/{key}", key.encode(), {"x-amz-meta-of": key})
        copied = await probe.put("/mail/bob/2", b"", {"x-amz-copy-source": "/mail/ann/2"})
        assert copied.status == 200
        assert (await probe.get("/mail/bob/2")).headers["x-amz-meta-of"] == "ann/2"
        body = b"<Delete><Object><Key>ann/1</Key></Object><Object><Key>none</Key></Object></Delete>"
        assert (await probe.post("/mail?delete", body)).texts("Deleted/Key") == ["ann/1", "none"]
        assert (await probe.delete("/mail/ann/2")).status == 204
        assert (await probe.get("/mail/ann/2")).code == "NoSuchKey"
        found: list[str] = []
        token: str | None = ""
        while token is not None:
            page = await probe.get("/mail?list-type=2&max-keys=1" + (f"&continuation-token={token}" if token else ""))
            found += page.texts("Contents/Key")
            token = page.text("NextContinuationToken")
        assert found == ["bob/1", "bob/2"]
        folded = await probe.get("/mail?list-type=2&delimiter=/")
        assert folded.texts("CommonPrefixes/Prefix") == ["bob/"]


async def test_a_multipart_upload_becomes_one_object_with_a_checksum(tmp_path: Path) -> None:
    parts = [bytes([number]) * size for number, size in ((1, 5 * MIB), (2, 5 * MIB + 1), (3, 10))]
    async with served(tmp_path) as (probe, node):
        began = await probe.post("/mail/big?uploads", b"", {"x-amz-checksum-algorithm": "CRC32"})
        id = began.text("UploadId")
        etags = []
        for number, part in enumerate(parts, 1):
            answer = await probe.put(f"/mail/big?partNumber={number}&uploadId={id}", part)
            etags.append(answer.headers["etag"])
        named = "".join(
            f"<Part><PartNumber>{n}</PartNumber><ETag>{etag}</ETag></Part>" for n, etag in enumerate(etags, 1)
        )
        body = f"<CompleteMultipartUpload>{named}</CompleteMultipartUpload>".encode()
        done = await probe.post(f"/mail/big?uploadId={id}", body)
        assert done.status == 200
        digest = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
        assert done.text("ETag") == f'"{digest}-3"'
        composite = crc(b"".join(zlib.crc32(part).to_bytes(4, "big") for part in parts))
        assert done.text("ChecksumCRC32") == f"{composite}-3"
        again = await probe.post(f"/mail/big?uploadId={id}", body)
        assert (again.status, again.text("ETag")) == (200, done.text("ETag"))
        got = await probe.get("/mail/big")
        assert got.body == b"".join(parts)
        assert (await probe.get("/mail/big?partNumber=2")).body == parts[1]
        await node.idle()


async def test_an_unfinished_upload_is_listed_and_aborted(tmp_path: Path) -> None:
    async with served(tmp_path) as (probe, node):
        id = (await probe.post("/mail/big?uploads")).text("UploadId")
        await probe.put(f"/mail/big?partNumber=1&uploadId={id}", b"small")
        await probe.put(f"/mail/big?partNumber=2&uploadId={id}", b"small")
        listed = await probe.get(f"/mail/big?uploadId={id}")
        assert listed.texts("Part/Size") == ["5", "5"]
        assert (await probe.get("/mail?uploads")).texts("Upload/UploadId") == [id]
        etags = [etag.strip('"') for etag in listed.texts("Part/ETag")]
        named = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{e}</ETag></Part>" for n, e in enumerate(etags, 1))
        body = f"<CompleteMultipartUpload>{named}</CompleteMultipartUpload>".encode()
        small = await probe.post(f"/mail/big?uploadId={id}", body)
        assert (small.status, small.code) == (400, "EntityTooSmall")
        assert (await probe.delete(f"/mail/big?uploadId={id}")).status == 204
        assert (await probe.get("/mail?uploads")).texts("Upload/UploadId") == []
        assert node.parts.space.used == 0


async def test_buckets_come_and_go(tmp_path: Path) -> None:
    async with served(tmp_path) as (probe, _):
        assert (await probe.put("/news")).status == 200
        assert (await probe.put("/news/1", MAIL)).status == 200
        assert (await probe.delete("/news")).code == "BucketNotEmpty"
        assert (await probe.delete("/news/1")).status == 204
        assert (await probe.delete("/news")).status == 204
        assert (await probe.delete("/mail")).status >= 400
        assert (await probe.put("/nowhere/1", MAIL)).code == "NoSuchBucket"
        assert (await probe.get("/nowhere/1")).code == "NoSuchBucket"
        assert (await probe.get("/nowhere?list-type=2")).code == "NoSuchBucket"
