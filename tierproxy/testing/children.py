"""A node and a mount as child processes, as an operator runs them: start, stop, kill, start again.

Everything here blocks. Nothing here touches what is below a mount point: a file system that does not answer would hold
whoever looks.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from tierproxy.catalogue import open_reader
from tierproxy.config.describe import annotated
from tierproxy.config.sections import Config
from tierproxy.disk.fsio import Files
from tierproxy.errors import TierproxyError
from tierproxy.near.versions import withdraw

ENVIRONMENT = re.compile(r"AWS_|TIERPROXY_|RCLONE_|.*CA_BUNDLE|SSL_CERT_|.*_proxy$", re.IGNORECASE)
STARTING = 60.0  #: seconds until ready
STOPPING = 30.0
UPLOADING = 90.0


class ChildFailed(TierproxyError):
    """A child process did not do what was asked."""


def clean_environment(**more: str) -> dict[str, str]:
    """Without credentials, certificates and settings of whoever runs this."""
    return {name: value for name, value in os.environ.items() if not ENVIRONMENT.match(name)} | more


class Child:
    """A program that runs until it is stopped; what it says goes into ``log``."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Returns when it is ready. Raises ChildFailed with its log."""
        seen = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment()
            )
        for _ in range(int(STARTING / 0.02)):
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.02)
                break
            if self.ready(self.text()[seen:]):
                return
        said = self.text()[seen:][-3000:]
        self.kill()
        raise ChildFailed(f"{self.command()[:5]} is not ready:\n{said}")

    def stop(self) -> int:
        """SIGTERM; returns its status. Idempotent."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    def text(self) -> str:
        """Its log."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def command(self) -> Sequence[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return clean_environment()

    def ready(self, said: str) -> bool:
        """``said``: its log since the start."""
        raise NotImplementedError

    def _end(self, how: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.poll() is None:
            process.send_signal(how)
        try:
            return process.wait(STOPPING)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


class Node(Child):
    """``tierproxy serve`` with everything below ``directory``. The secrets of ``config`` go into files."""

    def __init__(self, directory: Path, config: Config) -> None:
        super().__init__(directory / "node.log")
        self.directory = directory
        self.config = config
        self.url = ""
        directory.mkdir(parents=True, exist_ok=True)
        self.write()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What a killed node leaves in shared memory goes, too."""
        super().__exit__(kind, error, trace)
        data = Path(self.config.node.data_dir)
        if data.is_dir():
            withdraw(data, Files())

    @property
    def file(self) -> Path:
        return self.directory / "tierproxy.toml"

    def write(self) -> None:
        """The configuration file."""
        secrets = {"alt-secret": self.config.alt.secret_access_key}
        secrets |= {f"secret-{key.access_key_id}": key.secret for key in self.config.key}
        for name, secret in secrets.items():
            (self.directory / name).touch(0o600)
            (self.directory / name).write_text(secret)
        keys = tuple(
            replace(key, secret="", secret_file=str(self.directory / f"secret-{key.access_key_id}"))
            for key in self.config.key
        )
        alt = replace(
            self.config.alt, secret_access_key="", secret_access_key_file=str(self.directory / "alt-secret")
        )  # fmt: skip
        self.file.write_text(annotated(replace(self.config, alt=alt, key=keys)))

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "tierproxy", "serve", "--config", str(self.file)]

    def ready(self, said: str) -> bool:
        found = re.search(r'ready\b.*?url="?(https?://[^\s"]+)', said)
        if found:
            self.url = found[1]
        return found is not None

    def run(self, *words: str, check: bool = True, seconds: float = 120.0) -> str:
        """Another command of ``tierproxy`` with this node's configuration. Raises ChildFailed."""
        command = [sys.executable, "-m", "tierproxy", *words, "--config", str(self.file)]
        done = subprocess.run(
            command, capture_output=True, text=True, env=clean_environment(), timeout=seconds, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if check and done.returncode != 0:
            raise ChildFailed(f"tierproxy {' '.join(words)} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def purge(self, target: str) -> None:
        """Everything below it that alt has goes from disk."""
        self.run("purge", target, "--all", "--yes", "--json")

    def drained(self) -> None:
        """Wait until alt has everything."""
        for _ in range(int(UPLOADING / 0.05)):
            if self.waiting() == 0:
                return
            threading.Event().wait(0.05)
        raise ChildFailed("uploads do not end")

    def waiting(self) -> int:
        """Objects that alt does not have yet."""
        with open_reader(Path(self.config.node.data_dir)) as catalogue:
            return catalogue.queue_totals().jobs


class Mounted(Child):
    """A file system of a program in the foreground. ``where`` must be an empty directory."""

    def __init__(self, where: Path, log: Path, command: Sequence[str], **environment: str) -> None:
        super().__init__(log)
        self.where = where
        self._command = list(command)
        self._environment = environment

    def command(self) -> Sequence[str]:
        return self._command

    def environment(self) -> dict[str, str]:
        return clean_environment(**self._environment)

    def ready(self, said: str) -> bool:
        return mounted(self.where)

    def stop(self) -> int:
        """Unmounts; a file system that does not end is taken away and killed."""
        try:
            return super().stop()
        finally:
            take_away(self.where)

    def unmount(self) -> None:
        """As an operator does it."""
        subprocess.run(["umount", str(self.where)], check=False, timeout=STOPPING, capture_output=True)


def mounted(where: Path) -> bool:
    """Whether something is mounted there; asks the kernel, not the file system."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return any(line.split(" ")[4] == str(where) for line in lines)


def take_away(where: Path) -> None:
    """Unmount whatever is there, also a file system that nobody serves any more (MNT_DETACH)."""
    while mounted(where):
        done = subprocess.run(["umount", "-l", str(where)], check=False, timeout=STOPPING, capture_output=True)
        if done.returncode != 0:
            raise ChildFailed(f"{where} cannot be unmounted: {done.stderr.decode(errors='replace')}")


def mount_command(url: str, where: Path, *options: str) -> list[str]:
    """``tierproxy mount``."""
    return [sys.executable, "-m", "tierproxy", "mount", url, str(where), *options]
