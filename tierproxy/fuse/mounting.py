"""mount(2) and umount2(2), or fusermount3 for those who may not; and what is mounted (proc_pid_mountinfo(5))."""

from __future__ import annotations

import array
import ctypes
import os
import re
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tierproxy.errors import ConfigError

DEVICE = "/dev/fuse"
FUSERMOUNT = "fusermount3"
COMMAND_FD = "_FUSE_COMMFD"  #: environment variable by which fusermount3 is told where to send the descriptor
MS_NOSUID, MS_NODEV = 2, 4
MNT_FORCE, MNT_DETACH = 1, 2
TABLE = Path("/proc/self/mountinfo")
_OCTAL = re.compile(r"\\([0-7]{3})")


class CannotMount(ConfigError):
    """The file system could not be mounted."""


@dataclass(frozen=True, slots=True)
class MountOptions:
    """``name``: the file system's, as ``mount`` shows it (fuse.NAME). ``source``: what it shows as device.
    ``allow_other``: others than the mounting user may use it; the kernel checks permissions by mode and owner."""

    name: str = "tierproxy"
    source: str = "tierproxy"
    allow_other: bool = True
    default_permissions: bool = True
    max_read: int = 1 << 20

    def words(self) -> list[str]:
        """Those that mount(2) and fusermount3 both know."""
        flags = ("allow_other", self.allow_other), ("default_permissions", self.default_permissions)
        return [word for word, wanted in flags if wanted] + [f"max_read={self.max_read}"]


@dataclass(frozen=True, slots=True)
class Mounted:
    """A line of mountinfo. ``kind``: the type of the file system, as in fuse.tierproxy."""

    point: str
    kind: str
    source: str


def mounted(point: Path) -> list[Mounted]:
    """What is mounted at ``point``, the undermost first. Asks only /proc: a dead mount is found too."""
    return [one for one in _table(TABLE.read_text()) if one.point == str(point)]


def _table(text: str) -> list[Mounted]:
    found = []
    for line in text.splitlines():
        fields = line.split(" ")
        kind, source = fields[fields.index("-") + 1 :][:2]
        found.append(Mounted(_plain(fields[4]), kind, _plain(source)))
    return found


def _plain(text: str) -> str:
    return _OCTAL.sub(lambda found: chr(int(found[1], 8)), text)


def mount(point: Path, options: MountOptions) -> int:
    """Mount at ``point``, an absolute path without symbolic links. Blocking. Returns the descriptor of /dev/fuse, which
    does not block. Raises CannotMount."""
    return _by_root(point, options) if os.geteuid() == 0 else _by_fusermount(point, options)


def unmount(point: Path, *, lazily: bool = False, force: bool = False) -> None:
    """Blocking. ``lazily``: gone from the tree, open files go on. ``force``: whoever waits for it is answered ENOTCONN.
    Raises OSError: EBUSY, EINVAL (nothing is mounted there)."""
    if os.geteuid() != 0:
        _fusermount(["-u", *(["-z"] if lazily else []), "--", str(point)])
        return
    flags = (MNT_DETACH if lazily else 0) | (MNT_FORCE if force else 0)
    _checked(_libc().umount2(os.fsencode(point), flags))


def _by_root(point: Path, options: MountOptions) -> int:
    try:
        fd = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise CannotMount(f"{DEVICE}: {error.strerror}", hint="load the module: modprobe fuse") from error
    words = [f"fd={fd}", "rootmode=40000", f"user_id={os.getuid()}", f"group_id={os.getgid()}", *options.words()]
    arguments = (os.fsencode(options.source), os.fsencode(point), f"fuse.{options.name}".encode())
    try:
        _checked(_libc().mount(*arguments, MS_NOSUID | MS_NODEV, ",".join(words).encode()))
    except OSError as error:
        os.close(fd)
        hint = "a container needs CAP_SYS_ADMIN and /dev/fuse" if isinstance(error, PermissionError) else ""
        raise CannotMount(f"mounting at {point}: {error.strerror}", hint=hint) from error
    return fd


def _by_fusermount(point: Path, options: MountOptions) -> int:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        words = ",".join([*options.words(), f"fsname={options.source}", f"subtype={options.name}", "nosuid", "nodev"])
        environment = {"PATH": os.defpath, COMMAND_FD: str(theirs.fileno())}
        try:
            _fusermount(["-o", words, "--", str(point)], environment, theirs.fileno())
        except OSError as error:
            raise CannotMount(
                f"mounting at {point}: {error.strerror}",
                hint="run as root; or install fuse3 and write user_allow_other into /etc/fuse.conf",
            ) from error
        fd = _received(ours)
    os.set_blocking(fd, False)
    return fd


def _fusermount(arguments: list[str], environment: dict[str, str] | None = None, passed: int | None = None) -> None:
    """Raises OSError with what it says."""
    done = subprocess.run(  # noqa: S603 -- a fixed program, arguments without a shell
        [FUSERMOUNT, *arguments], env=environment, pass_fds=() if passed is None else (passed,), capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise OSError(done.returncode, done.stderr.strip().removeprefix(f"{FUSERMOUNT}: "))


def _received(sock: socket.socket) -> int:
    """The descriptor that fusermount3 sends (unix(7), SCM_RIGHTS)."""
    fds = array.array("i")
    _, control, _, _ = sock.recvmsg(1, socket.CMSG_SPACE(fds.itemsize))
    for level, kind, data in control:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: fds.itemsize])
    if not fds:
        raise CannotMount(f"{FUSERMOUNT} sent no descriptor")
    os.set_inheritable(fds[0], False)
    return fds[0]


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
