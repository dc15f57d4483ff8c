"""Objects through boto3 in threads: for the keys obstore cannot name, and for copies. Raises boto3's own exceptions."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tierproxy.alt.metadata import SYSTEM, Stored
from tierproxy.config.sections import AltSection
from tierproxy.model import ByteRange
from tierproxy.ports import Offload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CHUNK = 256 * 1024
NO_S3 = "look for a proxy or a portal between this node and the S3 server"
COPY_LIMIT = 5 * 2**30  #: bytes of the largest CopyObject (S3 API reference)
COPY_PART = 512 * 2**20


class BotoPieces:
    """The pieces of a boto3 response's Body. ``aclose`` closes its connection unless it was read whole."""

    def __init__(self, body: Any, offload: Offload) -> None:
        self._body = body
        self._offload = offload

    def __aiter__(self) -> BotoPieces:
        return self

    async def __anext__(self) -> bytes:
        piece: bytes = await self._offload.run(self._body.read, CHUNK)
        if not piece:
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        self._body.close()


class BotoObjects:
    """Requests on single objects of alt, one try each."""

    def __init__(self, client: S3Client, offload: Offload, section: AltSection) -> None:
        self._client: Any = client
        self._offload = offload
        self._section = section
        self._exact: dict[str, bool] = {}
        self._whole: dict[str, bool] = {}

    async def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """Any S3 operation by boto3's name; arguments that are None are left out."""
        given = {name: value for name, value in arguments.items() if value is not None}
        method: Callable[..., dict[str, Any]] = getattr(self._client, operation)
        return await self._offload.run(lambda: method(**given))

    async def get(self, bucket: str, key: str, range: ByteRange | None, etag: str | None) -> dict[str, Any]:
        return await self.call(
            "get_object", Bucket=bucket, Key=key, IfMatch=quoted(etag),
            Range=f"bytes={range.start}-{range.stop - 1}" if range else None,
        )  # fmt: skip

    def pieces(self, body: Any) -> BotoPieces:
        return BotoPieces(body, self._offload)

    async def put(
        self, bucket: str, key: str, content: bytes, stored: Stored, *, create: bool, match: str | None,
    ) -> str:  # fmt: skip
        """PutObject. Returns the ETag."""
        answer = await self.call(
            "put_object", Bucket=bucket, Key=key, Body=content, **self.facts(stored), **condition(create, match),
        )  # fmt: skip
        return unquoted(answer["ETag"])

    async def upload_part(self, where: dict[str, str], number: int, content: bytes) -> dict[str, Any]:
        """UploadPart with its Content-MD5, hashed in the same thread, for alt to verify."""

        def send() -> dict[str, Any]:
            digest = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
            answer = self._client.upload_part(**where, **options, PartNumber=number, Body=content, ContentMD5=digest)
            return dict(answer)

        options = {"ChecksumAlgorithm": "SHA256"} if self._section.checksum else {}
        return await self._offload.run(send)

    async def copy(
        self, source: tuple[str, str], target: tuple[str, str], match: str, stored: Stored | None,
        conditions: dict[str, str],
    ) -> str:  # fmt: skip
        """CopyObject of the content with ETag ``match``; ``stored`` replaces its metadata; ``conditions`` on the target
        as from ``condition``. Returns the ETag."""
        answer = await self.call(
            "copy_object", Bucket=target[0], Key=target[1], CopySource={"Bucket": source[0], "Key": source[1]},
            CopySourceIfMatch=quoted(match), MetadataDirective="REPLACE" if stored else "COPY",
            **self.facts(stored or Stored({}, {})), **conditions,
        )  # fmt: skip
        return unquoted(answer["CopyObjectResult"]["ETag"])

    def facts(self, stored: Stored) -> dict[str, Any]:
        """boto3's arguments for metadata, storage class, encryption and checksum."""
        section = self._section
        options = {
            "StorageClass": section.storage_class,
            "ServerSideEncryption": section.server_side_encryption,
            "SSEKMSKeyId": section.sse_kms_key_id,
            "ChecksumAlgorithm": "SHA256" if section.checksum else "",
            "Metadata": stored.user,
        }
        headers = {name.replace("-", ""): value for name, value in stored.system.items()}
        return {name: value for name, value in (headers | options).items() if value}

    async def keeps_keys_apart(self, bucket: str, prefix: str) -> bool:
        """Whether this server stores a key with an empty segment and a backslash under exactly that name. Asked once a
        bucket, with an object of a name nobody has: on a server that does not, "a//b" would overwrite "a/b"."""
        if bucket not in self._exact:
            base = f"{prefix}tierproxy-probe-{secrets.token_hex(8)}"
            key = f"{base}//a\\b"
            try:
                await self.call("put_object", Bucket=bucket, Key=key, Body=b"")
                page = await self.call("list_objects_v2", Bucket=bucket, Prefix=base)
                found = [item["Key"] for item in page.get("Contents", [])]
            finally:
                await self.call("delete_object", Bucket=bucket, Key=key)
            self._exact[bucket] = found == [key]
        return self._exact[bucket]

    async def keeps_bytes_of_folders(self, bucket: str, prefix: str) -> bool:
        """Whether this server keeps the bytes of a key that ends in a slash. SeaweedFS answers 200 and throws them
        away. Asked once a bucket, as above."""
        if bucket not in self._whole:
            key = f"{prefix}tierproxy-probe-{secrets.token_hex(8)}/"
            try:
                await self.call("put_object", Bucket=bucket, Key=key, Body=b"x")
                size = (await self.call("head_object", Bucket=bucket, Key=key))["ContentLength"]
            finally:
                await self.call("delete_object", Bucket=bucket, Key=key)
            self._whole[bucket] = size == 1
        return self._whole[bucket]

    async def is_kms_encrypted(self, bucket: str, key: str) -> bool:
        """Whether the object's ETag is no MD5 because of its encryption (a default of the bucket, perhaps)."""
        answer = await self.call("head_object", Bucket=bucket, Key=key)
        return str(answer.get("ServerSideEncryption", "")).startswith("aws:kms") or "SSECustomerAlgorithm" in answer


def system_of(answer: dict[str, Any]) -> dict[str, str]:
    """The HTTP headers of a boto3 response, by their names."""
    found = {name: answer[name.replace("-", "")] for name in SYSTEM.values() if answer.get(name.replace("-", ""))}
    if answer.get("ExpiresString"):
        found["Expires"] = answer["ExpiresString"]
    return found


def condition(create: bool, match: str | None) -> dict[str, str]:
    """The conditional headers of a write (S3 user guide, "Conditional writes")."""
    if create:
        return {"IfNoneMatch": "*"}
    return {"IfMatch": f'"{match}"'} if match is not None else {}


def quoted(etag: str | None) -> str | None:
    return None if etag is None else f'"{etag}"'


def unquoted(etag: str | None) -> str:
    return (etag or "").removeprefix("W/").strip('"')
