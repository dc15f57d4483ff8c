"""Traps of the mount and of the directory it is mounted on."""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath

from tierproxy.dovecot.checks.finding import Said, Trap, fail, ok, warn
from tierproxy.dovecot.checks.situation import Situation
from tierproxy.dovecot.host import Owned, Silent

_ELSEWHERE = (
    "take the other file system away, then `systemctl start tierproxy-mount`: on s3fs and rclone COPY and MOVE fail, "
    "two writers lose mail, and rclone makes no fsync durable"
)


def _there(now: Situation) -> Iterator[Said]:
    if now.mounted is not None:
        yield ok(f"{now.mounted.source or 'a tierproxy mount'} is mounted on {now.mounted.point}")
        return
    found = now.host.mount_of(now.root)
    if found is not None and found.kind.startswith("fuse"):
        yield fail(f"{now.root} is on {found.kind}, not on a mount of tierproxy", _ELSEWHERE)
    else:
        yield fail(f"nothing is mounted on {now.root}", "systemctl start tierproxy-mount (`tierproxy mount`)")


def _answers(now: Situation) -> Iterator[Said]:
    if now.mounted is None:
        return
    try:
        owner = now.host.answer_of(now.mounted.point)
    except Silent as error:
        yield fail(
            f"the mount does not answer: {error}",
            "see the log of tierproxy-mount; if its process is gone: umount -l, and start it again",
        )
    else:
        yield ok(f"its root belongs to {owner}")


def _one(now: Situation) -> Iterator[Said]:
    points = Counter(one.point for one in now.ours)
    stacked = [point for point, times in points.items() if times > 1]
    sources = Counter(source for source, _ in {(one.source, one.point) for one in now.ours})
    twice = [source for source, times in sources.items() if times > 1]
    for point in stacked:
        yield fail(f"{points[point]} mounts lie on {point} one over the other", f"umount {point} until one is left")
    for source in twice:
        yield warn(
            f"{source} is mounted {sources[source]} times",
            "let one Dovecot use a mailbox: two that deliver to it rebuild its index over and over",
        )
    if now.ours and not stacked and not twice:
        yield ok("one mount")


def _point(now: Situation) -> Iterator[Said]:
    at = now.mounted.point if now.mounted is not None else now.root
    owned = now.host.beneath(at) if now.mounted is not None else _seen(now, at)
    if owned is None and now.mounted is not None:
        yield warn(f"what is under the mount on {at} cannot be seen", "run this check as root")
        return
    yield from _directory(at, owned)
    yield from _parents(now, at)


def _seen(now: Situation, path: str) -> Owned | None:
    try:
        return now.host.owned(path)
    except OSError:
        return None


def _directory(at: str, owned: Owned | None) -> Iterator[Said]:
    if owned is None:
        yield fail(f"{at} is not there", f"install -d -o root -g root -m 0755 {at}")
    elif not owned.directory:
        yield fail(f"{at} is not a directory", f"a directory of root with mode 0755 belongs there: rm {at}")
    elif not owned.empty:
        yield fail(
            f"there are files in {at} under the mount",
            "mail was delivered while nothing was mounted: stop Dovecot and the mount, move what is there away, start "
            "both, and put it back by `tierproxy import sdbox`",
        )
    elif owned.uid != 0 or owned.mode & 0o7777 != 0o755:
        yield fail(
            f"{at} without the mount is {owned}",
            f"with nothing mounted: chown root:root {at}; chmod 0755 {at}. Where Dovecot may write there, it takes an "
            "unmounted directory for an empty mailbox, and the flags of all mails are gone",
        )
    else:
        yield ok(f"{at} belongs to root, 0755, and is empty without the mount")


def _parents(now: Situation, at: str) -> Iterator[Said]:
    """In a directory like /tmp, farther up, nobody can replace what is root's (chmod(2), S_ISVTX)."""
    uid, gid = now.mail_user or (65534, 65534)
    for steps, parent in enumerate(PurePosixPath(at).parents):
        owned = _seen(now, str(parent))
        sticky = owned is not None and bool(owned.mode & stat.S_ISVTX) and steps > 0
        if owned is not None and owned.writable_by(uid, gid) and not sticky:
            yield fail(
                f"{parent}, above the mount point, can be written by the mail user ({uid}:{gid}): it is {owned}",
                f"chown root:root {parent}; chmod 0755 {parent}; or mount somewhere else: Dovecot must not be able to "
                "make a missing mount point",
            )


def _options(now: Situation) -> Iterator[Said]:
    if now.mounted is None:
        return
    if "allow_other" not in now.mounted.options:
        yield fail(
            "the mount is for its own user alone (no allow_other)",
            "run `tierproxy mount` as root, or write user_allow_other into /etc/fuse.conf",
        )
    else:
        yield ok("other users may use the mount (allow_other)")
    if "ro" in now.mounted.options:
        yield fail("the mount is read-only", "mount it again without ro")


TRAPS = (
    Trap("mount", "Without the mount there is no mail.", _there),
    Trap("mount-answers", "A mount that hangs stops every process that touches it.", _answers),
    Trap("one-mount", "Two mounts are two writers.", _one),
    Trap("mount-point", "An unmounted directory that Dovecot may write to is taken for an empty mailbox.", _point),
    Trap("mount-options", "Dovecot is another user than the mount's process.", _options),
)
