"""A real S3 server takes what mails say of themselves, and real clients are shown it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.cli.live import live_node
from tests.mail.samples import GUID, KEY, MAIL, sdbox
from tierproxy.alt.client import s3_client
from tierproxy.alt.mapping import BucketMap
from tierproxy.alt.s3 import S3Alt
from tierproxy.cli.demo.home import ACCESS_KEY_ID
from tierproxy.config.sections import AltSection, BucketSection
from tierproxy.embedded import EmbeddedS3
from tierproxy.mail.metadata import LIMIT, OWN, cost, facts_of
from tierproxy.model import Ack, Headers
from tierproxy.offload import ThreadPool
from tierproxy.testing.rig import BUCKET, name, rig

LONG = MAIL.replace(b"Bonn\n", "Ω会🚀Å\u0085 ".encode() * 200 + b"\n")
MINE = {"mtime": "1795000000.5", "c": "x" * 900}
BOB = "bob/mailboxes/Sent/dbox-Mails/u.12"


async def test_a_real_server_stores_it_all_and_gives_it_back(
    tmp_path: Path, seaweed: EmbeddedS3, new_bucket: Callable[[], str]
) -> None:
    place, pool = new_bucket(), ThreadPool("alt-test", 4)
    section = BucketSection(name=BUCKET, alt_bucket=place, mail_metadata=True)
    alt = S3Alt(seaweed.section(), BucketMap([section]), pool)
    client = s3_client(seaweed.section())
    try:
        async with rig(tmp_path, alt=alt, bucket=(section,)) as r:
            for number, ack in enumerate(Ack):
                key, content = f"{KEY}{number}", sdbox(LONG)
                await r.put(key, content, ack=ack, headers=Headers(metadata=MINE))
                await r.drained()
                stored = client.head_object(Bucket=place, Key=key)["Metadata"]
                entry = await r.parts.store.head(name(key))
                assert entry.headers is not None
                shown = {one: value for one, value in stored.items() if not one.startswith("tierproxy-")}
                assert shown == entry.headers.metadata == (await alt.head(name(key))).headers.metadata  # type: ignore[union-attr]
                assert sum(len(one) + len(value) for one, value in stored.items()) <= LIMIT
                assert (facts_of(shown)["guid"], facts_of(shown)["owner"]) == (GUID, "alice")
                assert facts_of(shown)["subject"].startswith("Grüße aus Ω会🚀Å Ω会")
            await r.parts.store.copy(name(KEY + "0"), name(BOB))
            stored = client.head_object(Bucket=place, Key=BOB)["Metadata"]
            assert (facts_of(stored)["owner"], facts_of(stored)["uid"], stored["c"]) == ("bob", "12", MINE["c"])
    finally:
        client.close()
        await alt.close()
        await pool.close()


def test_clients_are_shown_ascii_and_no_header_of_theirs_is_lost(tmp_path: Path) -> None:
    sections = {"bucket": (BucketSection(name=BUCKET, mail_metadata=True),)}
    with live_node(tmp_path / "home", sections=sections) as live:
        section = AltSection(
            endpoint=live.node.url or "", access_key_id=ACCESS_KEY_ID, secret_access_key=live.config.key[0].secret
        )
        client = s3_client(section)
        try:
            put = client.put_object(Bucket=BUCKET, Key=KEY, Body=sdbox(LONG), Metadata={"c": "x" * (LIMIT - OWN - 600)})
            for found in (client.head_object(Bucket=BUCKET, Key=KEY), client.get_object(Bucket=BUCKET, Key=KEY)):
                assert found["ETag"] == put["ETag"]
                assert found["ContentLength"] == len(sdbox(LONG))
                assert all(value.isascii() for value in found["Metadata"].values())
                assert facts_of(found["Metadata"])["from"] == "Jörg <joerg@example.org>"
                assert LIMIT - OWN - 80 <= cost(found["Metadata"]) <= LIMIT - OWN
        finally:
            client.close()
