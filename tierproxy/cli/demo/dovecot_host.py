"""What the demo with Dovecot runs: an S3 server, a relay that counts, a node, a mount, a Dovecot. All on loopback, all
below one directory, everything stopped and unmounted at the end."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

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
from tierproxy.dovecot.private import PrivateDovecot, installed, owned, program
from tierproxy.dovecot.private_config import OWNER
from tierproxy.dovecot.settings import Folders, Layout, Paths, mail_settings
from tierproxy.embedded import EmbeddedS3, find_weed
from tierproxy.errors import ConfigError, TierproxyError
from tierproxy.testing.children import Mounted, Node, mount_command, take_away
from tierproxy.testing.imap import Imap, Lmtp
from tierproxy.testing.s3relay import S3Relay, counted

BUCKET = "mail"
KEY, SECRET = "demo", "demo-secret-of-a-private-node"
USER, PASSWORD = "alice", "wonderland"
PACKAGES = "dovecot-core dovecot-imapd dovecot-lmtpd dovecot-pop3d fuse3"
PROGRAMS = ("dovecot", "doveadm")
DEADLINE = "6s"  #: of the mount: how long a mail program waits when S3 is down
DIRECTORY = "PUT of a directory"
FAILED = "failed"  #: a file that says so
MIB = 2**20


def check_machine() -> None:
    """Raises ConfigError, which says what is missing and how to get it."""
    if os.geteuid() != 0:
        raise ConfigError("the demo with Dovecot mounts a file system and starts a Dovecot: run it as root")
    find_weed()
    missing = [name for name in PROGRAMS if not _there(name)]
    missing += [
        name for name in ("imap", "lmtp", "pop3") if not missing and not Path(f"/usr/lib/dovecot/{name}").exists()
    ]
    if missing:
        raise ConfigError(f"not installed: {', '.join(missing)}", hint=f"apt-get install {PACKAGES}")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        hint = "modprobe fuse; a container needs --device /dev/fuse --cap-add SYS_ADMIN"
        raise ConfigError("/dev/fuse cannot be used", hint=hint)


def _there(name: str) -> bool:
    with suppress(TierproxyError):
        return bool(program(name))
    return False


@dataclass(frozen=True, slots=True)
class Host:
    """All of it, running."""

    home: Path
    server: EmbeddedS3
    relay: S3Relay
    node: Node
    mount: Mounted
    dovecot: PrivateDovecot

    def imap(self) -> Imap:
        return Imap(self.dovecot.ports.imap, USER, PASSWORD)

    def lmtp(self) -> Lmtp:
        return Lmtp(self.dovecot.ports.lmtp)

    def requests(self) -> Counter[str]:
        """What S3 was asked for mail since the last call, once nothing goes on. Markers of directories are told apart;
        what a node asks about the bucket when it starts is left out."""
        if self.server.running and self.node.running:
            self.node.drained()
        taken = [one for one in self.relay.take() if one.key.startswith((f"{USER}/", "?delete"))]
        found = counted([one for one in taken if not one.key.endswith("/")])
        found[DIRECTORY] = sum(one.key.endswith("/") for one in taken)
        return +found

    @property
    def index(self) -> Path:
        """Dovecot's index files of the user."""
        return self.home / "index" / USER


@contextmanager
def directory(keep: bool) -> Iterator[Path]:
    """With a path that is short enough for unix sockets; removed at the end unless it is to be kept, or failed."""
    home = Path(tempfile.mkdtemp(prefix="tierproxy-demo-"))
    home.chmod(0o755)  # the owner of all mail passes through it
    try:
        yield home
    finally:
        take_away(home / "mail")
        if not keep and not (home / FAILED).exists():
            shutil.rmtree(home, ignore_errors=True)


@contextmanager
def running(home: Path) -> Iterator[Host]:
    """Started in order, stopped in the opposite one. Raises TierproxyError."""
    with ExitStack() as stack:
        server = stack.enter_context(EmbeddedS3(home / "s3"))
        server.make_bucket(BUCKET)
        relay = stack.enter_context(S3Relay("127.0.0.1", server.ports["s3"]))
        node = Node(home / "node", _config(home, server, relay))
        node.run("catalogue", "sync")
        stack.enter_context(node)
        mount = stack.enter_context(_mount(home))
        dovecot = stack.enter_context(_dovecot(home))
        yield Host(home, server, relay, node, mount, dovecot)


def _config(home: Path, server: EmbeddedS3, relay: S3Relay) -> Config:
    alt = server.section(
        endpoint=relay.endpoint, request_timeout=Duration(3), retry_timeout=Duration(2), max_retries=1
    )  # fmt: skip
    return Config(
        node=NodeSection(data_dir=str(home / "node" / "data"), shutdown_grace=Duration(5)),
        listen=ListenSection(address="127.0.0.1:0", unix_socket=str(home / "s3.sock")),
        admin=AdminSection(address="127.0.0.1:0"),
        alt=alt,
        disk=DiskSection(max_bytes=Size(512 * MIB), min_free=Share(bytes=64 * MIB)),
        purge=PurgeSection(watch=Duration(0.1), max_objects_per_second=0),
        bucket=(BucketSection(name=BUCKET, mail_metadata=True),),
        key=(KeySection(access_key_id=KEY, secret=SECRET),),
    )


def _mount(home: Path) -> Mounted:
    """Its mount point belongs to root, so that nobody can write where the mount is missing."""
    where = home / "mail"
    where.mkdir(mode=0o755)
    owner = ("--uid", str(OWNER), "--gid", str(OWNER))
    options = (*owner, "--deadline", DEADLINE, "--keep-body", "0s", "--scratch", str(home / "scratch"))
    url, data = f"unix:{home / 's3.sock'}:/{BUCKET}", str(home / "node" / "data")
    credentials = {"TIERPROXY_ACCESS_KEY_ID": KEY, "TIERPROXY_SECRET_ACCESS_KEY": SECRET}
    return Mounted(where, home / "mount.log", mount_command(url, where, *options, "--data-dir", data), **credentials)


def _dovecot(home: Path) -> PrivateDovecot:
    names = ("index", "control", "home")
    owned(*(home / name for name in names))
    paths = Paths(mail=str(home / "mail"), **{name: str(home / name) for name in names})
    owner = str(OWNER)
    settings = mail_settings(installed(), Layout.MAIN, paths, user=owner, group=owner, folders=Folders.FS)
    return PrivateDovecot(home / "dovecot", settings, {USER: PASSWORD})
