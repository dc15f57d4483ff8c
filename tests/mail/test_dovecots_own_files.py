"""Files that a real Dovecot wrote, and a real Dovecot on files that were made of their metadata."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.dovecot.conftest import need_dovecot
from tests.mail.samples import ends
from tierproxy.dovecot.private import PrivateDovecot, installed, owned
from tierproxy.dovecot.private_config import OWNER
from tierproxy.dovecot.settings import Folders, Layout, Paths, mail_settings
from tierproxy.mail.dbox import HEAD, TAIL, start_of, trailer_in
from tierproxy.mail.metadata import Whose, described, facts_of, said
from tierproxy.mail.skeleton import skeleton
from tierproxy.testing.imap import Imap, Letter, Lmtp
from tierproxy.testing.mails import mail

pytestmark = pytest.mark.clients

USER = "u1"
COMPRESSED = "mail_plugins = zlib\nplugin {\n  zlib_save = gz\n}\n"
FIELDS = "uid guid size.physical size.virtual date.received"


@dataclass
class Host:
    """A private Dovecot on a plain directory."""

    dovecot: PrivateDovecot
    directory: Path

    def files(self) -> list[Path]:
        """Every mail's, by UID."""
        return sorted(self.directory.glob("mail/**/u.*"), key=lambda path: int(path.name[2:]))

    def facts(self, path: Path) -> tuple[bytes, dict[str, str]]:
        """A file and what is stored of it."""
        content = path.read_bytes()
        found = said(str(path), ends(content))
        assert found is not None
        return content, facts_of(described(found, Whose(USER, "INBOX"), 0, {}))

    def told(self, fields: str) -> list[str]:
        """What Dovecot says of every mail."""
        return self.dovecot.doveadm("-f", "tab", "fetch", "-u", USER, fields, "mailbox", "INBOX").splitlines()[1:]


@contextmanager
def host(more: str = "") -> Iterator[Host]:
    """With ten delivered mails and five appended ones."""
    need_dovecot()
    directory = Path(tempfile.mkdtemp(prefix="tp-mail-"))
    try:
        directory.chmod(0o755)
        names = ("mail", "index", "control", "home")
        owned(*(directory / name for name in names))
        paths = Paths(**{name: str(directory / name) for name in names})
        text = mail_settings(installed(), Layout.MAIN, paths, user=str(OWNER), group=str(OWNER), folders=Folders.FS)
        with PrivateDovecot(directory, text, {USER: "one"}, more=more) as dovecot:
            fill(dovecot)
            yield Host(dovecot, directory)
    finally:
        shutil.rmtree(directory)


def fill(dovecot: PrivateDovecot) -> None:
    letters = [Letter(number, mail(7, number).content) for number in range(1, 16)]
    with Lmtp(dovecot.ports.lmtp) as session:
        for one in letters[:10]:
            session.deliver(USER, one)
    with Imap(dovecot.ports.imap, USER, "one") as session:
        for one in letters[10:]:
            session.append("INBOX", one)


def test_every_file_is_read_and_its_ends_are_made_again() -> None:
    with host() as found:
        rows = {int(row[0]): row for row in (line.split("\t") for line in found.told(FIELDS))}
        assert len(found.files()) == len(rows) == 15
        for path in found.files():
            content, facts = found.facts(path)
            start = start_of(content[:HEAD])
            trailer = trailer_in(start, len(content), content[-TAIL:])
            assert trailer is not None
            assert bytes(start) + content[start.begin : start.end] + bytes(trailer) == content
            made = skeleton(facts, len(content))
            assert made is not None
            assert made.head + content[start.begin : start.end] + made.tail == content
            uid, guid, physical, virtual, _ = rows[int(facts["uid"])]
            assert (facts["uid"], facts["guid"], facts["size"], facts["vsize"]) == (uid, guid, physical, virtual)


def test_an_index_is_rebuilt_from_the_ends_alone() -> None:
    with host() as found:
        before = found.told(FIELDS)
        assert len(before) == 15
        for path in found.files():
            content, facts = found.facts(path)
            made = skeleton(facts, len(content))
            assert made is not None
            path.write_bytes(made.head + b"\0" * (made.size - len(made.head) - len(made.tail)) + made.tail)
        found.dovecot.stop()
        shutil.rmtree(found.directory / "index")
        owned(found.directory / "index")
        found.dovecot.start()
        found.dovecot.doveadm("force-resync", "-u", USER, "INBOX")
        assert found.told(FIELDS) == before


def test_compressed_mail_says_as_much() -> None:
    if installed().series != "2.3":
        pytest.skip("other settings")
    with host(COMPRESSED) as found:
        assert len(found.files()) == 15
        for path in found.files():
            content, facts = found.facts(path)
            assert content[46:48] == b"\x1f\x8b"
            assert facts["format"] == "sdbox"
            assert facts["subject"]
            assert facts["lines"] == "ZRVG"
            assert skeleton(facts, len(content)) is not None
