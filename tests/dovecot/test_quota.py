"""Quota by Dovecot's `count` driver: sizes come from the index, so a mailbox is counted without a request to S3."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.dovecot.conftest import S3, worlds
from tests.dovecot.world import Kind, World, other_root
from tierproxy.dovecot.private import installed
from tierproxy.dovecot.settings import Folders, Layout
from tierproxy.dovecot.versions import Series
from tierproxy.testing.imap import Quota, Refused, number_of

pytestmark = [pytest.mark.usefixtures("sound"), pytest.mark.clients]

LIMIT = 4  #: mails a user may have

OF_23 = f"""\
mail_plugins = quota
protocol imap {{
  mail_plugins = quota imap_quota
}}
plugin {{
  quota = count:User quota
  quota_vsizes = yes
  quota_rule = *:messages={LIMIT}
}}
"""
OF_24 = f"""\
mail_plugins {{
  quota = yes
}}
protocol imap {{
  mail_plugins {{
    imap_quota = yes
  }}
}}
quota "User quota" {{
  driver = count
  message_count = {LIMIT}
}}
"""


@pytest.fixture(scope="module", params=list(Kind))
def host(request: pytest.FixtureRequest, s3: S3) -> Iterator[World]:
    more = OF_23 if installed(other_root()).series is Series.V23 else OF_24
    yield from worlds(request.param, Layout.MAIN, s3, folders=Folders.FS, more=more)


@pytest.fixture(autouse=True)
def emptied(host: World, sound: None) -> Iterator[None]:
    """Each story ends with nothing in the mailbox."""
    yield
    with host.imap() as session:
        if session.select():
            session.expunge("1:*")
    for number in list(host.ledger.folder("u1", "INBOX")):
        host.ledger.removed("u1", "INBOX", number)


def used(host: World) -> Quota:
    with host.imap() as session:
        return session.quota()


def test_a_mail_beyond_the_quota_is_refused_and_nothing_of_it_stays(host: World) -> None:
    host.deliver(LIMIT)
    assert used(host) == Quota(used=LIMIT, limit=LIMIT)
    with host.costs(), host.lmtp() as session, pytest.raises(Refused, match="Quota"):
        session.deliver("u1", host.letter())
    with host.costs(), host.imap() as session, pytest.raises(Refused, match="OVERQUOTA"):
        session.append("INBOX", host.letter())
    assert used(host) == Quota(used=LIMIT, limit=LIMIT)


def test_an_expunge_makes_room_for_the_next_mail(host: World) -> None:
    host.deliver(LIMIT)
    with host.imap() as session:
        session.select()
        uid = session.uids()[0]
        gone = number_of(session.body(uid))
        session.expunge(str(uid))
        host.ledger.removed("u1", "INBOX", gone)
    assert used(host) == Quota(used=LIMIT - 1, limit=LIMIT)
    host.deliver(1)


def test_purged_mail_counts_as_before_and_is_counted_without_a_request(host: World) -> None:
    host.deliver(3)
    before = used(host)
    host.purge()
    with host.costs():
        assert used(host) == before
        host.dovecot.doveadm("quota", "recalc", "-u", "u1")
        assert used(host) == before
