"""A machine made of files below a directory and of what its commands would answer; everything on it is right."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tierproxy.config.sections import BucketSection, Config
from tierproxy.dovecot.checks import NodeSeen, Situation
from tierproxy.dovecot.commands import Answer, Unrunnable
from tierproxy.dovecot.doveconf import parsed
from tierproxy.dovecot.host import Host
from tierproxy.dovecot.settings import Layout, mail_settings
from tierproxy.dovecot.versions import Series, Version, version_of

V23, V24 = version_of("2.3.19.1"), version_of("2.4.1")
HEADERS = {
    V23: "# 2.3.19.1 (9b53102964): /etc/dovecot/dovecot.conf\n# OS: Linux 6.1.0 x86_64 Debian 12.4 ext4\n",
    V24: "# 2.4.1-4 (7d8c0bc7f1): /etc/dovecot/dovecot.conf\ndovecot_config_version = 2.4.1\n",
}
NAMESPACE = """\
namespace inbox {
  inbox = yes
  location =
  mailbox Drafts {
    special_use = \\Drafts
  }
  prefix =
}
protocol lmtp {
  mail_plugins = " sieve"
}
"""
ROOT_FS = "27 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw"
MOUNT = "90 27 0:60 / /srv/mail rw,nosuid,nodev - fuse.tierproxy tierproxy:mail rw,allow_other"
UID, GID = 998, 997
UNIT = (
    "LoadState=loaded\nAfter=basic.target tierproxy-mount.service\nRequires=tierproxy-mount.service\nWants=\nBindsTo=\n"
)


def own_file(version: Version, directory: Path, lines: str) -> str:
    """A dovecot.conf of ``lines``, whose instance has its own ``directory`` and offers nothing. 2.4 wants to be told
    first which version it is for."""
    base = f"base_dir = {directory}/run\nssl = no\nprotocols =\n{lines}"
    if version.series is Series.V23:
        return base
    return f"dovecot_config_version = {version}\ndovecot_storage_version = {version}\n{base}"


@dataclass
class Machine:
    """``said``: what commands answer, by their first word; a command that is not there does not run."""

    root: Path
    mounts: list[str] = field(default_factory=lambda: [ROOT_FS, MOUNT])
    said: dict[str, Answer] = field(
        default_factory=lambda: {
            "timeout": Answer(f"{UID} {GID} 700\n"),
            "unshare": Answer("0 0 755\n"),
            "systemctl": Answer(UNIT),
            "getent": Answer("", status=2),
        }
    )
    ran: list[list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for directory in ("srv/mail", "etc", "dev", "run/systemd/system", "proc/self", "proc/sys/kernel"):
            (self.root / directory).mkdir(parents=True)
        self.write("etc/passwd", f"root:x:0:0:root:/root:/bin/sh\nvmail:x:{UID}:{GID}::/var/lib/vmail:/bin/false\n")
        self.write("etc/group", f"root:x:0:\nvmail:x:{GID}:\n")
        self.write("dev/fuse", "")
        self.write("proc/sys/kernel/osrelease", "6.12.9-amd64\n")
        for place in (self.root, self.root / "srv", self.root / "srv/mail"):
            place.chmod(0o755)

    def write(self, path: str, text: str) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def own(self, path: str, uid: int, mode: int) -> None:
        os.chown(self.root / path, uid, uid)
        (self.root / path).chmod(mode)

    def run(self, command: Sequence[str]) -> Answer:
        self.ran.append(list(command))
        if command[0] not in self.said:
            raise Unrunnable(f"{command[0]} does not run")
        return self.said[command[0]]

    def host(self) -> Host:
        self.write("proc/self/mountinfo", "\n".join(self.mounts) + "\n")
        return Host(self.root, self.run)


CONFIG = Config(bucket=(BucketSection(name="mail", mail_metadata=True),))


def printed(version: object = V23, layout: Layout = Layout.MAIN, **changed: str) -> str:
    """What doveconf prints of the settings for ``layout``, with lines changed, or taken away by an empty value. A name
    with a dash is no setting: its value is added as it is."""
    known = V23 if version == V23 else V24
    lines = mail_settings(known, layout).splitlines()
    extra = [value for name, value in changed.items() if name.startswith("block")]
    settings = {name: value for name, value in changed.items() if not name.startswith("block")}
    kept = [line for line in lines if line.partition(" =")[0] not in settings]
    new = [f"{name} = {value}" for name, value in settings.items() if value]
    return HEADERS[known] + "\n".join([*kept, *new]) + "\n" + NAMESPACE + "\n".join(extra)


def situation(machine: Machine, text: str | None = None, **changed: object) -> Situation:
    """Everything is right, but for what is ``changed``."""
    good = Situation(
        host=machine.host(), dovecot=parsed(printed() if text is None else text), config=CONFIG,
        node=NodeSeen("", {"mail": True}),
    )  # fmt: skip
    return replace(good, **changed)  # type: ignore[arg-type]
