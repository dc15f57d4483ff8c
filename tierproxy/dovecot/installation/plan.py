"""Every step of an installation in the order in which it is done. Nothing here touches the machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from tierproxy.dovecot.installation import texts, units
from tierproxy.dovecot.installation.wish import Wish
from tierproxy.dovecot.settings import Layout

NOLOGIN = "/usr/sbin/nologin"
SYSTEMD = "/etc/systemd/system"


@dataclass(frozen=True, slots=True)
class File:
    """``kept``: when there is one already, whoever made it, it stays as it is."""

    path: str
    text: str
    about: str
    mode: int = 0o644
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Secret:
    """A file with a new random secret, unless there is one. Readable by root and the group ``group``."""

    path: str
    group: str
    about: str


@dataclass(frozen=True, slots=True)
class Directory:
    """The owner has a group of the same name. ``kept``: when there is one already, it stays as it is. ``point``: what
    may be mounted there, in which case nothing is done."""

    path: str
    owner: str
    mode: int
    about: str
    kept: bool = False
    point: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """Run by a shell's rules. ``unless_user``: only while there is no such user."""

    words: tuple[str, ...]
    about: str
    unless_user: str = ""


Step: TypeAlias = Command | Directory | Secret | File


@dataclass(frozen=True, slots=True)
class Plan:
    """``steps``: what --write does. ``after``: what is left to the operator, a command and why."""

    steps: tuple[Step, ...]
    after: tuple[Command, ...]


def planned(wish: Wish) -> Plan:
    """Everything that makes ``wish`` true on an empty host."""
    return Plan((*_users(wish), *_directories(wish), *_files(wish), *_reload(wish)), _after(wish))


def _users(wish: Wish) -> list[Step]:
    return [
        _user(wish.user, wish.paths.home, "owns all mail"),
        _user(wish.node_user, "/var/lib/tierproxy", "runs the node"),
    ]


def _user(name: str, home: str, about: str) -> Command:
    words = ("useradd", "--system", "--user-group", "--no-create-home", "--home-dir", home, "--shell", NOLOGIN, name)
    return Command(words, about, name)


def _directories(wish: Wish) -> list[Step]:
    paths, user = wish.paths, wish.user
    parent = paths.mail.rpartition("/")[0]
    about = "the mount point: without the mount Dovecot must not be able to write there"
    point = Directory(paths.mail, "root", 0o755, about, point=True)
    about = "above the mount point: nor there, so that it cannot make a mount point itself"
    above = [Directory(parent, "root", 0o755, about, kept=True)] if parent else []
    home = Directory(paths.home, user, 0o700, "homes" if wish.layout is not Layout.ALT else "homes, and mail not moved")
    own = [
        Directory(paths.index, user, 0o700, "indexes: flags are here and nowhere else, back them up"),
        Directory(paths.control, user, 0o700, "subscriptions, and which UIDVALIDITY was given out last"),
    ]
    return [*above, point, home, *([] if wish.layout is Layout.ALT else own)]


def _files(wish: Wish) -> list[Step]:
    found: list[Step] = [
        Directory(wish.config.rpartition("/")[0], "root", 0o755, "configuration of the node", kept=True),
        Secret(wish.secret, wish.node_user, "the secret the mount shows the node"),
        File(wish.config, texts.node_config(wish), "the node's configuration", kept=True),
        File(
            f"{wish.dovecot_directory}/conf.d/99-tierproxy.conf",
            texts.dovecot_settings(wish),
            "Dovecot's mail settings",
        ),
    ]
    if wish.systemd:
        found += [
            File(f"{SYSTEMD}/tierproxy.service", units.node_unit(wish), "the node"),
            File(f"{SYSTEMD}/tierproxy-mount.service", units.mount_unit(wish), "the mount"),
            Directory(f"{SYSTEMD}/dovecot.service.d", "root", 0o755, "added to dovecot.service", kept=True),
            File(f"{SYSTEMD}/dovecot.service.d/tierproxy.conf", units.dovecot_unit(wish), "Dovecot after the mount"),
        ]
    return found


def _reload(wish: Wish) -> list[Step]:
    return [Command(("systemctl", "daemon-reload"), "systemd reads the new units")] if wish.systemd else []


def _after(wish: Wish) -> tuple[Command, ...]:
    sync = ("runuser", "-u", wish.node_user, "--", wish.program, "catalogue", "sync", wish.bucket, "-c", wish.config)
    start = Command(("systemctl", "enable", "--now", "tierproxy", "tierproxy-mount"), "start both, now and at boot")
    return (
        Command((wish.program, "config", "check", "-c", wish.config), f"fill in [alt] of {wish.config}, then check it"),
        Command(sync, "only if there are objects in the bucket already: learn which, or each name is asked of S3"),
        *([start] if wish.systemd else []),
        Command(("systemctl", "restart", "dovecot"), "Dovecot with its new mail location"),
        Command((wish.program, "dovecot", "check", "-c", wish.config), "every trap once more"),
    )
