"""All mail on the mount (layout main): every story runs on a plain directory first, which shows that it is true of
Dovecot, and then on the mount, where it also has a price in requests to S3."""

from __future__ import annotations

import imaplib
import poplib
import threading
from collections.abc import Iterator

import pytest

from tests.dovecot.conftest import S3, worlds
from tests.dovecot.world import Kind, World, tiny_mail, told
from tierproxy.dovecot.settings import Folders, Layout
from tierproxy.testing.imap import Imap, Letter, Refused, number_of
from tierproxy.testing.mails import mail

pytestmark = [pytest.mark.usefixtures("sound"), pytest.mark.clients]

PIECE = 10_240  #: bytes, as telephones ask for


@pytest.fixture(scope="module", params=list(Kind))
def host(request: pytest.FixtureRequest, s3: S3) -> Iterator[World]:
    yield from worlds(request.param, Layout.MAIN, s3, folders=Folders.FS)


def uid_of(session: Imap, one: Letter) -> int:
    """In the selected folder."""
    return session.uids("HEADER", "X-Number", str(one.number))[0]


def same(found: bytes, one: Letter) -> bool:
    """Lines a delivery puts on top do not count."""
    return found.endswith(one.content)


def test_a_delivered_mail_is_read_as_it_was_sent(host: World) -> None:
    host.deliver()  # the first mail of a user makes directories
    with host.costs(PUT=4):
        letters = host.deliver(4)
    with host.imap() as session:
        session.select()
        for one in letters:
            with host.costs():
                assert same(session.body(uid_of(session, one)), one)


def test_an_appended_mail_is_kept_byte_for_byte_with_its_flags(host: World) -> None:
    with host.imap() as session:
        one = host.letter()
        with host.costs(PUT=1):
            session.append("INBOX", one, r"\Seen \Flagged")
            host.ledger.add("u1", "INBOX", one)
        session.select()
        row = session.fetch(uid_of(session, one), "FLAGS RFC822.SIZE BODY.PEEK[]")
        (found,) = row.values()
    assert found["BODY[]"] == one.content
    assert f"RFC822.SIZE {len(one.content)}".encode() in found[""]
    assert rb"\Flagged" in found[""]


def test_a_large_mail_is_read_whole_and_in_pieces(host: World) -> None:
    (one,) = host.deliver(content=mail(97).content)  # twelve million bytes
    with host.imap() as session:
        session.select()
        uid = uid_of(session, one)
        whole = session.body(uid)
        assert same(whole, one)
        for first in (0, PIECE, 5_000_000, len(whole) - 100):
            (row,) = session.fetch(uid, f"BODY.PEEK[]<{first}.{PIECE}>").values()
            assert row[f"BODY[]<{first}>"] == whole[first : first + PIECE]


def test_headers_parts_and_pieces_are_those_of_the_whole(host: World) -> None:
    (one,) = host.deliver(content=mail(5).content)
    with host.imap() as session:
        session.select()
        uid = uid_of(session, one)
        whole = session.body(uid)
        with host.costs():
            (row,) = session.fetch(
                uid, "BODY.PEEK[HEADER] BODY.PEEK[TEXT] BODY.PEEK[1] BODYSTRUCTURE INTERNALDATE"
            ).values()
        head, body = row["BODY[HEADER]"], row["BODY[TEXT]"]
        assert head + body == whole
        assert row["BODY[1]"] in body
        pieces = []
        for first in range(0, len(whole), PIECE):
            (row,) = session.fetch(uid, f"BODY.PEEK[]<{first}.{PIECE}>").values()
            pieces.append(row[f"BODY[]<{first}>"])
        assert b"".join(pieces) == whole


def test_what_is_purged_from_disk_shows_its_headers_at_once_and_costs_one_get_to_read(host: World) -> None:
    letters = host.deliver(3, solid=True)
    host.purge()
    with host.imap() as session:
        session.select()
        uids = session.uids()[-3:]
        with host.costs():
            rows = session.fetch(uids, "FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER]")
        assert [number_of(row["BODY[HEADER]"]) for row in rows.values()] == [one.number for one in letters]
        with host.costs(GET=1):
            assert same(session.body(uids[0]), letters[0])
        with host.costs():
            assert same(session.body(uids[0]), letters[0])  # it is on disk again
        with host.costs(GET=1):  # in pieces: one GET for the whole
            for first in range(0, 30_000, PIECE):
                session.fetch(uids[1], f"BODY.PEEK[]<{first}.{PIECE}>")


def test_search_finds_headers_and_words_of_the_body(host: World) -> None:
    (one,) = host.deliver(content=b"Subject: a rare subject\r\n\r\nthe word xylophone and no other\r\n")
    with host.imap() as session:
        session.select()
        uid = uid_of(session, one)
        assert session.uids("SUBJECT", '"rare subject"') == [uid]
        assert session.uids("BODY", "xylophone") == [uid]
        assert uid in session.uids("SINCE", "1-Jan-2020")
        assert session.uids("LARGER", "10000000", "SMALLER", "10000001") == []


def test_flags_status_and_select_ask_s3_nothing(host: World) -> None:
    host.deliver(2)
    with host.imap() as session, host.costs():
        total = session.select()
        uids = session.uids()
        session.store(str(uids[-1]), r"\Seen \Answered $Label1")
        assert uids[-1] in session.uids("KEYWORD", "$Label1")
        session.store(str(uids[-1]), r"\Answered", "-FLAGS")
        assert uids[-1] not in session.uids("ANSWERED")
        session.unselect()
        assert session.status("INBOX")["MESSAGES"] == total
        assert "INBOX" in session.folders()


def test_copies_and_moves_send_no_bytes(host: World) -> None:
    first, second = host.deliver(2)
    with host.imap() as session:
        session.create("Archive")
        session.select()
        with host.costs(COPY=1):
            session.copy(str(uid_of(session, first)), "Archive")
            host.ledger.copied("u1", "Archive", first.number)
        with host.costs(COPY=1, DELETE=1):
            session.move(str(uid_of(session, second)), "Archive")
            host.ledger.moved("u1", "INBOX", "Archive", second.number)
        session.select("Archive")
        with host.costs():
            assert same(session.body(uid_of(session, first)), first)
            assert same(session.body(uid_of(session, second)), second)


def test_a_copy_of_what_is_purged_needs_no_get(host: World) -> None:
    (one,) = host.deliver(solid=True)
    with host.imap() as session:
        session.create("Kept")
        session.select()
        host.purge()
        with host.costs(COPY=1):
            session.copy(str(uid_of(session, one)), "Kept")
            host.ledger.copied("u1", "Kept", one.number)


def test_expunged_mail_is_gone_from_both_tiers(host: World) -> None:
    first, second = host.deliver(2)
    with host.imap() as session:
        session.select()
        with host.costs(DELETE=1):
            session.expunge(str(uid_of(session, first)))
        host.ledger.removed("u1", "INBOX", first.number)
        host.purge()
        with host.costs(DELETE=1):
            session.expunge(str(uid_of(session, second)))
        host.ledger.removed("u1", "INBOX", second.number)
        assert session.uids("HEADER", "X-Number", str(first.number)) == []


def test_folders_are_made_renamed_removed_and_subscribed(host: World) -> None:
    with host.imap() as session:
        for folder in ("Work", "Work/2026", "Größe".encode("utf-7").decode().replace("+", "&")):
            session.create(folder)
            assert folder in session.folders()
        (one,) = host.deliver()
        session.select()
        session.copy(str(uid_of(session, one)), "Work/2026")
        host.ledger.copied("u1", "Work/2026", one.number)
        with host.counts() as found:
            session.rename("Work", "Projects")
            host.ledger.renamed("u1", "Work/2026", "Projects/2026")
        if host.mounted:  # LAYOUT=fs: every mail is copied by S3, no bytes move
            assert set(found) <= {"COPY", "HEAD", "PUT", "DELETE"}
            assert found["COPY"] >= 1
        assert "Work" not in session.folders()
        session.subscribe("Projects/2026")
        assert session.folders(subscribed=True) == ["Projects/2026"]
        session.unsubscribe("Projects/2026")
        assert session.folders(subscribed=True) == []
        session.unselect()
        with host.counts() as found:
            session.delete("Projects/2026")
            host.ledger.removed("u1", "Projects/2026", one.number)
        if host.mounted:  # the mail, and markers of directories (Dovecot moves the empty one aside first)
            assert set(found) == {"DELETE", "PUT"}, told(host.taken)
        session.delete("Projects")
        with pytest.raises(Refused):
            session.select("Projects/2026")


def test_a_folder_made_again_is_a_new_one(host: World) -> None:
    with host.imap() as session:
        for _ in range(2):
            session.create("Again")
            one = host.letter(tiny_mail(1))
            session.append("Again", one)
            assert session.select("Again") == 1
            assert same(session.body(uid_of(session, one)), one)
            session.unselect()
            session.delete("Again")


def test_pop3_lists_reads_and_removes(host: World) -> None:
    letters = host.deliver(3, user="u2")
    for one in letters:
        host.ledger.removed("u2", "INBOX", one.number)
    pop = poplib.POP3("127.0.0.1", host.dovecot.ports.pop3, timeout=60)
    pop.user("u2")
    pop.pass_(host.dovecot.users["u2"])
    count, _ = pop.stat()
    assert count == 3
    assert len(pop.uidl()[1]) == 3
    for number, one in enumerate(letters, 1):
        assert same(b"".join(line + b"\r\n" for line in pop.retr(number)[1]), one)
        assert b"X-Number" in b"".join(pop.top(number, 0)[1])
        pop.dele(number)
    with host.costs(DELETE=3):
        pop.quit()


def test_a_resync_of_purged_mail_asks_s3_nothing_and_keeps_flags(host: World) -> None:
    host.deliver(5)
    host.purge()
    with host.imap() as session:
        session.select()
        uids = session.uids()
        session.store(str(uids[-1]), r"\Flagged")
    host.expect("[Rr]ebuilding index")
    with host.costs():
        host.dovecot.doveadm("force-resync", "-u", "u1", "INBOX")
    with host.imap() as session:
        session.select()
        assert session.uids() == uids
        assert session.uids("FLAGGED")[-1] == uids[-1]


def test_a_lost_index_comes_back_from_the_mails(host: World) -> None:
    letters = host.deliver(3, user="u2")
    with host.imap("u2") as session:
        session.select()
        items = "INTERNALDATE RFC822.SIZE"
        before = {uid: row[""].split(b"(")[1] for uid, row in session.fetch("1:*", items).items()}
    host.purge()
    host.dovecot.stop()
    (host.home / "dovecot" / "index" / "u2").rename(host.home / "dovecot" / "index" / "lost")
    host.dovecot.start()
    host.expect("[Rr]ebuilding index")
    with host.costs():
        host.dovecot.doveadm("force-resync", "-u", "u2", "*")
    with host.imap("u2") as session:
        assert session.select() >= len(letters)
        after = {uid: row[""].split(b"(")[1] for uid, row in session.fetch("1:*", items).items()}
    assert after == before


def test_two_users_at_once_get_their_own(host: World) -> None:
    failed: list[BaseException] = []
    letters = {user: [host.letter() for _ in range(15)] for user in host.dovecot.users}

    def live(user: str) -> None:
        try:
            with host.lmtp() as post, host.imap(user) as session:
                session.select()
                for one in letters[user]:
                    post.deliver(user, one)
                    session.noop()
                    assert same(session.body(uid_of(session, one)), one)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=live, args=(user,)) for user in letters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    for user, sent in letters.items():
        for one in sent:
            host.ledger.add(user, "INBOX", one)


def test_many_sessions_of_one_user_see_the_same(host: World) -> None:
    (one,) = host.deliver()
    sessions = [host.imap() for _ in range(4)]
    try:
        for session in sessions:
            session.select()
        uid = uid_of(sessions[0], one)
        assert all(same(session.body(uid), one) for session in sessions)
        sessions[0].expunge(str(uid))
        host.ledger.removed("u1", "INBOX", one.number)
        for session in sessions[1:]:
            session.noop()
            assert uid not in session.uids()
    finally:
        for session in sessions:
            session.close()


def test_many_mails_are_fetched_in_one_command(host: World) -> None:
    """mail_prefetch_count is set: Dovecot opens bodies ahead."""
    letters = host.deliver(12, user="u2", solid=True)
    host.purge()
    with host.imap("u2") as session:
        session.select()
        uids = session.uids()[-12:]
        with host.costs(GET=12):
            rows = session.fetch(uids)
    assert all(same(rows[uid]["BODY[]"], one) for uid, one in zip(uids, letters, strict=True))


def test_an_append_that_breaks_off_leaves_nothing(host: World) -> None:
    """A client's literal that never comes: nothing is stored."""
    session = imaplib.IMAP4("127.0.0.1", host.dovecot.ports.imap, timeout=60)
    session.login("u1", host.dovecot.users["u1"])
    session.send(b"a1 APPEND INBOX {100000}\r\n")
    session.readline()
    session.send(b"Subject: torn\r\n\r\n")
    session.shutdown()
