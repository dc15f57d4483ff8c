"""What a write learns of a mail, on every way through the store."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from tests.mail.samples import GUID, KEY, MAIL, RECEIVED, sdbox
from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import BucketSection, DiskSection, NamingSection
from tierproxy.config.values import Share, Size
from tierproxy.errors import PreconditionFailed
from tierproxy.mail.metadata import facts_of
from tierproxy.mail.skeleton import skeleton
from tierproxy.model import Ack, Headers
from tierproxy.store.body import Md5Check
from tierproxy.store.calls import Precondition
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.rig import BUCKET, Rig, name, pieces, rig

ON = (BucketSection(name=BUCKET, mail_metadata=True),)
ACKS = list(Ack)


async def facts(r: Rig, key: str = KEY) -> dict[str, str]:
    """What a HEAD shows, and alt stores as well."""
    entry = await r.parts.store.head(name(key))
    assert entry.headers is not None
    if not r.journal():
        assert (await r.alt.head(name(key))).headers == entry.headers
    return facts_of(entry.headers.metadata)


@pytest.mark.parametrize("ack", ACKS)
async def test_a_mail_says_what_it_is_in_the_row_in_alt_and_in_the_blob(tmp_path: Path, ack: Ack) -> None:
    async with rig(tmp_path, bucket=ON) as r:
        content = sdbox()
        written = await r.put(KEY, content, ack=ack)
        assert written.entry.etag == hashlib.md5(content, usedforsecurity=False).hexdigest()
        await r.drained()
        found = await facts(r)
        assert (found["guid"], found["received"], found["uid"], found["owner"], found["folder"]) == (
            GUID, str(RECEIVED), "7", "alice", "INBOX",
        )  # fmt: skip
        assert found["subject"] == "Grüße aus Bonn"
        made = skeleton(found, len(content))
        assert made is not None
        assert content.startswith(made.head)
        assert await r.get(KEY) == content
        if (row := r.row(KEY)) is not None and row.blob is not None:
            label, _ = await r.parts.disk.verify(row.blob)
            assert facts_of(label.headers.metadata) == found


async def test_nothing_is_said_unless_the_bucket_asks_for_it(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.put(KEY, sdbox())
        assert await facts(r) == {}


@pytest.mark.parametrize("body", [b"", b"no mail", bytes(range(256)) * 300])
async def test_what_is_no_mail_has_the_clients_metadata_only(tmp_path: Path, body: bytes) -> None:
    async with rig(tmp_path, bucket=ON) as r:
        await r.put(KEY, body, headers=Headers(metadata={"a": "b"}))
        entry = await r.parts.store.head(name(KEY))
        assert entry.headers is not None
        assert entry.headers.metadata == {"a": "b"}


async def test_the_clients_metadata_and_checksums_stay(tmp_path: Path) -> None:
    async with rig(tmp_path, bucket=ON) as r:
        headers = Headers(content_type="message/rfc822", metadata={"mail-subject": "mine", "mtime": "17.5"})
        await r.put(KEY, sdbox(), headers=headers)
        entry = await r.parts.store.head(name(KEY))
        assert entry.headers is not None
        assert entry.headers.content_type == "message/rfc822"
        assert entry.headers.metadata["mail-subject"] == "mine"
        assert entry.headers.metadata["mtime"] == "17.5"
        assert entry.headers.metadata["mail-guid"] == GUID


async def test_a_mail_of_several_pieces_is_described_from_its_file(tmp_path: Path) -> None:
    async with rig(tmp_path, bucket=ON) as r:
        content = sdbox(MAIL + b"x" * 3 * 2**20)
        await r.put(KEY, content)
        found = await facts(r)
        assert (found["guid"], found["from"]) == (GUID, "Jörg <joerg@example.org>")
        assert skeleton(found, len(content)) is not None


async def test_a_multipart_upload_is_described_when_it_is_complete(tmp_path: Path) -> None:
    async with rig(tmp_path, bucket=ON) as r:
        content, parts = sdbox(MAIL + b"x" * 6 * 2**20), r.parts.store.multipart
        upload = await parts.create(name(KEY), Headers(metadata={"a": "b"}), None, None, None)
        cut = 5 * 2**20
        chosen = []
        for number, body in enumerate((content[:cut], content[cut:]), 1):
            part = await parts.put_part(upload, number, len(body), pieces(body, 2**20), Md5Check())
            chosen.append((number, part.etag))
        written = await parts.complete(upload, chosen)
        assert written.entry.etag.endswith("-2")
        found = await facts(r)
        assert (found["guid"], found["uid"]) == (GUID, "7")
        assert written.entry.headers is not None
        assert written.entry.headers.metadata["a"] == "b"


async def test_a_body_that_streams_around_the_disk_says_nothing(tmp_path: Path) -> None:
    async with rig(tmp_path, bucket=ON) as r:
        await r.put(KEY, sdbox(MAIL + b"x" * 9 * 2**20), ack=Ack.ALT)
        assert await facts(r) == {}


async def test_a_mail_for_which_the_disk_has_no_room_is_described_on_its_way_around_it(tmp_path: Path) -> None:
    async with rig(tmp_path, bucket=ON, disk=DiskSection(max_bytes=Size(2**20), min_free=Share(bytes=0))) as r:
        written = await r.put(KEY, sdbox(MAIL + b"x" * 2 * 2**20))
        assert written.entry.blob is None
        assert (await facts(r))["guid"] == GUID


async def test_owner_and_folder_are_those_of_the_naming_patterns(tmp_path: Path) -> None:
    pattern = NamingSection(pattern=r"(?P<owner>[^/]+)/(?P<folder>[^/]+)/.*")
    async with rig(tmp_path, bucket=ON, naming=(pattern,)) as r:
        await r.put("carol/Entw&APw-rfe/u.3", sdbox())
        found = await facts(r, "carol/Entw&APw-rfe/u.3")
        assert (found["owner"], found["folder"], found["uid"]) == ("carol", "Entwürfe", "3")


async def test_a_mail_that_cannot_be_parsed_is_stored_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("tierproxy.store.describing.said", broken)
    async with rig(tmp_path, bucket=ON) as r:
        await r.put(KEY, sdbox())
        assert await facts(r) == {}
        assert await r.get(KEY) == sdbox()


async def test_a_mail_that_is_refused_is_refused_as_before(tmp_path: Path) -> None:
    async with rig(tmp_path, bucket=ON) as r:
        await r.put(KEY, sdbox())
        before = r.row(KEY)
        with pytest.raises(PreconditionFailed):
            await r.put(KEY, sdbox(b"From: x\nDate: y\n\nother"), precondition=Precondition(create=True))
        assert r.row(KEY) == before


async def test_a_queued_mail_takes_its_metadata_to_alt_later(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    async with rig(tmp_path, alt=alt, bucket=ON) as r:
        alt.down()
        await r.put(KEY, sdbox())
        assert r.journal()
        alt.heal()
        await r.parts.catalogue.hurry(None, 0.0)
        await r.drained()
        assert (await facts(r))["guid"] == GUID


# ---------------------------------------------------------------- copies


@pytest.mark.parametrize("ack", ACKS)
async def test_a_copy_is_named_by_its_own_key_and_no_bytes_move(tmp_path: Path, ack: Ack) -> None:
    async with rig(tmp_path, bucket=ON) as r:
        await r.put(KEY, sdbox(), headers=Headers(metadata={"mine": "1"}))
        was = await facts(r)
        target = "bob/mailboxes/Sent/dbox-Mails/u.12"
        written = await r.parts.store.copy(name(KEY), name(target), ack=ack)
        await r.drained()
        assert await facts(r, target) == was | {"owner": "bob", "folder": "Sent", "uid": "12"}
        assert written.entry.headers is not None
        assert written.entry.headers.metadata["mine"] == "1"
        assert isinstance(r.alt, MemoryAlt)
        assert r.alt.requests["copy"] == 1
        assert r.alt.requests["get"] == 0
        assert await r.get(target) == sdbox()


async def test_a_copy_that_replaces_metadata_leaves_what_the_mail_says(tmp_path: Path) -> None:
    async with rig(tmp_path, bucket=ON) as r:
        await r.put(KEY, sdbox(), headers=Headers(metadata={"mine": "1"}))
        was = await facts(r)
        await r.parts.store.copy(name(KEY), name(KEY), headers=Headers(metadata={"mtime": "2"}))
        entry = await r.parts.store.head(name(KEY))
        assert entry.headers is not None
        assert {key: value for key, value in entry.headers.metadata.items() if not key.startswith("mail-")} == {
            "mtime": "2"
        }
        assert await facts(r) == was
