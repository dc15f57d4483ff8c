"""``tierproxy import`` against a running node."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.cli.live import Live, live_node
from tests.importing.rigs import HELLO, HELLO_LF, mail
from tierproxy.cli.client import Door, ObjectClient
from tierproxy.cli.demo.home import BUCKET
from tierproxy.cli.imported import BucketObjects
from tierproxy.cli.importing import uid_sets
from tierproxy.cli.outcome import ExitCode
from tierproxy.cli.program import app
from tierproxy.errors import PreconditionFailed, TierproxyError
from tierproxy.importing.letters import BadMail
from tierproxy.importing.parcels import Parcel
from tierproxy.mail.dbox import written
from tierproxy.model import ObjectName

INBOX = "alice/mailboxes/INBOX/dbox-Mails/"
GUID = "00112233445566778899aabbccddeeff"


def run(directory: Path, *words: object) -> Result:
    """With its files in ``directory``."""
    before = Path.cwd()
    os.chdir(directory)
    try:
        return CliRunner().invoke(app, ["import", *map(str, words)])
    finally:
        os.chdir(before)


def answer(directory: Path, *words: object) -> dict[str, Any]:
    result = run(directory, *words, "--json")
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def objects(live: Live) -> dict[str, bytes]:
    with ObjectClient(Door.of(live.config)) as client:
        found = list(client.objects(BUCKET))
        return {one.key: client.read(ObjectName(BUCKET, one.key))[1] for one in found}


def test_a_maildir_becomes_objects_once(tmp_path: Path) -> None:
    mail(tmp_path / "Maildir", "1.a.host:2,FS", at=77)
    mail(tmp_path / "Maildir" / ".Sent", "2.a.host", HELLO * 60_000, at=78)  # larger than what is sent from memory
    with live_node(tmp_path / "node") as live:
        words = ("maildir", tmp_path / "Maildir", "alice", "-c", live.file)
        tried = answer(tmp_path, *words, "--dry-run")
        assert (tried["imported"], tried["dry_run"], objects(live)) == (2, True, {})
        assert not list(tmp_path.glob("import-*"))
        first = run(tmp_path, *words, "--verify", "bytes")
        assert first.exit_code == 0, first.output
        assert "2 mails imported" in first.output
        assert "doveadm force-resync -u alice '*'" in first.output
        found = objects(live)
        assert set(found) == {f"{INBOX}u.1", "alice/mailboxes/Sent/dbox-Mails/u.1"}
        assert HELLO_LF in found[f"{INBOX}u.1"]
        second = answer(tmp_path, *words)
        assert (second["imported"], second["there"], objects(live)) == (0, 2, found)
        (tmp_path / second["journal"]).unlink()
        third = answer(tmp_path, *words)
        assert (third["imported"], third["there"], third["gone"]) == (0, 2, 0)
        with ObjectClient(Door.of(live.config)) as client:
            said = client.head(ObjectName(BUCKET, f"{INBOX}u.1")).headers
            assert (said["x-amz-meta-mtime"], said["x-amz-meta-ctime"]) == ("77", "77")
    flags = run(tmp_path, "flags", "import-alice.flags.jsonl", "--user", "alice@example.org")
    assert flags.output.splitlines() == [
        "doveadm flags add -u alice@example.org '\\Seen' mailbox INBOX uid 1",
        "doveadm flags add -u alice@example.org '\\Flagged' mailbox INBOX uid 1",
    ]


def test_a_mail_somebody_expunged_stays_away_unless_it_is_asked_for_again(tmp_path: Path) -> None:
    mail(tmp_path / "Maildir", "1.a.host")
    with live_node(tmp_path / "node") as live:
        words = ("maildir", tmp_path / "Maildir", "alice", "-c", live.file)
        answer(tmp_path, *words)
        with ObjectClient(Door.of(live.config)) as client:
            client.delete(ObjectName(BUCKET, f"{INBOX}u.1"))
        assert answer(tmp_path, *words)["gone"] == 1
        assert objects(live) == {}
        assert answer(tmp_path, *words, "--again")["imported"] == 1


def test_an_sdbox_goes_to_the_directories_of_guids(tmp_path: Path) -> None:
    directory = tmp_path / "sdbox" / "mailboxes" / "Archive" / "dbox-Mails"
    directory.mkdir(parents=True)
    file = written(HELLO_LF, created=1, received=2, guid=GUID)
    (directory / "u.7").write_bytes(file)
    (directory / "u.8").write_bytes(file[:50])
    (tmp_path / "folders").write_text(f"mailbox\tguid\tuidnext\nArchive\t{GUID}\t1\n")
    with live_node(tmp_path / "node") as live:
        words = ("sdbox", tmp_path / "sdbox", "example.org/alice", "-c", live.file, "--folders", tmp_path / "folders")
        result = run(tmp_path, *words)
        assert result.exit_code == ExitCode.FAILED
        assert f"left out: {directory}/u.8: not a whole sdbox file" in result.output
        (key, content), *others = objects(live).items()
        assert (content, others) == (file, [])
        assert key == f"example.org/alice/mailboxes/{GUID}/u.7"


def test_an_mbox_file_is_a_folder_of_the_name_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "mbox").write_bytes(b"From a@b Sat Jan  3 01:05:34 2026\nStatus: RO\nSubject: x\n\ny\n")
    with live_node(tmp_path / "node") as live:
        words = ("mbox", tmp_path / "mbox", "alice", "-c", live.file, "--folder", "Entwürfe/Alt")
        assert answer(tmp_path, *words)["imported"] == 1
        assert set(objects(live)) == {"alice/mailboxes/Entw&APw-rfe/Alt/dbox-Mails/u.1"}
    row = json.loads((tmp_path / "import-alice.flags.jsonl").read_text())
    assert row == {"folder": "Entwürfe/Alt", "uid": 1, "flags": ["\\Seen"], "keywords": []}


def test_a_node_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    mail(tmp_path / "Maildir", "1.a.host")
    with live_node(tmp_path / "node") as live:
        file = live.file
    result = run(tmp_path, "maildir", tmp_path / "Maildir", "alice", "-c", file)
    assert result.exit_code == ExitCode.UNAVAILABLE
    assert "is it running" in result.output


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("maildir", "nothing", "alice"), ExitCode.FAILED, "not a directory"),
        (("maildir", "Maildir", "../bob"), ExitCode.USAGE, "cannot be a folder's name"),
        (("maildir", "Maildir", "alice", "--folders", "none"), ExitCode.USAGE, "cannot read none"),
        (("maildir", "Maildir", "alice", "--bucket", "other"), ExitCode.NOT_FOUND, "no bucket"),
        (("mbox", "Maildir/cur/1.a.host", "alice"), ExitCode.FAILED, "not an mbox"),
        (("mbox", "Maildir/cur/1.a.host", "alice", "--folder", "a/../b"), ExitCode.USAGE, "cannot be a folder's name"),
        (("sdbox", "Maildir", "alice"), ExitCode.FAILED, "no sdbox mail"),
        (("maildir", "Maildir", "alice", "--journal", "no/such/file"), ExitCode.CONFIG, "cannot write"),
    ],
)
def test_wrong_words_are_answered_with_what_is_wrong(
    tmp_path: Path, words: tuple[str, ...], code: ExitCode, said: str
) -> None:
    mail(tmp_path / "Maildir", "1.a.host")
    with live_node(tmp_path / "node") as live:
        result = run(tmp_path, *words, "-c", live.file)
        assert (result.exit_code, objects(live)) == (code, {}), result.output
    assert said in " ".join(result.output.replace("│", " ").split())


def test_sets_of_uids_are_short_and_cut_where_a_command_line_ends() -> None:
    assert list(uid_sets([5, 1, 2, 3, 9, 9])) == ["1:3,5,9"]
    assert list(uid_sets(range(1, 40, 2), 10)) == [
        "1,3,5,7,9",
        "11,13,15",
        "17,19,21",
        "23,25,27",
        "29,31,33",
        "35,37,39",
    ]
    assert list(uid_sets([])) == []


def test_a_node_whose_port_is_not_known_is_reached_by_its_unix_socket(tmp_path: Path) -> None:
    with live_node(tmp_path / "node", unix_socket=str(tmp_path / "s3.sock")) as live:
        config = replace(live.config, listen=replace(live.config.listen, address="127.0.0.1:0"))
        with ObjectClient(Door.of(config)) as client:
            assert client.buckets() == [BUCKET]


def test_nothing_is_overwritten_and_a_mail_that_changed_on_the_way_is_refused(tmp_path: Path) -> None:
    content = b"x" * (3 << 20)
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    good = Parcel(len(content), md5, GUID, 5, lambda: iter([content]))
    changed = replace(good, blocks=lambda: iter([b"y" + content[1:]]))
    shorter = replace(good, blocks=lambda: iter([content[1:]]))
    with live_node(tmp_path / "node") as live, ObjectClient(Door.of(live.config)) as client:
        bucket = BucketObjects(client, BUCKET)
        for bad in (changed, replace(changed, blocks=broken), shorter):
            with pytest.raises(TierproxyError):
                bucket.put(f"{INBOX}u.1", bad)
        assert objects(live) == {}
        assert bucket.put(f"{INBOX}u.1", good) == bucket.look(f"{INBOX}u.1") == bucket.read_again(f"{INBOX}u.1")
        other = Parcel(1, hashlib.md5(b"z", usedforsecurity=False).hexdigest(), GUID, 5, lambda: iter([b"z"]))
        with pytest.raises(PreconditionFailed):
            bucket.put(f"{INBOX}u.1", other)
        assert objects(live) == {f"{INBOX}u.1": content}


def broken() -> Iterator[bytes]:
    yield b"x" * 100_000
    raise BadMail("has become shorter")
