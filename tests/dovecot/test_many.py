"""Two thousand mails in one folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.dovecot.conftest import S3, worlds
from tests.dovecot.world import Kind, World, tiny_mail
from tierproxy.dovecot.settings import Folders, Layout
from tierproxy.testing.imap import number_of

pytestmark = [pytest.mark.slow, pytest.mark.clients]

COUNT = 2000


@pytest.fixture(scope="module", params=list(Kind))
def host(request: pytest.FixtureRequest, s3: S3) -> Iterator[World]:
    yield from worlds(request.param, Layout.MAIN, s3, folders=Folders.FS)


@pytest.mark.timeout(300)
def test_two_thousand_mails(host: World) -> None:
    with host.lmtp() as session:
        for number in range(1, COUNT + 1):
            one = host.letter(tiny_mail(number))
            session.deliver("u1", one)
            host.ledger.add("u1", "INBOX", one)
    assert host.differences() == []
    host.purge()
    with host.imap() as session, host.costs():
        assert session.select() == COUNT
        assert session.uids("SUBJECT", '"number 1999"') == [1999]
        rows = session.fetch("1:*", "FLAGS RFC822.SIZE BODY.PEEK[HEADER]")
    assert [number_of(row["BODY[HEADER]"]) for row in rows.values()] == list(range(1, COUNT + 1))
    host.expect("[Rr]ebuilding index")
    with host.costs():
        host.dovecot.doveadm("force-resync", "-u", "u1", "INBOX")
    with host.imap() as session:
        assert session.select() == COUNT
        with host.costs(DELETE=1000):
            session.expunge("1:1000")
        assert session.uids() == list(range(1001, COUNT + 1))
        with host.costs():  # mails this small are in their stubs, whole
            assert len(session.fetch("1001:2000")) == 1000
    if host.storage is not None:
        host.settle()
        assert len(host.stored()) == COUNT - 1000
