"""From one Dovecot to another: what a maildir of a real Dovecot becomes, read by a real Dovecot."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.cli.live import Live, live_node
from tests.dovecot.conftest import need_dovecot
from tests.dovecot.world import USERS, other_root, private, short_directory
from tierproxy.cli.client import Door, ObjectClient
from tierproxy.cli.demo.home import BUCKET
from tierproxy.cli.program import app
from tierproxy.dovecot.private import PrivateDovecot, installed, owned
from tierproxy.dovecot.private_config import OWNER
from tierproxy.dovecot.settings import Folders, Layout
from tierproxy.dovecot.versions import Series
from tierproxy.model import ObjectName
from tierproxy.testing.imap import Imap, Lmtp, letter
from tierproxy.testing.mails import mail

pytestmark = pytest.mark.clients

FOLDER = "Entwürfe/Alt"
WIRE = "Entw&APw-rfe/Alt"
ITEMS = "BODY.PEEK[] FLAGS INTERNALDATE RFC822.SIZE"
MAILS = 12


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    need_dovecot()
    with short_directory() as found:
        yield found


@pytest.fixture(scope="module")
def old(home: Path) -> Path:
    """A user's maildir: two folders, flags, keywords, a hole in the UIDs."""
    (home / "old").mkdir(mode=0o755)
    owned(home / "old" / "mail")
    with private(home / "old" / "dovecot", home / "old" / "mail", Layout.MAILDIR) as dovecot:
        with Lmtp(dovecot.ports.lmtp) as session:
            for number in range(MAILS):
                session.deliver("u1", letter(number, mail(number * 3 + 1, seed=5).content))
        with imap(dovecot) as session:
            session.create(WIRE)
            session.select()
            session.store("2:4", "\\Seen $Forwarded")
            session.copy("5:7", WIRE)
            session.expunge("6")
        before = seen(dovecot)
    (home / "before.json").write_text(json.dumps(before))
    return home / "old" / "mail" / "u1"


WORDS = {"LAYOUT": "mailbox_list_layout", "INDEX": "mail_index_path", "CONTROL": "mail_control_path"}


def elsewhere(place: str, **said: object) -> list[str]:
    """A mail directory, for doveadm: what is other there than ``place`` tells, in the words of 2.3 or of 2.4."""
    if installed(other_root()).series is Series.V23:
        return [place + "".join(f":{word}={value}" for word, value in said.items())]
    # For doveadm INBOX is in the directory itself, where 2.3 has it; with 2.4, our layout maildir makes it a folder.
    inbox = ["-p", "mail_inbox_path="] if place.startswith("maildir:") else []
    return [*(f"-p{WORDS[word]}={value}" for word, value in said.items()), *inbox, place]


def imap(dovecot: PrivateDovecot, user: str = "u1") -> Imap:
    return Imap(dovecot.ports.imap, user, USERS[user])


def seen(dovecot: PrivateDovecot, user: str = "u1") -> dict[str, dict[str, str]]:
    """Every mail by folder and UID."""
    found: dict[str, dict[str, str]] = {}
    with imap(dovecot, user) as session:
        for folder in ("INBOX", WIRE):
            session.select(folder)
            for uid, row in session.fetch(session.uids(), ITEMS).items():
                line = row[""].decode()
                date = re.findall(r'INTERNALDATE "([^"]+)"', line)[0]
                size = re.findall(r"RFC822.SIZE (\d+)", line)[0]
                flags = sorted(re.findall(r"FLAGS \(([^)]*)\)", line)[0].replace("\\Recent", "").split())
                text = row["BODY[]"].decode("latin-1")
                found[f"{folder} {uid}"] = {
                    "received": date,
                    "size": size,
                    "flags": " ".join(flags),
                    "text": text,
                }
    return found


def guids(dovecot: PrivateDovecot, user: str = "u1") -> list[str]:
    lines = dovecot.doveadm("-f", "tab", "fetch", "-u", user, "mailbox uid guid", "all").splitlines()
    return sorted(lines[1:])


def mirrored(live: Live, where: Path) -> None:
    """Every object as a file, as a mount shows it."""
    with ObjectClient(Door.of(live.config)) as client:
        for one in list(client.objects(BUCKET)):
            file = where / one.key
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(client.read(ObjectName(BUCKET, one.key))[1])
    for path in [where, *where.rglob("*")]:
        os.chown(path, OWNER, OWNER)


def run(*words: object) -> str:
    result = CliRunner().invoke(app, ["import", *map(str, words)])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("folders", [Folders.FS, Folders.INDEX])
def test_a_maildir_of_a_real_dovecot_is_the_same_mailbox_afterwards(
    home: Path, old: Path, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = home / folders.value
    place.mkdir(mode=0o755)
    monkeypatch.chdir(place)
    owned(place / "mail")
    before = json.loads((home / "before.json").read_text())
    with (
        live_node(place / "node") as live,
        private(place / "d", place / "mail", Layout.MAIN, folders=folders) as dovecot,
    ):
        said = {word: home / "old" / "dovecot" / word.lower() / "u1" for word in ("INDEX", "CONTROL")}
        words: list[object] = ["maildir", old, "u1", "-c", live.file, "--json", "--control", said["CONTROL"]]
        if folders is Folders.INDEX:
            for name in ("INBOX", FOLDER):
                dovecot.doveadm("mailbox", "create", "-u", "u1", name)
            listed = dovecot.doveadm("-f", "tab", "mailbox", "status", "-u", "u1", "guid uidnext", "*")
            (place / "folders").write_text(listed)
            words += ["--folders", place / "folders"]
        report = json.loads(run(*words))
        assert (report["imported"], report["failed"], report["renumbered"]) == (MAILS - 1 + 3, 0, 0)
        mirrored(live, place / "mail")
        dovecot.doveadm("force-resync", "-u", "u1", "*")
        if folders is Folders.FS:  # the GUIDs are the same, so Dovecot brings flags and moves no mail
            dovecot.doveadm("sync", "-1", "-R", "-u", "u1", *elsewhere(f"maildir:{old}", **said))
            assert seen(dovecot) == before
        for line in run("flags", report["flags"], "--user", "u1").splitlines():
            dovecot.doveadm(*shlex.split(line)[1:])
        assert seen(dovecot) == before
        words = ["backup", "-R", "-u", "u2", *elsewhere(f"maildir:{old}", **said)]
        dovecot.doveadm(*map(str, words), check=False)  # as Dovecot itself copies it
        assert guids(dovecot) == guids(dovecot, "u2")
        mark = dovecot.mark()
        with Lmtp(dovecot.ports.lmtp) as session:
            session.deliver("u1", letter(99, b"Subject: after\r\n\r\nx\r\n"))
        assert dovecot.complaints(mark) == []
        with imap(dovecot) as session:
            session.select()
            assert session.uids()[-1] == MAILS + 1


def test_folders_by_number_become_folders_by_name(home: Path) -> None:
    place = home / "numbers"
    place.mkdir(mode=0o755)
    owned(place / "old", place / "new")
    with private(place / "a", place / "old", Layout.MAIN, folders=Folders.INDEX) as dovecot:
        with Lmtp(dovecot.ports.lmtp) as session:
            for number in range(4):
                session.deliver("u1", letter(number, mail(number, seed=5).content))
        with imap(dovecot) as session:
            session.create(WIRE)
            session.select()
            session.store("2:4", "\\Seen $Forwarded")
            session.copy("1:2", WIRE)
        before = seen(dovecot)
    said = {"LAYOUT": "index", "INDEX": place / "a" / "index" / "u1", "CONTROL": place / "a" / "control" / "u1"}
    with private(place / "b", place / "new", Layout.MAIN, folders=Folders.FS) as dovecot:
        dovecot.doveadm("backup", "-R", "-u", "u1", *elsewhere(f"sdbox:{place / 'old' / 'u1'}", **said))
        assert seen(dovecot) == before
    assert (place / "new" / "u1" / "mailboxes" / WIRE / "dbox-Mails" / "u.2").exists()


def test_an_mbox_and_an_sdbox_are_read_by_a_real_dovecot(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = home / "boxes"
    place.mkdir(mode=0o755)
    monkeypatch.chdir(place)
    owned(place / "mail")
    text = b"From a@b Sat Jan  3 01:05:34 2026\nStatus: RO\nSubject: one\n\n>From here\n\n"
    (place / "mbox").write_bytes(text + text.replace(b"one", b"two").replace(b"Status: RO\n", b""))
    with (
        live_node(place / "node") as live,
        private(place / "d", place / "mail", Layout.MAIN, folders=Folders.FS) as dovecot,
    ):
        run("mbox", place / "mbox", "u1", "-c", live.file)
        mirrored(live, place / "mail")
        dovecot.doveadm("force-resync", "-u", "u1", "*")
        first = guids(dovecot)
        with imap(dovecot) as session:
            session.select()
            rows = session.fetch("1:*", ITEMS)
        assert [row["BODY[]"] for row in rows.values()] == [
            b"Subject: one\r\n\r\nFrom here\r\n", b"Subject: two\r\n\r\nFrom here\r\n",
        ]  # fmt: skip
        assert all(b"03-Jan-2026 01:05:34 +0000" in row[""] for row in rows.values())
        run("sdbox", place / "mail" / "u1", "u2", "-c", live.file)
        with ObjectClient(Door.of(live.config)) as client:
            etags = {one.key.partition("/")[2]: one.etag for one in client.objects(BUCKET, "u1/")}
            assert etags == {one.key.partition("/")[2]: one.etag for one in client.objects(BUCKET, "u2/")}
    assert len(set(first)) == 2
