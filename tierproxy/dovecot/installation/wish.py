"""What an operator wants."""

from __future__ import annotations

from dataclasses import dataclass, field

from tierproxy.dovecot.settings import BY_LAYOUT, Folders, Layout, Paths
from tierproxy.dovecot.versions import Version

REGION = "us-east-1"  #: what nodes and mounts take when nothing is said


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """``user`` owns all mail, ``node_user`` runs the node; both are made when they are not there. ``uid`` and ``gid``:
    numbers of ``user``, None before it is there. ``program``: the tierproxy that services start. ``dovecot_directory``:
    where dovecot.conf is. ``config``: the node's configuration file; ``socket`` and ``region`` are of its [listen],
    ``data`` is its data directory."""

    version: Version
    layout: Layout = Layout.MAIN
    folders: Folders | None = None
    paths: Paths = field(default_factory=Paths)
    user: str = "vmail"
    uid: int | None = None
    gid: int | None = None
    node_user: str = "tierproxy"
    bucket: str = "mail"
    program: str = "/opt/tierproxy/bin/tierproxy"
    config: str = "/etc/tierproxy/tierproxy.toml"
    dovecot_directory: str = "/etc/dovecot"
    socket: str = "/run/tierproxy/s3.sock"
    data: str = "/var/lib/tierproxy"
    region: str = REGION
    access_key_id: str = "dovecot"
    systemd: bool = True

    @property
    def shape(self) -> Folders:
        """How folders become directories."""
        return self.folders or BY_LAYOUT[self.layout]

    @property
    def secret(self) -> str:
        """The file with the secret that the mount shows the node."""
        return self.config.rpartition("/")[0] + "/mount.secret"
