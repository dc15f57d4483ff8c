"""Traps of how Dovecot reads and writes: owners, fsync, locks, caches."""

from __future__ import annotations

from collections.abc import Iterator

from tierproxy.dovecot.checks.finding import Said, Trap, fail, ok, warn
from tierproxy.dovecot.checks.situation import Situation
from tierproxy.dovecot.doveconf import Block
from tierproxy.dovecot.host import Owned, Silent
from tierproxy.dovecot.versions import Series

CACHED = ("date.save", "date.received")
MANY = 50  #: bodies asked for ahead, beyond which other users wait for one who scrolls


def _owner(now: Situation) -> Iterator[Said]:
    if now.dovecot is None:
        return
    user = now.mail_user
    named = now.top.get("mail_uid")
    if user is None:
        yield (
            fail(f"there is no user {named}", f"useradd --system --user-group --shell /usr/sbin/nologin {named}")
            if named
            else warn("mail_uid is not set: the user database says whose mail it is", "let it be one user for all")
        )
        return
    yield from _valid(now, *user)
    owner = _owner_of_mount(now)
    if owner is not None and (owner.uid, owner.gid) != user:
        yield fail(
            f"Dovecot writes as {user[0]}:{user[1]}, but the mount belongs to {owner}",
            f"give tierproxy mount --uid {user[0]} --gid {user[1]}, or set mail_uid and mail_gid",
        )
    elif owner is not None:
        yield ok(f"Dovecot writes as {user[0]}:{user[1]}, to whom the mount belongs")
    else:
        yield ok(f"Dovecot writes as {user[0]}:{user[1]}")


def _valid(now: Situation, uid: int, gid: int) -> Iterator[Said]:
    for kind, number in (("uid", uid), ("gid", gid)):
        first, last = (_number(now, f"{bound}_valid_{kind}") for bound in ("first", "last"))
        least = first if first is not None else {"uid": 500, "gid": 1}[kind]
        if number < least or (last and number > last):
            yield fail(
                f"mail_{kind} {number} is outside of first_valid_{kind} = {least} to last_valid_{kind} = {last or 0}",
                f"set first_valid_{kind} = {number}",
            )


_AS_GIVEN = {Series.V23: "%Lu", Series.V24: "%{user | lower}"}
"""What Dovecot makes of a name where nothing is said."""


def _number(now: Situation, name: str) -> int | None:
    text = now.top.get(name)
    return int(text) if text.isdigit() else None


def _owner_of_mount(now: Situation) -> Owned | None:
    if now.mounted is None:
        return None
    try:
        return now.host.answer_of(now.mounted.point)
    except Silent:  # which is a trap of its own
        return None


def _users(now: Situation) -> Iterator[Said]:
    for block in now.top.of_kind("userdb"):
        driver = block.get("driver") or block.name
        given = _given(block)
        if driver == "passwd" and "uid" not in given:
            yield fail(
                "userdb passwd: mail belongs to the users of the system, who may not use the mount",
                "use another user database (Debian: auth-passwdfile.conf.ext in 10-auth.conf), or let it say "
                f"override_fields = uid={now.top.get('mail_uid') or 'vmail'} gid=... home=... (2.4: fields {{ ... }})",
            )
        elif "mail" in given or "mail_path" in given:
            yield warn(
                f"userdb {driver} says where mail is, which wins over the mail location",
                "leave mail= out of it, or see that it names the mount, with INDEX and CONTROL elsewhere",
            )
        else:
            yield ok(f"userdb {driver}: must give no uid, gid and mail of its own")


def _names(now: Situation) -> Iterator[Said]:
    """Debian 13's 20-lmtp.conf takes the domain away, for users of the system."""
    login = now.top.get("auth_username_format") or _AS_GIVEN[now.series]
    for block in now.top.of_kind("protocol"):
        other = block.get("auth_username_format")
        if block.name == "lmtp" and other and other != login:
            yield warn(
                f"LMTP finds users by another name than logins do: auth_username_format is {other}, else {login}",
                "where users have a domain, mail goes to another mailbox than the one they see: put # before that line "
                "of 20-lmtp.conf",
            )


def _given(block: Block) -> set[str]:
    """Fields that a user database sets for everybody."""
    lines = " ".join(block.get(name) for name in ("override_fields", "default_fields", "args"))
    inner = {name for one in block.blocks if one.kind.endswith("fields") for name in one.values}
    return inner | {word.partition("=")[0] for word in lines.split() if "=" in word}


def _fsync(now: Situation) -> Iterator[Said]:
    if now.dovecot is None:
        return
    found = now.top.get("mail_fsync") or "optimized"
    if found != "never":
        yield ok(f"mail_fsync = {found}")
    elif any(not now.uses(place.path) for place in now.on_mount):
        yield fail(
            "mail_fsync = never: acknowledged mail on the local disk is lost with the power", "set it to optimized"
        )
    else:
        yield warn(
            "mail_fsync = never: mail is safe, but a crash damages indexes, and with them flags", "set optimized"
        )


def _prefetch(now: Situation) -> Iterator[Said]:
    if now.dovecot is None:
        return
    found = _number(now, "mail_prefetch_count") or 0
    if not found:
        yield warn("mail_prefetch_count = 0: bodies that are only in S3 come one after the other", "set it to 10")
    elif found > MANY:
        yield warn(f"mail_prefetch_count = {found}: one who scrolls fetches that many bodies at once", "set it to 10")
    else:
        yield ok(f"mail_prefetch_count = {found}")


def _cached(now: Situation) -> Iterator[Said]:
    if now.dovecot is None:
        return
    missing = [name for name in CACHED if name not in now.top.words("mail_always_cache_fields")]
    if missing:
        yield warn(
            f"{' and '.join(missing)} not in mail_always_cache_fields: a search by date opens each mail once",
            f"mail_always_cache_fields = {' '.join(CACHED)}",
        )
    else:
        yield ok("dates of mails are kept in the index")


def _locks(now: Situation) -> Iterator[Said]:
    if now.dovecot is None:
        return
    for name in ("mail_nfs_storage", "mail_nfs_index", "mmap_disable"):
        if now.top.true(name):
            yield warn(f"{name} = yes is for NFS: here it only costs time", f"{name} = no")
    if now.top.get("lock_method", "fcntl") == "dotlock":
        yield warn("lock_method = dotlock is for NFS", "lock_method = fcntl")
    if not now.top.true("mailbox_list_index", default=True):
        yield warn(
            "mailbox_list_index = no: STATUS opens each folder", "mailbox_list_index = yes (LAYOUT=index needs it)"
        )


TRAPS = (
    Trap("owner", "Mail belongs to one user, the mount's.", _owner),
    Trap("user-database", "What it says of a user wins over the configuration.", _users),
    Trap("user-names", "A user has one mailbox, whoever asks for it.", _names),
    Trap("fsync", "What is acknowledged is durable.", _fsync),
    Trap("prefetch", "Bodies come side by side.", _prefetch),
    Trap("cached-fields", "Dates are asked of the index, not of S3.", _cached),
    Trap("locks", "The mount is no NFS.", _locks),
)
