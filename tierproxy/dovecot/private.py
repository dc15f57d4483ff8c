"""A Dovecot of one's own: for tests, the demo and benchmarks, beside whatever Dovecot the machine runs.

with PrivateDovecot(directory, mail, {"alice": "secret"}) as dovecot:
    smtplib.LMTP("127.0.0.1", dovecot.ports.lmtp) ...

Everything it has is below its directory; it listens on loopback, on ports the system chose. Everything here blocks.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tierproxy.clock import SystemClock
from tierproxy.dovecot.private_config import OWNER, Places, Ports, configuration, passwd_file
from tierproxy.dovecot.versions import SBIN, Version, run, version_of
from tierproxy.errors import ConfigError, TierproxyError
from tierproxy.ports import Clock

LONGEST = 70  #: bytes of a directory's path, so that the sockets below it have less than 108
GREETINGS = {"imap": b"* OK", "pop3": b"+OK", "lmtp": b"220 "}
SEVERE = re.compile(
    r"(?:Panic|Fatal|Error): |Rebuilding|rebuilding|Unexpectedly lost|[Cc]orrupted|killed with signal|Raw backtrace"
)
REBUILD = re.compile(r"[Rr]ebuilding index|Rebuilding|Unexpectedly lost")


class DovecotFailed(TierproxyError):
    """A private Dovecot did not do what was asked."""


class PrivateDovecot:
    """One instance. ``mail``: the lines of ``tierproxy.dovecot.settings.mail_settings``; ``users``: names and
    passwords; ``more``: further lines of configuration; ``root``: see ``inside``. Must be started by root, as Dovecot
    drops privileges itself.

    It ends at ``stop``, at the interpreter's exit and as a context manager: every process, by its number.
    """

    def __init__(
        self, directory: Path, mail: str, users: Mapping[str, str], *, more: str = "", root: Path | None = None,
        clock: Clock | None = None, start_timeout: float = 20.0, stop_timeout: float = 10.0,
    ) -> None:  # fmt: skip
        self.places = Places(directory.resolve())
        self.users = dict(users)
        self.mail = mail
        self.more = more
        self.root = root
        self.version = installed(root)
        self._clock = clock or SystemClock()
        self._start_timeout = start_timeout
        self._stop_timeout = stop_timeout
        self._held = [_reserved() for _ in range(3)]
        self.ports = Ports(*(one.getsockname()[1] for one in self._held))
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<PrivateDovecot {self.version} {self.places.directory} {'running' if self.running else 'stopped'}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Returns when IMAP, POP3 and LMTP answer. Raises ConfigError, DovecotFailed with what its log says."""
        if self.running:
            return
        self._prepare()
        command = inside(self.root, [program("dovecot", self.root), "-F", "-c", str(self.places.config)])
        with self.places.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 -- a fixed program with our own arguments
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_environment(), start_new_session=True
            )
        atexit.register(self.stop)
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """SIGTERM; what has not ended after the set time is killed. Idempotent; ``start`` starts it again."""
        process, self._process = self._process, None
        atexit.unregister(self.stop)
        if process is None:
            return
        with _watched(process.pid) as children:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(self._stop_timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for child in children:
                _end(child, self._stop_timeout)

    def close(self) -> None:
        """``stop`` for good: the ports are given back."""
        self.stop()
        for one in self._held:
            one.close()

    def doveadm(self, *words: str, check: bool = True, seconds: float = 60.0) -> str:
        """What ``doveadm`` writes. Raises DovecotFailed if it fails, unless ``check`` is False."""
        command = inside(self.root, [program("doveadm", self.root), "-c", str(self.places.config), *words])
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, errors="replace", check=False, timeout=seconds, env=_environment(),
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if check and done.returncode != 0:
            raise DovecotFailed(f"doveadm {' '.join(words)} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    # ------------------------------------------------------------ its log

    def mark(self) -> int:
        """The log's end now, for ``lines`` and ``complaints``."""
        return self.places.log.stat().st_size if self.places.log.exists() else 0

    def lines(self, since: int = 0) -> list[str]:
        """The log after ``since``."""
        with self.places.log.open("rb") as file:
            file.seek(since)
            return file.read().decode(errors="replace").splitlines()

    def complaints(self, since: int = 0) -> list[str]:
        """Lines that tell of a panic, an error, a rebuild of an index or a lost mail."""
        return [line for line in self.lines(since) if SEVERE.search(line)]

    def rebuilds(self, since: int = 0) -> list[str]:
        """Lines that tell of a rebuild of an index, or of what makes one necessary."""
        return [line for line in self.lines(since) if REBUILD.search(line)]

    # ------------------------------------------------------------ start

    def _prepare(self) -> None:
        places = self.places
        if os.geteuid() != 0:
            raise ConfigError("a private Dovecot must be started by root", hint="sudo, or a container")
        if len(bytes(places.directory)) > LONGEST:
            raise ConfigError(f"{places.directory} is too long for the sockets below it: {LONGEST} bytes at most")
        for directory in (places.directory, places.run):
            directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        places.passwd.touch(0o600)
        places.passwd.write_text(passwd_file(self.users))
        places.passwd.chmod(0o644)  # Dovecot's own user reads it; passwords of a private instance are no secrets
        places.config.write_text(configuration(self.version, places, self.ports, self.mail, self.more))

    def _wait_until_it_answers(self) -> None:
        deadline = self._clock.monotonic() + self._start_timeout
        ports = {"imap": self.ports.imap, "pop3": self.ports.pop3, "lmtp": self.ports.lmtp}
        for name, port in ports.items():
            while not _answers(port, GREETINGS[name]):
                if not self.running or self._clock.monotonic() > deadline:
                    raise DovecotFailed(f"{name} does not answer:\n" + "\n".join(self.lines()[-10:]))
                time.sleep(0.02)


def installed(root: Path | None = None) -> Version:
    """Of the Dovecot of this machine, or of ``root``. Raises NoDovecot, ConfigError."""
    return version_of(run(inside(root, [program("dovecot", root), "--version"])).out)


def program(name: str, root: Path | None = None) -> str:
    """The path of one of Dovecot's programs. Raises ConfigError."""
    for directory in [*SBIN.split(":"), *os.environ.get("PATH", "").split(":")]:
        path = f"{directory}/{name}"
        if directory and os.access(f"{root or ''}{path}", os.X_OK):
            return path
    raise ConfigError(
        f"{name} is not installed", hint="apt-get install dovecot-core dovecot-imapd dovecot-lmtpd dovecot-pop3d"
    )


def inside(root: Path | None, command: Sequence[str]) -> list[str]:
    """The command with /usr and /etc of another Debian (the directory that debootstrap(8) made) instead of this one's,
    in a mount namespace of its own. Everything else is this machine's. File systems mounted later are seen where their
    parent is shared (mount(8), --make-shared)."""
    if root is None:
        return list(command)
    script = 'mount --bind "$0/usr" /usr && mount --bind "$0/etc" /etc && exec "$@"'
    return ["/usr/bin/unshare", "--mount", "--propagation", "slave", "/bin/sh", "-c", script, str(root), *command]


def owned(*directories: Path) -> None:
    """Make directories that belong to the owner of all mail."""
    for directory in directories:
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        os.chown(directory, OWNER, OWNER)


def _environment() -> dict[str, str]:
    """Dovecot hands its own configuration to its children in the environment: that of another must not reach it."""
    return {"PATH": f"/usr/bin:/bin:{SBIN}", "LC_ALL": "C"}


def _reserved() -> socket.socket:
    """A port the system chose. It is held, not listened on: with SO_REUSEADDR on both sides Dovecot may bind it too,
    and nobody else gets it, also while Dovecot is stopped."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held


def _answers(port: int, greeting: bytes) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        return connection.recv(len(greeting)) == greeting
    return False


@contextlib.contextmanager
def _watched(parent: int) -> Iterator[Sequence[int]]:
    """Descriptors of the processes that ``parent`` has started: all of Dovecot's are children of its master. A
    descriptor (pidfd_open(2)) is never another process's, as a number might be."""
    with contextlib.ExitStack() as held:
        found = []
        for pid in _children(parent):
            with contextlib.suppress(ProcessLookupError):
                found.append(os.pidfd_open(pid))
                held.callback(os.close, found[-1])
        yield found


def _children(parent: int) -> list[int]:
    try:
        return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    except OSError:
        return []


def _end(process: int, seconds: float) -> None:
    """Wait for the end of a process by its descriptor, then kill it."""
    if select.select([process], [], [], seconds)[0]:
        return
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(process, signal.SIGKILL)
    select.select([process], [], [], seconds)
