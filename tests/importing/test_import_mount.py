"""Import beside a mount that is in use: Dovecot sees the mail after force-resync."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.dovecot.conftest import S3, new_bucket, s3, seaweed, worlds
from tests.dovecot.world import BUCKET, Kind, World
from tests.importing.rigs import mail
from tierproxy.cli.program import app
from tierproxy.dovecot.settings import Folders, Layout

__all__ = ["new_bucket", "s3", "seaweed"]
pytestmark = pytest.mark.clients

LONG = b"x" * 70 + b"\r\n"


@pytest.fixture(scope="module")
def host(s3: S3) -> Iterator[World]:
    yield from worlds(Kind.MOUNT, Layout.MAIN, s3, folders=Folders.FS)


def test_imported_mail_is_in_the_mailbox_beside_what_was_delivered(
    host: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert host.storage is not None
    host.deliver(2)
    bodies = [b"Subject: old %d\r\n\r\n" % number + LONG * 400 for number in range(6)]
    for number, content in enumerate(bodies):
        mail(tmp_path / "Maildir", f"{number}.a.host:2,S", content, at=1_600_000_000 + number)
    words = [
        "import",
        "maildir",
        str(tmp_path / "Maildir"),
        "u1",
        "--bucket",
        BUCKET,
        "-c",
        str(host.storage.node.file),
    ]
    with host.costs(PUT=6):
        result = CliRunner().invoke(app, [*words, "--json"])
    assert (result.exit_code, json.loads(result.stdout)["imported"]) == (0, 6), result.output
    host.dovecot.doveadm("force-resync", "-u", "u1", "*")
    with host.imap() as session:
        assert session.select() == 8
        assert [session.body(uid) for uid in session.uids()[2:]] == bodies
        rows = session.fetch("3", "INTERNALDATE RFC822.SIZE")
        assert b'"13-Sep-2020' in rows[3][""]
        assert b"RFC822.SIZE %d" % len(bodies[0]) in rows[3][""]
    host.purge()
    host.storage.mount.stop()
    host.storage.mount.start()
    with host.costs(), host.imap() as session:
        session.select()
        assert len(session.fetch("3:8", "BODY.PEEK[HEADER]")) == 6, "from stubs"
    again = CliRunner().invoke(app, [*words, "--json"])
    assert (json.loads(again.stdout)["imported"], json.loads(again.stdout)["there"]) == (0, 6)
