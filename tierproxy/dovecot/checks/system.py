"""Traps of the machine: Dovecot itself, systemd, FUSE, kernel."""

from __future__ import annotations

from collections.abc import Iterator

from tierproxy.dovecot.checks.finding import Said, Trap, fail, ok, warn
from tierproxy.dovecot.checks.situation import Situation
from tierproxy.dovecot.versions import Series

PASSTHROUGH = (6, 9)  #: the first kernel with FUSE passthrough
OLDEST = (5, 4)  #: the first with everything else that the mount asks of it
TESTED = {Series.V23: (2, 3, 19), Series.V24: (2, 4, 1)}
UNIT = "tierproxy-mount.service"
_ORDER = ("After", "Requires", "Wants", "BindsTo", "RequiresMountsFor")


def _version(now: Situation) -> Iterator[Said]:
    if now.dovecot is None:
        return
    version = now.dovecot.version
    if version.numbers < TESTED[version.series]:
        tested = ".".join(map(str, TESTED[version.series]))
        yield warn(f"Dovecot {version}", f"the oldest that was tested is {tested}: take your distribution's newest")
    else:
        yield ok(f"Dovecot {version}")


def _configuration(now: Situation) -> Iterator[Said]:
    if now.dovecot is None:
        yield fail(f"Dovecot's configuration cannot be read: {now.problem}", "doveconf -n must end without an error")
        return
    yield ok(f"Dovecot's configuration{f' {now.dovecot.source}' if now.dovecot.source else ''} can be read")


def _systemd(now: Situation) -> Iterator[Said]:
    if not now.host.there("/run/systemd/system"):
        yield warn("no systemd runs here", "see yourself that Dovecot starts after the mount")
        return
    dovecot = now.host.unit("dovecot.service", _ORDER)
    if not dovecot:
        yield warn("there is no dovecot.service", "see yourself that Dovecot starts after the mount")
    elif UNIT not in dovecot.get("After", "").split() and not _mounts_for(dovecot, now.root):
        yield fail(
            f"dovecot.service does not wait for {UNIT}",
            "`tierproxy dovecot setup` prints the drop-in for dovecot.service; then systemctl daemon-reload",
        )
    elif not any(UNIT in dovecot.get(kind, "").split() for kind in ("Requires", "Wants", "BindsTo")):
        yield warn(f"dovecot.service does not start {UNIT}", "add Requires= (layout alt: Wants=) to its drop-in")
    else:
        yield ok(f"dovecot.service starts after {UNIT}")


def _mounts_for(unit: dict[str, str], root: str) -> bool:
    return any(root.startswith(path.rstrip("/")) for path in unit.get("RequiresMountsFor", "").split())


def _fuse(now: Situation) -> Iterator[Said]:
    if not now.host.there("/dev/fuse"):
        yield fail(
            "there is no /dev/fuse", "modprobe fuse; in a container, give it the device /dev/fuse and CAP_SYS_ADMIN"
        )
    else:
        yield ok("/dev/fuse is there")


def _kernel(now: Situation) -> Iterator[Said]:
    found = now.host.kernel()
    if found is None:
        yield warn("the kernel's version is not known", "tierproxy mount needs Linux")
        return
    text = ".".join(map(str, found))
    if found < OLDEST:
        yield fail(f"Linux {text}", "tierproxy mount needs Linux 5.4 or newer")
    elif found < PASSTHROUGH:
        yield ok(f"Linux {text}, without FUSE passthrough (6.9): large mails are copied once more")
    else:
        yield ok(f"Linux {text}, with FUSE passthrough")


TRAPS = (
    Trap("dovecot-version", "2.3 and 2.4 name their settings differently.", _version),
    Trap("dovecot-configuration", "What doveconf cannot read, Dovecot does not start with.", _configuration),
    Trap("systemd", "Dovecot must start after the mount.", _systemd),
    Trap("fuse", "The mount speaks to /dev/fuse.", _fuse),
    Trap("kernel", "What FUSE can do.", _kernel),
)
