"""An S3 client of the object port that also does ranges, copies, multipart uploads and DeleteObjects."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape

from defusedxml.ElementTree import fromstring

from tierproxy.cli.client import Answer, ObjectClient, Unreachable
from tierproxy.model import ObjectName


class WideClient(ObjectClient):
    """Raises as ``ObjectClient``. An answer 200 that carries an error (CopyObject, CompleteMultipartUpload) raises
    Unreachable: nothing was promised."""

    def part(self, name: ObjectName, first: int, last: int) -> tuple[Answer, bytes]:
        """GetObject of the bytes from ``first`` to ``last``."""
        with self.get(name, {"range": f"bytes={first}-{last}"}) as answer:
            return answer, b"".join(answer.blocks())

    def copy(self, source: ObjectName, target: ObjectName) -> None:
        headers = {"x-amz-copy-source": f"/{source.bucket}/{quote(source.key)}"}
        with self._exchange("PUT", target, body=b"", size=0, headers=headers) as answer:
            _sound(b"".join(answer.blocks()))

    def delete_many(self, bucket: str, keys: Sequence[str]) -> set[str]:
        """DeleteObjects. Returns those that the answer says are deleted."""
        objects = "".join(f"<Object><Key>{escape(key)}</Key></Object>" for key in keys)
        body = f"<Delete>{objects}</Delete>".encode()
        headers = {"content-md5": base64.b64encode(hashlib.md5(body).digest()).decode()}
        tree = self._post(ObjectName(bucket, ""), {"delete": ""}, body, headers)
        return {one.text or "" for one in tree.findall("{*}Deleted/{*}Key")}

    def begin_upload(self, name: ObjectName) -> str:
        """CreateMultipartUpload; the upload's id."""
        return str(self._post(name, {"uploads": ""}, b"", {}).findtext("{*}UploadId"))

    def put_part(self, name: ObjectName, upload: str, number: int, body: bytes) -> str:
        """UploadPart; the part's ETag."""
        query = {"partNumber": str(number), "uploadId": upload}
        with self._exchange("PUT", name, query=query, body=body, size=len(body)) as answer:
            return answer.headers["etag"]

    def complete(self, name: ObjectName, upload: str, etags: Sequence[str]) -> None:
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(etag)}</ETag></Part>"
            for number, etag in enumerate(etags, 1)
        )
        body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        self._post(name, {"uploadId": upload}, body, {})

    def abort(self, name: ObjectName, upload: str) -> None:
        with self._exchange("DELETE", name, query={"uploadId": upload}):
            pass

    def uploads(self, bucket: str) -> list[tuple[ObjectName, str]]:
        """ListMultipartUploads, the first page."""
        with self._exchange("GET", ObjectName(bucket, ""), query={"uploads": ""}) as answer:
            tree = fromstring(b"".join(answer.blocks()))
        return [
            (ObjectName(bucket, one.findtext("{*}Key") or ""), one.findtext("{*}UploadId") or "")
            for one in tree.findall("{*}Upload")
        ]

    def _post(self, name: ObjectName, query: Mapping[str, str], body: bytes, headers: Mapping[str, str]) -> Any:
        with self._exchange("POST", name, query=query, body=body, size=len(body), headers=headers) as answer:
            return _sound(b"".join(answer.blocks()))


def _sound(body: bytes) -> Any:
    tree = fromstring(body)
    if tree.tag.rpartition("}")[2] == "Error":
        raise Unreachable(f"200 with an error: {body[:200]!r}")
    return tree
