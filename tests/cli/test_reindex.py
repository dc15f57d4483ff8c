"""``reindex`` and ``catalogue sync --heads``: what mails are, without their bodies."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.cli.live import Live, live_node
from tests.mail.samples import GUID, MAIL, RECEIVED, sdbox
from tierproxy.alt.memory import MemoryAlt
from tierproxy.catalogue import open_reader
from tierproxy.cli.client import Door, ObjectClient
from tierproxy.cli.demo.home import BUCKET
from tierproxy.cli.program import app
from tierproxy.config.sections import BucketSection
from tierproxy.disk.fsio import Files
from tierproxy.errors import AltUnavailable
from tierproxy.model import Headers, ObjectName, Stub
from tierproxy.offload import ThreadPool
from tierproxy.store.body import MemorySource
from tierproxy.stubs.heads import Heads
from tierproxy.testing.faults import FaultyAlt

INBOX = "alice/mailboxes/INBOX/dbox-Mails/"
SECTIONS = {"bucket": (BucketSection(name=BUCKET, mail_metadata=True),)}


@pytest.fixture(autouse=True)
def _nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIERPROXY_CONFIG", raising=False)
    monkeypatch.setenv("COLUMNS", "100")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def lines(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def put(live: Live, key: str, body: bytes, **headers: str) -> None:
    with ObjectClient(Door.of(live.config)) as client:
        client.put(
            ObjectName(BUCKET, key), body, len(body), {f"x-amz-meta-{name}": value for name, value in headers.items()}
        )


def silently(alt: MemoryAlt, key: str, body: bytes, **metadata: str) -> None:
    """Into alt, past the proxy, as it was before it knew mail."""
    headers = Headers(content_type="message/rfc822", metadata=metadata)
    asyncio.run(alt.put(ObjectName(BUCKET, key), MemorySource(body), headers, md5=""))


def long_ago(alt: MemoryAlt, *keys: str) -> int:
    """As if these had been written then."""
    for key in keys:
        held = alt._objects[ObjectName(BUCKET, key)]
        alt._objects[ObjectName(BUCKET, key)] = replace(held, meta=replace(held.meta, modified_at=1_500_000_000.0))
    return 1_500_000_000


@pytest.fixture
def mails(tmp_path: Path) -> Iterator[tuple[Live, MemoryAlt]]:
    """Two mails of alice's and one of bob's through the proxy; two of alice's that only alt knows, and no mail."""
    alt = MemoryAlt()
    silently(alt, INBOX + "u.3", sdbox(received=RECEIVED - 86_400), mine="1")
    silently(alt, INBOX + "u.4", sdbox(MAIL + b"x" * 50_000))
    silently(alt, INBOX + "no-mail", b"\0" * 100)
    with live_node(tmp_path / "home", alt, sections=SECTIONS) as live:
        put(live, INBOX + "u.1", sdbox())
        put(live, INBOX + "u.2", sdbox())
        put(live, "bob/mailboxes/Sent/dbox-Mails/u.1", sdbox())
        yield live, alt


def test_a_prefix_is_told_mail_by_mail_without_a_body(mails: tuple[Live, MemoryAlt]) -> None:
    live, alt = mails
    found = lines(run("reindex", f"{BUCKET}/alice/", "--json", "--config", live.file))
    assert [one["key"].rpartition("/")[2] for one in found] == ["no-mail", "u.1", "u.2", "u.3", "u.4"]
    assert [one["source"] for one in found] == ["nothing", "metadata", "metadata", "nothing", "nothing"]
    assert found[1] == {
        "key": f"{BUCKET}/{INBOX}u.1", "stored": len(sdbox()), "source": "metadata", "format": "sdbox",
        "created": f"{RECEIVED - 1:x}", "size": len(MAIL), "received": RECEIVED, "vsize": len(MAIL) + MAIL.count(b"\n"),
        "guid": GUID, "ends": found[1]["ends"], "uid": 1, "saved": found[1]["saved"], "owner": "alice",
        "folder": "INBOX", "message-id": "<1@example.org>", "date": 1795315742,
        "from": "Jörg <joerg@example.org>", "subject": "Grüße aus Bonn", "to": "alice@example.org",
    }  # fmt: skip
    assert alt.requests["get"] == 0


def test_an_owner_is_found_wherever_the_mail_is(mails: tuple[Live, MemoryAlt]) -> None:
    live, _ = mails
    [found] = lines(run("reindex", "bob", "--json", "--config", live.file))
    assert (found["owner"], found["folder"], found["uid"]) == ("bob", "Sent", 1)
    assert lines(run("reindex", "nobody", "--json", "--config", live.file)) == []
    assert len(lines(run("reindex", BUCKET, "--json", "--config", live.file))) == 6


def test_bodies_are_read_at_both_ends_only_where_nothing_is_said(mails: tuple[Live, MemoryAlt]) -> None:
    live, alt = mails
    found = lines(run("reindex", f"{BUCKET}/alice/", "--bodies", "--json", "--config", live.file))
    assert [one["source"] for one in found] == ["nothing", "metadata", "metadata", "body", "body"]
    assert found[3]["received"] == RECEIVED - 86_400
    assert (found[4]["guid"], found[4]["subject"]) == (GUID, "Grüße aus Bonn")
    assert alt.requests["put"] == 3 + 3
    assert alt.requests["copy"] == 0
    again = lines(run("reindex", f"{BUCKET}/alice/", "--json", "--config", live.file))
    assert [one["source"] for one in again][3:] == ["nothing", "nothing"], "nothing was written"


def test_what_was_read_can_be_stored_beside_what_the_client_stored(mails: tuple[Live, MemoryAlt]) -> None:
    live, alt = mails
    written = long_ago(alt, INBOX + "u.3", INBOX + "u.4")
    read = lines(run("reindex", f"{BUCKET}/alice/", "--bodies", "--write", "--json", "--config", live.file))
    gets = alt.requests["get"]
    found = lines(run("reindex", f"{BUCKET}/alice/", "--json", "--config", live.file))
    assert {int(one["saved"] - written) for one in found[3:]} == {0}, "when it was written, not when it was read"
    assert [one["source"] for one in found] == ["nothing", "metadata", "metadata", "metadata", "metadata"]
    without = [
        {name: value for name, value in one.items() if name not in {"source", "saved"}} for one in (*read, *found)
    ]
    assert without[:5] == without[5:]
    assert alt.requests["get"] == gets
    kept = asyncio.run(alt.head(ObjectName(BUCKET, INBOX + "u.3"))).headers
    assert kept is not None
    assert (kept.content_type, kept.metadata["mine"], kept.metadata["mail-guid"]) == ("message/rfc822", "1", GUID)
    with ObjectClient(Door.of(live.config)) as client:
        assert client.read(ObjectName(BUCKET, INBOX + "u.4"))[1] == sdbox(MAIL + b"x" * 50_000)


def test_metadata_in_other_alphabets_is_stored_again_as_it_was(mails: tuple[Live, MemoryAlt]) -> None:
    live, alt = mails
    silently(alt, INBOX + "u.5", sdbox(), mine="Grüße ж")
    lines(run("reindex", f"{BUCKET}/{INBOX}u.5", "--bodies", "--write", "--json", "--config", live.file))
    kept = asyncio.run(alt.head(ObjectName(BUCKET, INBOX + "u.5"))).headers
    assert kept is not None
    assert (kept.metadata["mine"], kept.metadata["mail-uid"]) == ("Grüße ж", "5")


def test_people_see_a_table_and_what_it_comes_to(mails: tuple[Live, MemoryAlt]) -> None:
    live, _ = mails
    result = run("reindex", BUCKET, "--limit", "2", "--config", live.file)
    assert result.exit_code == 0, result.output
    assert "and 4 more" in result.stdout
    assert "INBOX" in result.stdout
    assert "6 objects" in result.stderr
    assert "3 by their metadata, 0 by their bodies" in result.stderr


def test_wrong_usage_is_told(mails: tuple[Live, MemoryAlt], tmp_path: Path) -> None:
    live, _ = mails
    assert run("reindex", BUCKET, "--write", "--config", live.file).exit_code == 2
    assert run("reindex", "/x", "--config", live.file).exit_code == 2
    assert run("reindex", "absent/x", "--config", live.file).exit_code == 6


def test_metadata_is_not_stored_where_the_configuration_wants_none(tmp_path: Path) -> None:
    with live_node(tmp_path / "home") as live:
        result = run("reindex", BUCKET, "--bodies", "--write", "--config", live.file)
        assert result.exit_code == 3
        assert "mail_metadata = true" in result.stderr


def test_an_alt_that_does_not_answer_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tierproxy.cli.indexing.TRIES", 1)
    inner = MemoryAlt()
    for number in range(20):
        silently(inner, f"{INBOX}u.{number}", sdbox())
    alt = FaultyAlt(inner)
    with live_node(tmp_path / "home", alt, sections=SECTIONS) as live:
        for _ in range(20):
            alt.fail("head", AltUnavailable("down"))
        result = run("reindex", BUCKET, "--json", "--concurrency", "1", "--config", live.file)
        assert result.exit_code == 4
        assert "5 objects in a row could not be asked for" in result.stderr


def test_two_thousand_mails_are_one_head_each_once_and_no_get(tmp_path: Path) -> None:
    alt = MemoryAlt()
    body = sdbox()
    for number in range(2000):
        silently(alt, f"{INBOX}u.{number}", body, **{"mail-format": "sdbox", "mail-guid": GUID})
    with live_node(tmp_path / "home", alt, sections=SECTIONS) as live:
        found = lines(run("reindex", f"{BUCKET}/alice/", "--json", "--config", live.file))
        assert len(found) == 2000
        assert all(one["guid"] == GUID for one in found)
        assert [one["key"] for one in found] == sorted(one["key"] for one in found)
        assert (alt.requests["head"], alt.requests["get"]) == (2000, 0)
        lines(run("reindex", f"{BUCKET}/alice/", "--json", "--config", live.file))
        assert alt.requests["head"] == 2000, "the node has learnt them"


# ---------------------------------------------------------------- an empty host


async def count_of(data: Path) -> int:
    heads = await Heads.open(data / "stubs", 2**28, Files(), ThreadPool("stubs", 1))
    await heads.close()
    return heads.objects


def stubs_of(data: Path, keys: list[str]) -> dict[str, Stub | None]:
    """What the stub store has for the rows of the catalogue."""

    async def look() -> dict[str, Stub | None]:
        heads = await Heads.open(data / "stubs", 2**28, Files(), ThreadPool("stubs", 1))
        try:
            with open_reader(data) as catalogue:
                rows = {key: catalogue.find(ObjectName(BUCKET, key)) for key in keys}
            return {key: await heads.get(row.name, row.generation) if row else None for key, row in rows.items()}
        finally:
            await heads.close()

    return asyncio.run(look())


def test_an_empty_host_has_headers_and_the_ends_of_mails_after_a_sync(
    mails: tuple[Live, MemoryAlt], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, alt = mails
    data = tmp_path / "home" / "data"
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(live.file, other / "tierproxy.toml")
    text = (other / "tierproxy.toml").read_text().replace(str(data), str(other / "data"))
    (other / "tierproxy.toml").write_text(text)
    monkeypatch.setattr("tierproxy.cli.offline.open_alt", lambda *_: alt)
    alt.requests.clear()
    result = run("catalogue", "sync", "--heads", "--config", other / "tierproxy.toml")
    assert result.exit_code == 0, result.output
    assert "headers of 6 objects learnt, 3 stubs made of them" in result.stdout
    assert alt.requests["get"] == 0
    made = stubs_of(other / "data", [INBOX + "u.1", INBOX + "u.3", INBOX + "no-mail"])
    content, stub = sdbox(), made[INBOX + "u.1"]
    assert stub == Stub(len(content), content[:46], content[content.index(b"\n\x01\x03\n") :])
    assert made[INBOX + "u.3"] is None, "its metadata does not prove it"
    assert made[INBOX + "no-mail"] is None
    heads = alt.requests["head"]
    assert (
        "headers of 0 objects learnt, 0 stubs"
        in run("catalogue", "sync", "--heads", "--config", other / "tierproxy.toml").stdout
    )
    assert alt.requests["head"] == heads, "a walk that is begun again asks for nothing twice"


def test_a_rebuilt_catalogue_begins_without_stubs(
    mails: tuple[Live, MemoryAlt], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, alt = mails
    monkeypatch.setattr("tierproxy.cli.offline.open_alt", lambda *_: alt)
    other = tmp_path / "other"
    other.mkdir()
    text = live.file.read_text().replace(str(tmp_path / "home" / "data"), str(other / "data"))
    (other / "tierproxy.toml").write_text(text)
    for words, stubs in ((["sync", "--heads"], 3), (["rebuild"], 0)):
        result = run("catalogue", *words, "--config", other / "tierproxy.toml")
        assert result.exit_code == 0, result.output
        assert asyncio.run(count_of(other / "data")) == stubs


@pytest.mark.parametrize("words", [["catalogue", "sync"], ["check"]], ids=" ".join)
def test_whatever_makes_a_new_catalogue_begins_without_the_stubs_of_the_old(
    mails: tuple[Live, MemoryAlt], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    live, alt = mails
    monkeypatch.setattr("tierproxy.cli.offline.open_alt", lambda *_: alt)
    other = tmp_path / "other"
    other.mkdir()
    text = live.file.read_text().replace(str(tmp_path / "home" / "data"), str(other / "data"))
    (other / "tierproxy.toml").write_text(text)
    assert run("catalogue", "sync", "--heads", "--config", other / "tierproxy.toml").exit_code == 0
    assert asyncio.run(count_of(other / "data")) == 3
    shutil.rmtree(other / "data" / "catalogue")
    assert run(*words, "--config", other / "tierproxy.toml").exit_code == 0
    assert (other / "data" / "catalogue" / "catalogue.sqlite").exists()
    assert asyncio.run(count_of(other / "data")) == 0
