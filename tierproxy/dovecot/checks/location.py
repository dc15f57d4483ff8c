"""Traps of where Dovecot keeps what."""

from __future__ import annotations

from collections.abc import Iterator

from tierproxy.dovecot.checks.finding import Said, Trap, fail, ok, warn
from tierproxy.dovecot.checks.situation import Situation
from tierproxy.dovecot.doveconf import Block
from tierproxy.dovecot.places import Place, fixed_part
from tierproxy.dovecot.settings import Folders
from tierproxy.dovecot.versions import Series

LOCAL = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "jfs", "reiserfs"})
"""File systems with fcntl locks, shared mmap, hard links and an fsync that tells the truth."""
FLEETING = frozenset({"tmpfs", "ramfs", "overlay", "aufs"})
"""The same, but what is on them goes with the machine or its container."""

_SETUP = "`tierproxy dovecot setup` prints the line"


def _location(now: Situation) -> Iterator[Said]:
    if now.dovecot is None:
        return
    if not now.places or not any(place.path for place in now.places):
        yield fail("Dovecot's mail location is empty", f"say where mail is: {_SETUP}")
    elif not now.on_mount:
        said = ", ".join(f"{place.where}: {place.driver}:{place.path}" for place in now.places)
        yield fail(f"no mail is on {now.root} ({said})", f"put it there: {_SETUP}")
    for place in now.places if now.on_mount else []:
        if place not in now.on_mount:
            yield warn(f"{place.where}: {place.driver}:{place.path} is not on {now.root}", "its mail is not in S3")
    for place in now.on_mount:
        used = "all mail" if now.uses(place.path) else "mail that doveadm altmove moved (ALT)"
        yield ok(f"{place.where}: {used} is on {now.root}")
        path = place.path if now.uses(place.path) else place.alt
        if "%" not in path:
            yield fail(f"{path} is the same for all users", f"end it in the user's name: {_SETUP}")


def _format(now: Situation) -> Iterator[Said]:
    for place in now.on_mount:
        if place.driver in {"sdbox", "dbox"}:
            yield ok(f"{place.where}: sdbox, one file per mail that never changes")
        elif place.driver == "maildir":
            yield warn(
                f"{place.where}: maildir works, but each change of a flag is a rename: a copy and a delete in S3",
                "use sdbox; `tierproxy import maildir` brings mail over",
            )
        else:
            yield fail(
                f"{place.where}: {place.driver or 'no format'} does not work on the mount"
                + (
                    ": mdbox appends to its files, each delivery would move megabytes"
                    if place.driver == "mdbox"
                    else ""
                ),
                "use sdbox",
            )


def _index(now: Situation) -> Iterator[Said]:
    for place in now.on_mount:
        yield from _kept_local(now, place, "index", place.index)


def _control(now: Situation) -> Iterator[Said]:
    for place in now.on_mount:
        yield from _kept_local(now, place, "control", place.control)


def _kept_local(now: Situation, place: Place, kind: str, said: str) -> Iterator[Said]:
    path = said or place.path  # where nothing is said they are beside the mail
    setting = {"index": ("INDEX=", "mail_index_path"), "control": ("CONTROL=", "mail_control_path")}[kind]
    name = setting[now.series is Series.V24]
    if now.uses(path):
        yield fail(
            f"{place.where}: {kind} files are on the mount, which refuses them",
            f"set {name} to a directory of a local disk: {_SETUP}",
        )
    elif path.upper() == "MEMORY":
        yield fail(f"{place.where}: {kind} files are in memory", f"set {name}: flags and UIDs exist nowhere else")
    elif not fixed_part(path):
        yield warn(
            f"{place.where}: {kind} files are in {path or 'the home'}, which the user database knows",
            f"see that every user's home is on a local disk and not on {now.root}, or set {name}",
        )
    else:
        yield _file_system(now, place, kind, fixed_part(path))


def _file_system(now: Situation, place: Place, kind: str, path: str) -> Said:
    mounted = now.host.mount_of(path)
    found = mounted.kind if mounted is not None else "a file system nobody knows"
    if found in LOCAL:
        return ok(f"{place.where}: {kind} files are in {path}, on {found}")
    if found in FLEETING:
        return warn(
            f"{place.where}: {kind} files are in {path}, on {found}",
            "what is there goes with the machine or its container: flags are in the index alone. Use a real disk",
        )
    return fail(
        f"{place.where}: {kind} files are in {path}, on {found}",
        "use a local disk: indexes need fcntl locks, shared mmap and hard links",
    )


def _folders(now: Situation) -> Iterator[Said]:
    for place in now.on_mount:
        if place.folders == Folders.INDEX:
            yield warn(
                f"{place.where}: folders by number (LAYOUT=index): their names, INBOX's too, are in the index alone",
                "back up indexes (docs/dovecot.md): without them mail comes back in folders called "
                "recovered-lost-folder-..., and purge rules never know folders. LAYOUT=fs has neither trouble; the way "
                "there is doveadm backup, never a change over mail that is there",
            )
        elif place.driver != "maildir":
            yield ok(
                f"{place.where}: folders by name (LAYOUT={place.folders}): they come back from S3 alone; renaming one "
                "copies each of its mails in S3"
            )


def _home(now: Situation) -> Iterator[Said]:
    home = now.top.get("mail_home")
    if now.uses(home):
        yield fail(
            f"homes are on the mount ({home})",
            "put them on a local disk: Sieve scripts and other dot files do not last on the mount",
        )
    elif home:
        yield ok(f"homes are in {home}")


def _attachments(now: Situation) -> Iterator[Said]:
    for name in ("mail_attachment_dir", "mail_ext_attachment_path"):
        path = now.top.get(name)
        if path:
            kept = "on the mount" if now.uses(path) else f"in {path}, and not in S3"
            yield warn(
                f"{name}: attachments are kept {kept}",
                "leave it empty: mails are then whole, their metadata is right, and S3 has all of them",
            )


_REWRITE = {
    "zlib": ("zlib_save", "mails are compressed before they reach the mount"),
    "mail_compress": ("mail_compress_write_method", "mails are compressed before they reach the mount"),
    "mail_crypt": ("mail_crypt_save_version", "mails are encrypted before they reach the mount"),
}


def _plugins(now: Situation) -> Iterator[Said]:
    plugins = {word for block in (now.top, *now.top.of_kind("protocol")) for word in block.words("mail_plugins")}
    settings = {**now.top.values, **_plugin_settings(now.top)}
    for plugin, (setting, what) in _REWRITE.items():
        if plugin in plugins and settings.get(setting, "") not in {"", "0", "no"}:
            yield warn(
                f"{plugin}: {what}",
                "it works, but subject, sender and sizes are not seen: objects get no mail metadata but size and GUID",
            )
    if "replication" in plugins or settings.get("mail_replica"):
        yield warn(
            f"replication to {settings.get('mail_replica') or 'another server'}",
            "its partner must keep its mail somewhere else: two servers must not share a bucket's mailboxes",
        )


def _plugin_settings(top: Block) -> dict[str, str]:
    return {name: value for block in top.of_kind("plugin") for name, value in block.values.items()}


def _alt(now: Situation) -> Iterator[Said]:
    for place in now.on_mount:
        if now.uses(place.path) or not now.uses(place.alt):
            continue
        yield warn(
            f"{place.where}: layout alt; new mail is not in S3 before doveadm altmove moves it",
            "back up the local disk until then, or use layout main",
        )
        yield warn(
            f"{place.where}: an expunge removes one copy: a mail in both places comes back on force-resync",
            "never copy mail to the mount but by doveadm altmove",
        )
        yield warn(
            f"{place.where}: doveadm altmove locks a mailbox until its last mail is moved",
            "move small batches often: for example `doveadm altmove -A mailbox '*' savedbefore 30d` every hour",
        )


TRAPS = (
    Trap("mail-location", "Mail is where Dovecot is told to keep it.", _location),
    Trap("mail-format", "Only files that never change fit objects.", _format),
    Trap("index", "Flags exist in the index alone, and it needs a real local file system.", _index),
    Trap("control", "Subscriptions and the like need a real local file system.", _control),
    Trap("folders", "What renaming a folder costs, and where its name is.", _folders),
    Trap("home", "Dot files are scratch on the mount.", _home),
    Trap("attachments", "A mail without its attachments is not a whole mail.", _attachments),
    Trap("plugins", "What changes mails before they are stored, or stores them twice.", _plugins),
    Trap("alt-layout", "What Dovecot itself does with two tiers.", _alt),
)
