"""A whole host: S3 behind a counting relay, a node, a mount, a Dovecot. Or a Dovecot on a plain directory, which shows
that a story is true of Dovecot itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import Any

from tierproxy.alt.client import s3_client
from tierproxy.config.operators import AdminSection
from tierproxy.config.sections import (
    BucketSection,
    Config,
    DiskSection,
    KeySection,
    ListenSection,
    NodeSection,
    PurgeSection,
)
from tierproxy.config.values import Duration, Share, Size
from tierproxy.dovecot.private import PrivateDovecot, installed, owned
from tierproxy.dovecot.private_config import OWNER
from tierproxy.dovecot.settings import Folders, Layout, Paths, mail_settings
from tierproxy.embedded import EmbeddedS3
from tierproxy.testing.children import Mounted, Node, mount_command, take_away
from tierproxy.testing.imap import Imap, Ledger, Letter, Lmtp, letter
from tierproxy.testing.mails import mail
from tierproxy.testing.s3relay import Request, S3Relay, counted

ROOT = "TEST_DOVECOT_ROOT"  #: name of a variable: the root directory of another Debian
BUCKET = "mail"
KEY, SECRET = "AKIDMOUNT", "mount-secret-for-tests"
USERS = {"u1": "one", "u2": "two"}
DEADLINE = 5.0  #: of the mount, in seconds; the node gives S3 up before, and takes a mail without it
MIB = 2**20
NAME = re.compile(r"u\.(\d+)$")


class Kind(StrEnum):
    """What mail is kept on."""

    PLAIN = "plain"
    MOUNT = "mount"


class Storage:
    """S3 behind a relay, a node and a mount: what a host has of tierproxy."""

    def __init__(
        self, home: Path, seaweed: EmbeddedS3, alt_bucket: str, relay: S3Relay, where: Path, keep_body: str
    ) -> None:
        self.home = home
        self.relay = relay
        self.alt_bucket = alt_bucket
        self.where = where
        self.seaweed = seaweed
        self.node = Node(home / "node", self._config())
        owner = ("--uid", str(OWNER), "--gid", str(OWNER))
        options = (*owner, "--deadline", f"{DEADLINE:g}s", "--scratch", str(home / "scratch"), "--keep-body", keep_body)
        command = mount_command(self.url, where, *options, "--data-dir", self.node.config.node.data_dir)
        self.mount = Mounted(where, home / "mount.log", command, **self._credentials())

    @property
    def url(self) -> str:
        return f"unix:{self.home / 's3.sock'}/{BUCKET}"

    def _credentials(self) -> dict[str, str]:
        return {"TIERPROXY_ACCESS_KEY_ID": KEY, "TIERPROXY_SECRET_ACCESS_KEY": SECRET}

    def _config(self) -> Config:
        return Config(
            node=NodeSection(data_dir=str(self.home / "node" / "data"), shutdown_grace=Duration(5)),
            listen=ListenSection(address="127.0.0.1:0", unix_socket=str(self.home / "s3.sock")),
            admin=AdminSection(address="127.0.0.1:0"),
            alt=self.seaweed.section(
                endpoint=self.relay.endpoint, request_timeout=Duration(1.5), retry_timeout=Duration(1), max_retries=1
            ),
            disk=DiskSection(max_bytes=Size(512 * MIB), min_free=Share(bytes=64 * MIB)),
            purge=PurgeSection(watch=Duration(0.1), max_objects_per_second=0),
            bucket=(BucketSection(name=BUCKET, alt_bucket=self.alt_bucket, mail_metadata=True),),
            key=(KeySection(access_key_id=KEY, secret=SECRET),),
        )

    def configure(self, **sections: object) -> None:
        """Other sections from the node's next start on."""
        self.node.config = replace(self.node.config, **sections)  # type: ignore[arg-type]
        self.node.write()

    def start(self) -> None:
        self.seaweed.make_bucket(self.alt_bucket)
        self.node.run("catalogue", "sync", "--heads")
        self.node.start()
        self.mount.start()

    def stop(self) -> None:
        try:
            self.mount.stop()
        finally:
            self.node.stop()

    def names(self) -> dict[str, int]:
        """Keys and sizes of everything that S3 has, asked past node and relay."""
        with self._direct() as client:
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.alt_bucket)
            return {row["Key"]: row["Size"] for page in pages for row in page.get("Contents", [])}

    def taken_away(self, key: str) -> dict[str, Any]:
        """Remove it from S3 behind the node's back. Returns what ``restore`` needs."""
        with self._direct() as client:
            found = client.get_object(Bucket=self.alt_bucket, Key=key)
            kept = {"Body": found["Body"].read(), "Metadata": found["Metadata"], "ContentType": found["ContentType"]}
            client.delete_object(Bucket=self.alt_bucket, Key=key)
        return {"Key": key, **kept}

    def restore(self, kept: dict[str, Any]) -> None:
        """Put it back as it was."""
        with self._direct() as client:
            client.put_object(Bucket=self.alt_bucket, **kept)

    def _direct(self) -> closing[Any]:
        return closing(s3_client(self.seaweed.section()))


@dataclass
class World:
    """``storage`` is None on a plain directory. ``expected``: patterns of lines of Dovecot's log that a story causes on
    purpose."""

    home: Path
    mail: Path
    layout: Layout
    dovecot: PrivateDovecot
    storage: Storage | None
    ledger: Ledger = field(default_factory=Ledger)
    expected: list[str] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    read: int = 0  #: up to here Dovecot's log has been looked at
    taken: list[Request] = field(default_factory=list)  #: requests of what was counted last

    @property
    def mounted(self) -> bool:
        return self.storage is not None

    def imap(self, user: str = "u1") -> Imap:
        return Imap(self.dovecot.ports.imap, user, self.dovecot.users[user])

    def lmtp(self) -> Lmtp:
        return Lmtp(self.dovecot.ports.lmtp)

    def letter(self, content: bytes | None = None) -> Letter:
        """A new one; by default real in form, of up to 64 KiB."""
        number = next(self.numbers)
        return letter(number, content if content is not None else small_mail(number))

    def deliver(
        self, how_many: int = 1, user: str = "u1", content: bytes | None = None, *, solid: bool = False
    ) -> list[Letter]:
        """By LMTP over one connection. ``solid``: larger than a stub."""
        letters = [self.letter(solid_mail(number) if solid else content) for number in range(how_many)]
        with self.lmtp() as session:
            for one in letters:
                session.deliver(user, one)
                self.ledger.add(user, "INBOX", one)
        return letters

    @contextmanager
    def costs(self, **requests: int) -> Iterator[Counter[str]]:
        """What is done meanwhile takes exactly these requests to S3: PUT=1, GET=2 ... ; on a plain directory it is just
        done. Yields the counter, which is filled at the end."""
        if self.storage is None:
            yield Counter()
            return
        with self.counts() as found:
            yield found
        assert dict(found) == {kind: number for kind, number in requests.items() if number}, told(self.taken)

    @contextmanager
    def counts(self) -> Iterator[Counter[str]]:
        """Requests to S3, by kind, of what is done meanwhile; filled at the end."""
        found: Counter[str] = Counter()
        if self.storage is not None:
            self.settle()
            self.storage.relay.take()
        yield found
        if self.storage is not None:
            self.settle()
            self.taken = self.storage.relay.take()
            found.update(counted(self.taken))

    def settle(self) -> None:
        """Until nothing goes on in the background."""
        if self.storage is not None and self.storage.node.running:
            self.storage.node.drained()

    def purge(self) -> None:
        """Everything that S3 has goes from the node's disk."""
        if self.storage is not None:
            self.settle()
            self.storage.node.purge(f"{BUCKET}/")

    def expect(self, *patterns: str) -> None:
        """Lines of Dovecot's log that this story causes on purpose."""
        self.expected += patterns

    def unexpected(self, since: int) -> list[str]:
        """Panics, errors and rebuilds in Dovecot's log that no story announced."""
        wanted = [re.compile(pattern) for pattern in self.expected]
        return [line for line in self.dovecot.complaints(since) if not any(one.search(line) for one in wanted)]

    def differences(self) -> list[str]:
        """What the ledger says of every mail of every user."""
        wrong: list[str] = []
        for user in self.ledger.users():
            with self.imap(user) as session:
                wrong += self.ledger.differences(session, user)
        return wrong

    def stored(self) -> list[str]:
        """Keys of mails in S3."""
        assert self.storage is not None
        return [key for key in self.storage.names() if NAME.search(key)]


def told(requests: Sequence[Request]) -> str:
    return "\n".join(["these requests reached S3:", *(f"{one.kind} {one.key} {one.status}" for one in requests)])


def small_mail(number: int) -> bytes:
    """The first real mail from this number on that is not large."""
    return next(
        found.content for one in count(number * 7) if len((found := mail(one, seed=5)).content) < 64 * 1024
    )  # fmt: skip


def solid_mail(number: int) -> bytes:
    """One that is more than its stub: of 20 to 64 KiB."""
    drawn = (mail(one, seed=6).content for one in count(number * 7))
    return next(content for content in drawn if 20 * 1024 < len(content) < 64 * 1024)


def tiny_mail(number: int) -> bytes:
    return (
        f"From: a@example.org\r\nTo: u1@example.org\r\nSubject: number {number}\r\n"
        f"Date: Mon, 06 Jan 2025 08:00:00 +0000\r\nMessage-ID: <{number}@example.org>\r\n\r\nBody of {number}.\r\n"
    ).encode()


@contextmanager
def short_directory() -> Iterator[Path]:
    """Removed at the end. Its path is short enough for unix sockets, and the owner of all mail may pass through it."""
    home = Path(tempfile.mkdtemp(prefix="tpd-"))
    home.chmod(0o755)
    if other_root() is not None:  # mounts below it reach the other Debian's namespaces
        subprocess.run(["mount", "--bind", str(home), str(home)], check=True)
        subprocess.run(["mount", "--make-shared", str(home)], check=True)
    try:
        yield home
    finally:
        take_away(home / "mail")
        take_away(home)
        shutil.rmtree(home, ignore_errors=True)


def other_root() -> Path | None:
    """Another Debian whose Dovecot is to be tested: see `make test-dovecot24`."""
    named = os.environ.get(ROOT)
    return Path(named) if named else None


@contextmanager
def world(
    kind: Kind,
    layout: Layout,
    seaweed: Callable[[], tuple[EmbeddedS3, str]],
    *,
    folders: Folders | None = None,
    more: str = "",
    prefetch: int = 10,
    keep_body: str = "30s",
    **sections: object,
) -> Iterator[World]:
    """A running one. ``seaweed``: an S3 server and a bucket that nobody else uses; ``keep_body``: of the mount;
    ``sections`` of the node's configuration."""
    with ExitStack() as stack:
        home = stack.enter_context(short_directory())
        where = home / "mail"
        where.mkdir(mode=0o755)
        storage = None
        if kind is Kind.MOUNT:
            server, bucket = seaweed()
            relay = stack.enter_context(S3Relay("127.0.0.1", server.ports["s3"]))
            storage = Storage(home, server, bucket, relay, where, keep_body)
            storage.configure(**sections)
            stack.callback(storage.stop)
            storage.start()
        else:
            owned(where)
        dovecot = private(home / "dovecot", where, layout, folders=folders, more=more, prefetch=prefetch)
        stack.enter_context(dovecot)
        yield World(home, where, layout, dovecot, storage)


def private(
    directory: Path, where: Path, layout: Layout, *, folders: Folders | None = None, more: str = "", prefetch: int = 10
) -> PrivateDovecot:
    """A Dovecot that keeps its mail at ``where``; everything else below ``directory``."""
    directory.mkdir(mode=0o755)
    names = ("index", "control", "home")
    owned(*(directory / name for name in names))
    paths = Paths(mail=str(where), **{name: str(directory / name) for name in names})
    owner = str(OWNER)
    version = installed(other_root())
    text = mail_settings(version, layout, paths, user=owner, group=owner, folders=folders, prefetch=prefetch)
    return PrivateDovecot(directory, text, USERS, more=more, root=other_root())


def check_clean(storage: Storage) -> str:
    """``tierproxy check --alt`` of a node that has ended."""
    with suppress(Exception):
        storage.mount.stop()
    storage.node.stop()
    return storage.node.run("check", "--alt")
