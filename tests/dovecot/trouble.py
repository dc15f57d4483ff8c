"""What the stories of trouble share: an MTA that comes again, and worlds of their own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.dovecot.conftest import S3, need_dovecot
from tests.dovecot.world import Kind, World, tiny_mail, world
from tierproxy.dovecot.settings import Folders, Layout
from tierproxy.dovecot.versions import Series
from tierproxy.testing.imap import Gone, Letter, Lmtp, Refused

FAILED = "Input/output error"
DEAD = "Transport endpoint is not connected|Software caused connection abort"
AWAY = "Permission denied|Failed to autocreate mailbox|permission denied"
"""Where nothing is mounted: the directory below is root's."""

IN_VAIN = r"O_CREAT\) failed: No such file|Rebuilding|reset_id mismatch"
"""What 2.4 also does there: it tries to rebuild the index, cannot, and fills its cache anew. Flags stay."""

TRIES = 60  #: of an MTA, one every PAUSE seconds
PAUSE = 0.25


def post(host: World, one: Letter, user: str = "u1") -> list[str]:
    """As an MTA: again until it is taken. Returns what the server said before."""
    said: list[str] = []
    for _ in range(TRIES):
        try:
            with host.lmtp() as session:
                session.deliver(user, one)
        except (Refused, Gone) as error:
            said.append(str(error))
            threading.Event().wait(PAUSE)
        else:
            host.ledger.add(user, "INBOX", one)
            return said
    raise AssertionError(f"never taken: {said}")


def away(host: World) -> tuple[str, ...]:
    """What Dovecot says where nothing is mounted."""
    return (AWAY,) if host.dovecot.version.series is Series.V23 else (AWAY, IN_VAIN)


@contextmanager
def posting(host: World, how_many: int, *, after: int = 3) -> Iterator[list[str]]:
    """Mail goes on arriving meanwhile; begins when ``after`` have arrived, and ends when all have. Yields what an MTA
    was told."""
    letters = [host.letter(tiny_mail(number)) for number in range(how_many)]
    said: list[str] = []
    begun = threading.Event()
    failed: list[BaseException] = []

    def work() -> None:
        try:
            for number, one in enumerate(letters):
                said.extend(post(host, one))
                if number + 1 >= after:
                    begun.set()
        except BaseException as error:
            failed.append(error)
        finally:
            begun.set()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        begun.wait(60)
        yield said
    finally:
        thread.join()
    assert not failed


def purged(host: World) -> tuple[Letter, int]:
    """A mail that is in S3 alone, and its UID."""
    (one,) = host.deliver(solid=True)
    host.purge()
    with host.imap() as session:
        session.select()
        return one, session.uids()[-1]


def fails(host: World, uid: int) -> str:
    """What a client that reads it is told."""
    with pytest.raises((Refused, Gone)) as told:
        read(host, uid)
    return str(told.value)


def read(host: World, uid: int) -> bytes:
    with host.imap() as session:
        session.select()
        return session.body(uid)


def flood(port: int, letters: list[Letter], failed: list[BaseException]) -> None:
    try:
        for one in letters:
            for _ in range(TRIES):
                try:
                    with Lmtp(port) as session:
                        session.deliver("u2", one)
                    break
                except (Refused, Gone):
                    threading.Event().wait(0.05)
            else:
                raise AssertionError(f"{one.number} was never taken")
    except BaseException as error:
        failed.append(error)


def own_world(s3: S3, **options: Any) -> Any:
    need_dovecot()
    return world(Kind.MOUNT, Layout.MAIN, s3, folders=Folders.FS, **options)
