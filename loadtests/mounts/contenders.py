"""A Dovecot on ext4, on tierproxy's mount, on s3fs, on rclone, on bindfs: the same Dovecot, the same S3 server.

Each has a counting relay of its own in front of S3, a directory for its mail, and indexes on the local disk.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from served import Failed

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
    QueueSection,
    WriteSection,
)
from tierproxy.config.values import Duration, Share, Size
from tierproxy.dovecot.private import PrivateDovecot, installed, owned
from tierproxy.dovecot.private_config import OWNER
from tierproxy.dovecot.settings import Folders, Layout, Paths, mail_settings
from tierproxy.embedded import EmbeddedS3
from tierproxy.model import Ack
from tierproxy.testing.children import Mounted, Node, clean_environment, mount_command
from tierproxy.testing.imap import Imap, Lmtp
from tierproxy.testing.s3relay import Request, S3Relay

KEY, SECRET = "AKIDMOUNT", "mount-secret-of-the-bench"
BUCKET = "mail"
PASSWORD = "secret"
UPLOADED = 60.0  #: seconds until everything must be in S3


class Contender:
    """ext4, and what all others share. ``users``: names of mailboxes."""

    name = "ext4"
    keeps_bodies = False  #: has a local copy of bodies that ``evict`` takes away

    def __init__(self, home: Path, seaweed: EmbeddedS3, users: Sequence[str]) -> None:
        self.home = home / self.name.replace(" ", "-").replace(",", "")
        self.mail = self.home / "mail"
        self.mail.mkdir(parents=True)
        self.seaweed = seaweed
        self.bucket = self.home.name
        self.relay: S3Relay | None = None
        self.main = self._dovecot("main", Layout.MAIN, users)
        self.alt = self._dovecot("alt", Layout.ALT, users)

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def _dovecot(self, name: str, layout: Layout, users: Sequence[str]) -> PrivateDovecot:
        directory = self.home / name
        parts = ("index", "control", "home")
        owned(*(directory / part for part in parts))
        paths = Paths(mail=str(self.mail / name), **{part: str(directory / part) for part in parts})
        owner = str(OWNER)
        text = mail_settings(installed(), layout, paths, user=owner, group=owner, folders=Folders.FS)
        return PrivateDovecot(directory, text, dict.fromkeys(users, PASSWORD))

    @contextmanager
    def running(self) -> Iterator[None]:
        with ExitStack() as stack:
            self.attach(stack)
            for name in ("main", "alt"):
                self.make(self.mail / name)
            stack.enter_context(self.main)
            stack.enter_context(self.alt)
            yield

    def attach(self, stack: ExitStack) -> None:
        """Mount it."""

    def make(self, directory: Path) -> None:
        """A directory of the owner of all mail."""
        owned(directory)

    def settle(self) -> None:
        """Until everything that was answered is where it belongs."""

    def evict(self) -> None:
        """Take local copies of bodies away."""

    def plant(self, files: dict[str, bytes]) -> None:
        """Mail files by their path below ``mail``, not by way of Dovecot."""
        for path, content in files.items():
            target = self.mail / path
            if not target.parent.exists():
                owned(*reversed([one for one in target.parents if self.mail in one.parents and not one.exists()]))
            target.write_bytes(content)
            shutil.chown(target, OWNER, OWNER)

    def take(self) -> list[Request]:
        """Requests to S3 since the last ``take``."""
        return self.relay.take() if self.relay is not None else []

    def imap(self, user: str, dovecot: PrivateDovecot | None = None) -> Imap:
        return Imap((dovecot or self.main).ports.imap, user, PASSWORD)

    def lmtp(self, dovecot: PrivateDovecot | None = None) -> Lmtp:
        return Lmtp((dovecot or self.main).ports.lmtp)


class Bindfs(Contender):
    """A mount in C that hands everything through: what FUSE alone costs."""

    name = "bindfs"

    def attach(self, stack: ExitStack) -> None:
        (self.home / "below").mkdir()
        command = ["bindfs", "-f", "-o", "allow_other", str(self.home / "below"), str(self.mail)]
        stack.enter_context(Mounted(self.mail, self.home / "bindfs.log", command))


class OnS3(Contender):
    """With a bucket and a counting relay."""

    def attach(self, stack: ExitStack) -> None:
        self.seaweed.make_bucket(self.bucket)
        self.relay = stack.enter_context(S3Relay("127.0.0.1", self.seaweed.ports["s3"]))
        self.mount(stack, self.relay)

    def mount(self, stack: ExitStack, relay: S3Relay) -> None:
        raise NotImplementedError

    def plant(self, files: dict[str, bytes]) -> None:
        with closing(self.client()) as client:
            for path, content in files.items():
                client.put_object(Bucket=self.bucket, Key=path, Body=content)

    def client(self) -> Any:
        """boto3's, past the relay."""
        return s3_client(self.seaweed.section())


class S3fs(OnS3):
    """s3fs with its defaults: no cache of bodies."""

    name = "s3fs"

    def mount(self, stack: ExitStack, relay: S3Relay) -> None:
        (self.home / "tmp").mkdir()
        passwd = self.home / "passwd-s3fs"
        passwd.touch(0o600)
        passwd.write_text(f"{self.seaweed.access_key}:{self.seaweed.secret_key}\n")
        owner = f"allow_other,uid={OWNER},gid={OWNER},umask=077,mp_umask=077"
        server = f"url={relay.endpoint},use_path_request_style,sigv4,passwd_file={passwd}"
        command = ["s3fs", self.bucket, str(self.mail), "-f", "-o", f"{server},{owner},tmpdir={self.home}/tmp"]
        stack.enter_context(Mounted(self.mail, self.home / "s3fs.log", command))

    def make(self, directory: Path) -> None:
        as_owner("mkdir", "-p", str(directory))


class Rclone(OnS3):
    """rclone with a cache of bodies (--vfs-cache-mode full)."""

    name = "rclone"
    keeps_bodies = True

    def mount(self, stack: ExitStack, relay: S3Relay) -> None:
        config = self.home / "rclone.conf"
        config.write_text(
            f"[s3]\ntype = s3\nprovider = Other\nendpoint = {relay.endpoint}\nforce_path_style = true\n"
            f"access_key_id = {self.seaweed.access_key}\nsecret_access_key = {self.seaweed.secret_key}\n"
        )
        owner = ("--allow-other", "--uid", str(OWNER), "--gid", str(OWNER), "--umask", "077")
        cache = ("--vfs-cache-mode", "full", "--cache-dir", str(self.home / "cache"))
        command = ["rclone", "--config", str(config), "mount", f"s3:{self.bucket}", str(self.mail), *owner, *cache]
        self._mounted = stack.enter_context(Mounted(self.mail, self.home / "rclone.log", command))

    def make(self, directory: Path) -> None:
        as_owner("mkdir", "-p", str(directory))

    def settle(self) -> None:
        """It uploads five seconds after the last close, and says so to nobody."""
        deadline = time.monotonic() + UPLOADED
        while time.monotonic() < deadline:
            names = {str(path.relative_to(self.mail)) for path in self.mail.rglob("u.*") if path.is_file()}
            if names <= self._stored():
                return
            time.sleep(0.5)
        raise Failed("rclone does not upload")

    def _stored(self) -> set[str]:
        with closing(self.client()) as client:
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
            return {row["Key"] for page in pages for row in page.get("Contents", [])}

    def evict(self) -> None:
        """It has no command for that: it is started again with an empty cache."""
        self.settle()
        self._mounted.stop()
        shutil.rmtree(self.home / "cache", ignore_errors=True)
        self._mounted.start()


class Tierproxy(OnS3):
    """Node and mount."""

    name = "tierproxy"
    keeps_bodies = True
    ack = Ack.BOTH
    linger = 0.0  #: seconds until an upload begins
    node_kind: type[Node] = Node

    @property
    def socket(self) -> Path:
        return self.home / "s3.sock"

    def mount(self, stack: ExitStack, relay: S3Relay) -> None:
        self.node = self.node_kind(self.home / "node", self._config(relay))
        self.node.run("catalogue", "sync")
        stack.enter_context(self.node)
        owner = ("--uid", str(OWNER), "--gid", str(OWNER), "--scratch", str(self.home / "scratch"), "--keep-body", "0s")
        data = ("--data-dir", self.node.config.node.data_dir)
        command = self.mounting(f"unix:{self.socket}/{BUCKET}", *owner, *data)
        credentials = {"TIERPROXY_ACCESS_KEY_ID": KEY, "TIERPROXY_SECRET_ACCESS_KEY": SECRET}
        self.mounted = stack.enter_context(Mounted(self.mail, self.home / "mount.log", command, **credentials))

    def mounting(self, url: str, *options: str) -> list[str]:
        """The mount's command."""
        return mount_command(url, self.mail, *options)

    def _config(self, relay: S3Relay) -> Config:
        return Config(
            node=NodeSection(data_dir=str(self.home / "node" / "data"), shutdown_grace=Duration(5)),
            listen=ListenSection(address="127.0.0.1:0", unix_socket=str(self.socket)),
            admin=AdminSection(address="127.0.0.1:0"),
            alt=self.seaweed.section(endpoint=relay.endpoint),
            disk=DiskSection(max_bytes=Size(8 * 2**30), min_free=Share(bytes=2**30)),
            write=WriteSection(ack=self.ack),
            queue=QueueSection(linger=Duration(self.linger)),
            purge=PurgeSection(watch=Duration(0.1), max_objects_per_second=0),
            bucket=(BucketSection(name=BUCKET, alt_bucket=self.bucket, mail_metadata=True),),
            key=(KeySection(access_key_id=KEY, secret=SECRET),),
        )

    def make(self, directory: Path) -> None:
        as_owner("mkdir", "-p", str(directory))

    def settle(self) -> None:
        self.node.drained()

    def evict(self) -> None:
        self.settle()
        self.node.purge(f"{BUCKET}/")

    def client(self) -> Any:
        """Of the node: what is planted is written through it."""
        import boto3

        return boto3.client(
            "s3", endpoint_url=self.node.url, aws_access_key_id=KEY, aws_secret_access_key=SECRET,
            region_name="us-east-1",
        )  # fmt: skip

    def plant(self, files: dict[str, bytes]) -> None:
        with closing(self.client()) as client:
            for path, content in files.items():
                client.put_object(Bucket=BUCKET, Key=path, Body=content)


class AckBoth(Tierproxy):
    """New mail is on disk and in S3 when it is acknowledged."""

    name = "tierproxy, both"


class AckDisk(Tierproxy):
    """New mail is on disk when it is acknowledged, and goes to S3 behind that, as docs/operations.md advises."""

    name = "tierproxy, disk"
    ack = Ack.DISK
    linger = 0.2


def as_owner(*command: str) -> None:
    """Run it as the owner of all mail: these mounts show every file as that owner's, and let nobody change owners."""
    done = subprocess.run(
        command, check=False, capture_output=True, env=clean_environment(), timeout=60, user=OWNER, group=OWNER,
        extra_groups=[],
    )  # fmt: skip
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}: {done.stderr.decode(errors='replace')}")
