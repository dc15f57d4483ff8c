"""The requests that Dovecot Pro's obox is documented to make of an S3 server, against a real object port.

Source: Dovecot documentation, "S3 API URL calls", "Storage-side metadata", "Object storage design" (obox). The keys
are ``<first 8 hex digits of md5(user)>/<user>/mailboxes/<folder GUID>/<object id>`` and, for index bundles,
``.../idx/bundle.<seconds>.<microseconds>.<id>``.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from xml.etree.ElementTree import Element, fromstring

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest

from tests.s3api.signed import CREDENTIALS, KEY, REGION
from tierproxy.clock import SystemClock
from tierproxy.s3api.auth import SigV4
from tierproxy.testing.rig import Rig, rig
from tierproxy.testing.wire import Client, connected, served

USER = "ann@example.org"
SPREAD = hashlib.md5(USER.encode()).hexdigest()[:8]
FOLDER = "0f8a1c2b3d4e5f60718293a4b5c6d7e8"
ROOT = f"{SPREAD}/{USER}/mailboxes/{FOLDER}"
OID = "2cc5a7f1d3b04a66e1f0000083ecc375"
BUNDLE = f"{ROOT}/idx/bundle.1763772000.123456.9e107d9d372bb6826bd81d3542a419d6"
MAIL = b"From: bob@example.org\r\nSubject: hello\r\n\r\nHello Ann\r\n"
TRACED = {
    "X-Dovecot-Username": USER,
    "X-Dovecot-Session-Id": "imap:wMxN3hJE5u5/AAAB",
    "X-Dovecot-Reason": "mail prefetch of UID 17 in INBOX",
}
OF_MAIL = {
    "x-amz-meta-dovecot-username": USER,
    "x-amz-meta-dovecot-guid": "6ba0f8a1c2b3d4e5f60718293a4b5c6d",
    "x-amz-meta-dovecot-size": str(len(MAIL)),
    "x-amz-meta-dovecot-received": "1763772000",
    "x-amz-meta-dovecot-saved": "1763772001",
    "x-amz-meta-dovecot-pop3uidl": "00000001.5f3e",
    "x-amz-meta-dovecot-origbox": FOLDER,
}
NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str | None:
        return self._tree.findtext("Code")

    def texts(self, path: str) -> list[str]:
        steps = "/".join(NAMESPACE + step for step in path.split("/"))
        return [found.text or "" for found in self._tree.iterfind(steps)]

    @property
    def _tree(self) -> Element:
        return fromstring(self.body)


@dataclass
class Obox:
    """A client as obox is: path-style, SigV4 with ``region=``, its own headers on each request."""

    client: Client
    region: str = REGION

    async def ask(self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Reply:
        """``target`` as it stands on the wire, from the bucket on."""
        named = {"Host": "x", **TRACED, **(headers or {})}
        wanted = AWSRequest(method, f"http://x/mail{target}", headers=named, data=body)
        S3SigV4Auth(CREDENTIALS, "s3", self.region).add_auth(wanted)
        return await self.raw(method, f"/mail{target}", dict(wanted.headers.items()), body)

    async def raw(self, method: str, target: str, headers: dict[str, str], body: bytes = b"") -> Reply:
        lines = [f"{name}: {value}" for name, value in {**headers, "Content-Length": str(len(body))}.items()]
        await self.client.send("\r\n".join([f"{method} {target} HTTP/1.1", *lines, "", ""]).encode() + body)
        return Reply(*await self.client.response(head=method == "HEAD"))

    async def save(self, key: str, body: bytes = MAIL) -> Reply:
        return await self.ask("PUT", f"/{quote(key)}", body, OF_MAIL)


@asynccontextmanager
async def obox(root: Path, region: str = REGION) -> AsyncIterator[tuple[Obox, Rig]]:
    async with (
        rig(root) as node,
        served(node.parts.store, authenticator=SigV4([KEY], REGION, SystemClock()), auth="sigv4") as server,
        connected(server) as client,
    ):
        yield Obox(client, region), node


async def test_a_mail_is_saved_and_read_with_what_obox_says_of_it(tmp_path: Path) -> None:
    async with obox(tmp_path) as (client, _):
        assert (await client.save(f"{ROOT}/{OID}")).status == 200
        for method in ("HEAD", "GET"):
            reply = await client.ask(method, f"/{quote(ROOT)}/{OID}")
            assert (reply.status, reply.body) == (200, MAIL if method == "GET" else b"")
            assert {name: reply.headers[name] for name in OF_MAIL} == OF_MAIL
        assert (await client.ask("DELETE", f"/{quote(ROOT)}/{OID}")).status == 204
        assert (await client.ask("GET", f"/{quote(ROOT)}/{OID}")).code == "NoSuchKey"
        assert (await client.ask("HEAD", f"/{quote(ROOT)}/{OID}")).status == 404


async def test_owner_and_folder_are_told_by_the_key(tmp_path: Path) -> None:
    async with obox(tmp_path) as (client, node):
        await client.save(f"{ROOT}/{OID}")
        await client.save(BUNDLE)
        await client.save(f"{SPREAD}/{USER}/idx/bundle.1763772000.1.{OID}")
        for key in (f"{ROOT}/{OID}", BUNDLE):
            await client.ask("GET", f"/{quote(key)}")
        await node.idle()
        await node.parts.tally.flush()
        mail, bundle, root = (
            node.row(key) for key in (f"{ROOT}/{OID}", BUNDLE, f"{SPREAD}/{USER}/idx/bundle.1763772000.1.{OID}")
        )
        assert mail is not None
        assert bundle is not None
        assert root is not None
        assert {one.owner for one in (mail, bundle, root)} == {USER}
        assert (mail.folder, root.folder) == ("other", "")
        assert (mail.reads, bundle.reads) == (1, 0), "an index bundle is read by machines"


async def test_a_folder_is_listed_page_by_page_with_prefix_and_marker(tmp_path: Path) -> None:
    async with obox(tmp_path) as (client, _):
        keys = [f"{ROOT}/{number:032x}" for number in range(7)]
        for key in [*keys, BUNDLE, f"{SPREAD}/{USER}/mailboxes/other/1"]:
            await client.save(key)
        found: list[str] = []
        marker = ""
        while True:
            reply = await client.ask(
                "GET", f"?marker={quote(marker, safe='')}&max-keys=3&prefix={quote(ROOT, safe='')}%2F"
            )
            assert reply.status == 200
            found += (page := reply.texts("Contents/Key"))
            if reply.texts("IsTruncated") != ["true"]:
                break
            marker = page[-1]
        assert found == sorted([*keys, BUNDLE])
        assert reply.texts("Marker") == [marker]


async def test_folders_are_listed_with_a_delimiter(tmp_path: Path) -> None:
    async with obox(tmp_path) as (client, _):
        for key in (f"{ROOT}/{OID}", BUNDLE, f"{SPREAD}/{USER}/mailboxes/aa/1"):
            await client.save(key)
        reply = await client.ask("GET", f"?delimiter=%2F&prefix={quote(f'{SPREAD}/{USER}/mailboxes/', safe='')}")
        assert reply.texts("CommonPrefixes/Prefix") == [f"{ROOT}/", f"{SPREAD}/{USER}/mailboxes/aa/"]
        reply = await client.ask("GET", f"?delimiter=%2F&prefix={quote(ROOT, safe='')}%2F")
        assert reply.texts("Contents/Key") == [f"{ROOT}/{OID}"]
        assert reply.texts("CommonPrefixes/Prefix") == [f"{ROOT}/idx/"]


async def test_a_copy_replaces_what_is_said_of_the_mail(tmp_path: Path) -> None:
    target = f"{SPREAD}/{USER}/mailboxes/{FOLDER[::-1]}/{OID[::-1]}"
    async with obox(tmp_path) as (client, _):
        await client.save(f"{ROOT}/{OID}")
        reply = await client.ask(
            "PUT",
            f"/{quote(target)}",
            b"",
            {
                **OF_MAIL,
                "x-amz-meta-dovecot-saved": "1763779999",
                "x-amz-copy-source": f"/mail/{quote(ROOT)}/{OID}",
                "x-amz-metadata-directive": "REPLACE",
            },
        )
        assert reply.status == 200
        copied = await client.ask("GET", f"/{quote(target)}")
        assert copied.body == MAIL
        assert copied.headers["x-amz-meta-dovecot-saved"] == "1763779999"
        assert copied.headers["x-amz-meta-dovecot-origbox"] == FOLDER, "a copy does not change it"
        gone = {"x-amz-copy-source": f"/mail/{quote(ROOT)}/gone", "x-amz-metadata-directive": "REPLACE"}
        again = await client.ask("PUT", f"/{quote(target)}", b"", gone)
        assert (again.status, again.code) == (404, "NoSuchKey")


def deletion(keys: list[str]) -> tuple[bytes, str]:
    named = "".join(f"<Object><Key>{key}</Key></Object>" for key in keys)
    body = f'<?xml version="1.0" encoding="UTF-8"?><Delete><Quiet>true</Quiet>{named}</Delete>'.encode()
    return body, base64.b64encode(hashlib.md5(body).digest()).decode()


async def test_a_thousand_mails_are_deleted_by_one_request(tmp_path: Path) -> None:
    async with obox(tmp_path) as (client, node):
        kept, gone = [f"{ROOT}/{number:032x}" for number in range(2)]
        for key in (kept, gone):
            await client.save(key)
        body, sums = deletion([gone, *(f"{ROOT}/none-{number}" for number in range(999))])
        reply = await client.ask("POST", "/?delete", body, {"Content-MD5": sums})
        assert (reply.status, reply.texts("Error/Key"), reply.texts("Deleted/Key")) == (200, [], [])
        assert (node.row(kept) is not None, node.row(gone)) == (True, None)
        body, sums = deletion([f"{ROOT}/{number}" for number in range(1001)])
        assert (await client.ask("POST", "/?delete", body, {"Content-MD5": sums})).status == 400


@pytest.mark.parametrize("safe", ["/", "/@", ""], ids=["as S3 does", "with the @ as it is", "everything"])
async def test_keys_are_one_however_they_are_encoded(tmp_path: Path, safe: str) -> None:
    key = f"{SPREAD}/a+b c%d@example.org/mailboxes/{FOLDER}/$HasAttachment-ü"
    async with obox(tmp_path) as (client, node):
        assert (await client.ask("PUT", f"/{quote(key, safe=safe)}", MAIL)).status == 200
        row = node.row(key)
        assert row is not None
        assert row.owner == "a+b c%d@example.org"
        assert (await client.ask("GET", f"/{quote(key)}")).body == MAIL


async def test_requests_signed_for_another_region_say_which_is_right(tmp_path: Path) -> None:
    async with obox(tmp_path, region="eu-west-9") as (client, _):
        reply = await client.ask("GET", f"/{quote(ROOT)}/{OID}")
        assert (reply.status, reply.code) == (400, "AuthorizationHeaderMalformed")
        assert REGION in reply.body.decode()


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        ("/mail/1", {"Authorization": "AWS AKIAIOSFODNN7EXAMPLE:frJIUN8DYpKDtOLCwo//yllqDzg="}),
        ("/mail/1?AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Expires=1&Signature=x", {}),
    ],
    ids=["header", "query"],
)
async def test_without_region_obox_signs_by_version_2_and_is_told(
    tmp_path: Path, target: str, headers: dict[str, str]
) -> None:
    async with obox(tmp_path) as (client, _):
        reply = await client.raw("GET", target, {"Host": "x", "Date": "Sat, 22 Nov 2025 03:00:00 GMT", **headers})
        assert (reply.status, reply.code) == (403, "AccessDenied")
        assert b"Signature Version 2 is not supported; please use AWS4-HMAC-SHA256." in reply.body


async def test_conditional_and_partial_reads(tmp_path: Path) -> None:
    async with obox(tmp_path) as (client, _):
        await client.save(f"{ROOT}/{OID}")
        part = await client.ask("GET", f"/{quote(ROOT)}/{OID}", b"", {"Range": "bytes=0-3"})
        assert (part.status, part.body) == (206, MAIL[:4])


async def test_a_bundle_is_never_replaced_by_accident(tmp_path: Path) -> None:
    async with obox(tmp_path) as (client, _):
        assert (await client.save(BUNDLE, b"base")).status == 200
        assert (await client.save(f"{BUNDLE}-{OID}", b"diff")).status == 200
        reply = await client.ask("GET", f"?prefix={quote(f'{ROOT}/idx/bundle.', safe='')}")
        assert reply.texts("Contents/Key") == [BUNDLE, f"{BUNDLE}-{OID}"]
