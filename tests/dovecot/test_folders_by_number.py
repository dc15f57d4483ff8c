"""LAYOUT=index: folders have directories named by number, and names only in Dovecot's list of folders."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.dovecot.conftest import S3, worlds
from tests.dovecot.world import Kind, World
from tierproxy.dovecot.settings import Folders, Layout
from tierproxy.dovecot.versions import Series
from tierproxy.testing.imap import Refused

pytestmark = [pytest.mark.usefixtures("sound"), pytest.mark.clients]


@pytest.fixture(scope="module", params=list(Kind))
def host(request: pytest.FixtureRequest, s3: S3) -> Iterator[World]:
    yield from worlds(request.param, Layout.MAIN, s3, folders=Folders.INDEX)


def test_a_renamed_folder_moves_no_mail(host: World) -> None:
    (one,) = host.deliver()
    with host.imap() as session:
        session.create("Work/2026")
        session.select()
        with host.costs(COPY=1):
            session.copy("1", "Work/2026")
            host.ledger.copied("u1", "Work/2026", one.number)
        with host.costs():
            session.rename("Work", "Projects")
        host.ledger.renamed("u1", "Work/2026", "Projects/2026")
        session.select("Projects/2026")
        assert session.body(1).endswith(one.content)


def test_a_folder_is_removed_although_dovecot_says_that_it_does_not_exist(host: World) -> None:
    """Dovecot 2.3.19 with INDEX= elsewhere: it removes the directory twice, and believes the second answer. 2.4 does
    not."""
    with host.imap() as session:
        session.create("Gone")
        session.append("Gone", host.letter())
        if host.dovecot.version.series is Series.V23:
            with pytest.raises(Refused, match="NONEXISTENT"):
                session.delete("Gone")
        session.delete("Gone")
        assert "Gone" not in session.folders()
