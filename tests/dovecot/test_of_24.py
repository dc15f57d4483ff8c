"""What Dovecot 2.4 does otherwise than 2.3. Nodes without stubs: whatever opens a mail that was purged asks S3."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.dovecot.conftest import S3, worlds
from tests.dovecot.world import Kind, World
from tierproxy.config.sections import StubsSection
from tierproxy.config.values import Size
from tierproxy.dovecot.private import program
from tierproxy.dovecot.settings import Folders, Layout
from tierproxy.dovecot.versions import Series

pytestmark = [pytest.mark.usefixtures("sound"), pytest.mark.clients, pytest.mark.dovecot24]


@pytest.fixture(scope="module", params=list(Kind))
def host(request: pytest.FixtureRequest, s3: S3) -> Iterator[World]:
    bare = {"keep_body": "0s", "stubs": StubsSection(max_bytes=Size(0))}
    yield from worlds(request.param, Layout.MAIN, s3, folders=Folders.FS, **bare)


def test_it_is_the_dovecot_that_was_meant(host: World) -> None:
    """That of the other root, where there is one."""
    assert host.dovecot.version.series is Series.V24
    assert host.dovecot._process is not None
    running = os.stat(f"/proc/{host.dovecot._process.pid}/exe")
    assert os.path.samestat(running, os.stat(f"{host.dovecot.root or ''}{program('dovecot', host.dovecot.root)}"))


def test_a_resync_opens_no_mail(host: World) -> None:
    """2.3 opens each: one GET for a mail that has neither copy nor stub on disk."""
    host.deliver(5, solid=True)
    host.purge()
    host.expect("Rebuilding index")
    with host.costs():
        host.dovecot.doveadm("force-resync", "-u", "u1", "INBOX")
    assert host.differences() == []


def test_a_lost_index_is_made_anew_at_login(host: World) -> None:
    """2.3 shows an empty mailbox until somebody says force-resync."""
    letters = host.deliver(3, user="u2", solid=True)
    with host.imap("u2") as session:
        session.create("Work/2026")
        session.select()
        session.store("1:*", r"\Flagged")
        session.move("1", "Work/2026")
        host.ledger.moved("u2", "INBOX", "Work/2026", letters[0].number)
    host.purge()
    host.dovecot.stop()
    (host.home / "dovecot" / "index" / "u2").rename(host.home / "dovecot" / "index" / "lost")
    host.dovecot.start()
    host.expect("Rebuilding index")
    with host.imap("u2") as session, host.costs():
        assert set(session.folders()) == {"INBOX", "Work", "Work/2026"}
        assert session.select("Work/2026") == 1
        assert session.select("INBOX") == 2
        assert session.uids() == [2, 3]
        assert session.uids("FLAGGED") == []
