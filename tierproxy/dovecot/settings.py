"""The mail part of Dovecot's configuration for a mount, in the words of 2.3 and of 2.4.

Three ways to keep mail on the mount:

* ``main``: every mail is a file of the mount; indexes and control files stay on a local disk.
* ``alt``: new mail is on Dovecot's own disk; ``doveadm altmove`` moves it to the mount.
* ``maildir``: as main, in Maildir's format.

Sources: Dovecot 2.3 manual, "Mail location settings"; Dovecot 2.4 manual, "Mail Location Settings" and "dbox".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from tierproxy.dovecot.versions import Series, Version

USER = {Series.V23: "%u", Series.V24: "%{user}"}
"""How Dovecot writes the full name of a user, ``alice@example.org``."""


class Layout(StrEnum):
    """Where mail is."""

    MAIN = "main"
    ALT = "alt"
    MAILDIR = "maildir"


class Folders(StrEnum):
    """How folders become directories (LAYOUT=, mailbox_list_layout)."""

    INDEX = "index"
    FS = "fs"
    MAILDIRPP = "maildir++"


BY_LAYOUT = {Layout.MAIN: Folders.FS, Layout.ALT: Folders.FS, Layout.MAILDIR: Folders.MAILDIRPP}
"""What ``mail_settings`` takes where nothing is said. docs/decisions/0026-folders-by-name.md says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Directories that hold one directory per user. ``mail`` is the mount (or a directory of it); all others are on a
    local disk. ``home``: of layout alt also the mail that has not been moved. ``index`` and ``control`` are not used
    by layout alt, which keeps them beside that mail."""

    mail: str = "/srv/mail"
    index: str = "/var/lib/dovecot/index"
    control: str = "/var/lib/dovecot/control"
    home: str = "/var/lib/vmail"


class Setting(NamedTuple):
    """One line. ``why``: for the reader of the file; "" continues what is above."""

    name: str
    value: str
    why: str = ""


_FOLDERS = {
    Folders.INDEX: "a folder is a number: renaming one moves no mail, but names of folders are in the index alone",
    Folders.FS: "a folder has its name in S3, too, and comes back with it; renaming one copies each of its mails there",
    Folders.MAILDIRPP: "a folder is one directory with a dot before its name",
}
_COMMON = (
    Setting("mail_fsync", "optimized", "a mail is durable before the MTA is told so; never would break that promise"),
    Setting(
        "mail_always_cache_fields",
        "date.save date.received",
        "dates stay in the index: sorting, SINCE and altmove's savedbefore open no mail",
    ),
    Setting("mailbox_list_index", "yes", "STATUS and LIST are answered from one index"),
    Setting("mmap_disable", "no", "indexes are on a real local file system, where mmap and fcntl locks are fast"),
    Setting("lock_method", "fcntl"),
    Setting("mail_nfs_storage", "no", "the mount sees its own changes at once: no NFS work-arounds"),
    Setting("mail_nfs_index", "no"),
)


def mail_settings(
    version: Version,
    layout: Layout,
    paths: Paths | None = None,
    *,
    user: str = "vmail",
    group: str = "",
    folders: Folders | None = None,
    prefetch: int = 10,
) -> str:
    """The lines, each with the reason before it, ending in a newline. ``user`` and ``group`` own all mail: names or
    numbers; without ``group`` that of the same name. ``prefetch``: bodies Dovecot asks for ahead."""
    lines = _settings(version.series, layout, paths or Paths(), folders or BY_LAYOUT[layout])
    owner = _owner(user, group or user)
    ahead = Setting("mail_prefetch_count", str(prefetch), "bodies that are only in S3 come side by side, not in turn")
    return rendered([*lines, *owner, ahead, *_COMMON])


def rendered(settings: Sequence[Setting]) -> str:
    """Lines of dovecot.conf."""
    return "".join(_lines(settings))


def _lines(settings: Sequence[Setting]) -> Iterator[str]:
    for name, value, why in settings:
        yield from (f"# {line}\n" for line in why.splitlines())
        yield f"{name} = {value}".rstrip() + "\n"


def _owner(user: str, group: str) -> list[Setting]:
    return [
        Setting("mail_uid", user, "all mail belongs to one user, the --uid and --gid of the mount"),
        Setting("mail_gid", group),
    ]


def _settings(series: Series, layout: Layout, paths: Paths, folders: Folders) -> list[Setting]:
    build = _in_words_of_23 if series is Series.V23 else _in_words_of_24
    user = USER[series]
    home = Setting(
        "mail_home", f"{paths.home}/{user}", "a user's home is on a local disk, and is not the mail directory"
    )
    return [home, *build(layout, paths, folders)]


def _in_words_of_23(layout: Layout, paths: Paths, folders: Folders) -> list[Setting]:
    shape = "" if folders is _implied(layout) else f":LAYOUT={folders}"
    if layout is Layout.ALT:
        return [Setting("mail_location", f"sdbox:~/sdbox{shape}:ALT={paths.mail}/%u", _why(layout, folders))]
    local = f":INDEX={paths.index}/%u:CONTROL={paths.control}/%u"
    return [Setting("mail_location", f"{_format(layout)}:{paths.mail}/%u{shape}{local}", _why(layout, folders))]


def _in_words_of_24(layout: Layout, paths: Paths, folders: Folders) -> list[Setting]:
    user = USER[Series.V24]
    shape = Setting("mailbox_list_layout", folders, _FOLDERS[folders])
    inbox = Setting("mail_inbox_path", "", "INBOX is a folder like all others, not a file in /var/mail")
    driver = Setting("mail_driver", _format(layout), _WHERE[layout])
    if layout is Layout.ALT:
        return [driver, Setting("mail_path", "~/sdbox"), Setting("mail_alt_path", f"{paths.mail}/{user}"), inbox, shape]
    return [
        driver,
        Setting("mail_path", f"{paths.mail}/{user}"),
        Setting("mail_index_path", f"{paths.index}/{user}", "indexes and control files never go to the mount"),
        Setting("mail_control_path", f"{paths.control}/{user}"),
        inbox,
        shape,
    ]


_WHERE = {
    Layout.MAIN: "one file per mail, never changed once it is there, on the mount",
    Layout.ALT: "new mail on the local disk; what doveadm altmove moved is on the mount (ALT)",
    Layout.MAILDIR: "one file per mail on the mount; each change of a flag renames it (a copy and a delete in S3)",
}


def _why(layout: Layout, folders: Folders) -> str:
    local = "" if layout is Layout.ALT else "; indexes and control files are not"
    return f"{_WHERE[layout]}{local}\nLAYOUT={folders}: {_FOLDERS[folders]}"


def _format(layout: Layout) -> str:
    return "maildir" if layout is Layout.MAILDIR else "sdbox"


def _implied(layout: Layout) -> Folders:
    """What Dovecot takes where nothing is said."""
    return Folders.MAILDIRPP if layout is Layout.MAILDIR else Folders.FS
