"""The pieces every load test stands on: a SeaweedFS, and ``tierproxy serve`` as a program of its own in front of it."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import psutil

from tierproxy.cli.client import Door
from tierproxy.config.describe import annotated
from tierproxy.config.sections import AltSection, BucketSection, Config, DiskSection, KeySection, NodeSection
from tierproxy.config.values import Share, Size
from tierproxy.embedded import EmbeddedS3
from tierproxy.purges import OPERATOR, Drop
from tierproxy.wiring import build

BUCKET = "mail"
ACCESS_KEY_ID = "load"
SECRET = "load-test-secret"
STARTING = 60.0  #: seconds a program has to be ready
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("TIERPROXY_", "AWS_"))}


class Failed(Exception):
    """The load test found what it was looking for."""


@contextmanager
def workplace(parent: str | None, need: int) -> Iterator[Path]:
    """A directory that is removed at the end, below ``parent`` or the system's. Raises Failed without ``need`` bytes
    of room."""
    directory = Path(tempfile.mkdtemp(prefix="tierproxy-load-", dir=parent))
    try:
        free = shutil.disk_usage(directory).free
        if free < need:
            raise Failed(f"{directory} has {free / 2**30:.1f} GiB free, {need / 2**30:.1f} GiB are needed: --dir")
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def allow_sockets(wanted: int) -> None:
    """Raise this process' limit of open files, which its children inherit. Raises Failed when it may not be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise Failed(f"only {hard} files may be open, {wanted} are needed: ulimit -n")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextmanager
def seaweed(directory: Path, *buckets: str) -> Iterator[EmbeddedS3]:
    """A running S3 server with ``buckets``. Killed at the end: an orderly stop takes seconds, and its data is thrown
    away."""
    server = EmbeddedS3(directory / "alt")
    server.start()
    try:
        for bucket in buckets or (BUCKET,):
            server.make_bucket(bucket)
        yield server
    finally:
        server.kill()


def config_for(directory: Path, alt: AltSection, **sections: object) -> Config:
    """One bucket ``mail``, one key, a free port; the file system is used to its last GiB. ``sections`` replace whole
    sections."""
    base = Config(
        node=NodeSection(data_dir=str(directory / "data")),
        listen=replace(Config().listen, address="127.0.0.1:0"),
        admin=replace(Config().admin, address="127.0.0.1:0"),
        alt=replace(alt, check_at_start=False),
        disk=DiskSection(max_bytes=Size(64 * 2**30), min_free=Share(bytes=2**30)),
        bucket=(BucketSection(name=BUCKET),),
        key=(KeySection(access_key_id=ACCESS_KEY_ID, secret=SECRET),),
    )
    return replace(base, **sections)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command of ``tierproxy`` ended with."""

    code: int
    text: str
    errors: str


class Process(Protocol):
    """What is used of ``subprocess.Popen``."""

    pid: int
    returncode: int | Any

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, sig: int) -> None: ...

    def kill(self) -> None: ...


class Served:
    """``tierproxy serve`` below ``directory``, with ``config``. Start, kill and start again: the data stays."""

    def __init__(self, directory: Path, config: Config) -> None:
        self.directory = directory
        self.config = config
        self.url = ""
        self._process: Process | None = None
        self.write_config()

    def __repr__(self) -> str:
        return f"<Served {self.url or 'not running'}>"

    @property
    def file(self) -> Path:
        return self.directory / "tierproxy.toml"

    @property
    def log(self) -> Path:
        return self.directory / "tierproxy.log"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.partition("://")[2].rpartition(":")
        return host, int(port)

    @property
    def door(self) -> Door:
        """For ``tierproxy.cli.client.ObjectClient``."""
        return Door(*self.address, access_key_id=ACCESS_KEY_ID, secret=SECRET)

    def line(self) -> list[str]:
        """The command that runs."""
        return [sys.executable, "-m", "tierproxy", "serve", "--config", str(self.file)]

    def resident(self) -> int:
        """Bytes of memory the process has now (RSS); 0 when it has none any more."""
        try:
            return int(psutil.Process(self.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def start(self) -> None:
        """Returns when clients are served. Raises Failed."""
        with self.log.open("ab") as log:
            begin = log.tell()
        self._process = self.begin()
        deadline = time.monotonic() + STARTING
        while time.monotonic() < deadline and self._process.poll() is None:
            text = self.log.read_bytes()[begin:].decode(errors="replace")
            found = re.search(r'ready\b.*url="?(https?:[^\s"]+)', text)
            if found:
                self.url = found[1]
                return
            time.sleep(0.02)
        self.kill()
        raise Failed(f"tierproxy serve did not start: {self.log.read_text(errors='replace')[-800:]}")

    def begin(self) -> Process:
        """The process, which writes to the log."""
        with self.log.open("ab") as log:
            return subprocess.Popen(self.line(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=ENVIRONMENT)

    def stop(self) -> None:
        """SIGTERM; waits for its end."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        self._end(signal.SIGKILL)

    def command(self, *arguments: str) -> Outcome:
        """Run another ``tierproxy`` command with the same configuration."""
        line = [sys.executable, "-m", "tierproxy", *arguments, "--config", str(self.file)]
        done = subprocess.run(line, capture_output=True, text=True, env=ENVIRONMENT, timeout=120, check=False)
        return Outcome(done.returncode, done.stdout, done.stderr)

    def purge(self) -> int:
        """With the process stopped: drop every blob that alt has too, as a purge does. Returns the bytes released."""
        return asyncio.run(_purge(replace(self.config, listen=replace(self.config.listen, address="127.0.0.1:0"))))

    def _end(self, how: signal.Signals) -> None:
        process, self._process, self.url = self._process, None, ""
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(how)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def write_config(self) -> None:
        """Secrets go into files of their own, as the configuration wants them."""
        secrets: Mapping[str, str] = {"secret": SECRET, "alt-secret": self.config.alt.secret_access_key}
        for name, secret in secrets.items():
            (self.directory / name).write_text(secret + "\n")
            (self.directory / name).chmod(0o600)
        keys = tuple(replace(key, secret="", secret_file=str(self.directory / "secret")) for key in self.config.key)
        alt = replace(
            self.config.alt, secret_access_key="", secret_access_key_file=str(self.directory / "alt-secret")
        )  # fmt: skip
        self.file.write_text(annotated(replace(self.config, alt=alt, key=keys)))


@contextmanager
def served(directory: Path, config: Config) -> Iterator[Served]:
    """A running ``tierproxy serve``."""
    proxy = Served(directory, config)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.kill()


async def _purge(config: Config) -> int:
    node = build(config)
    await node.start()
    try:
        released = 0
        while entries := node.parts.catalogue.victims(1000):
            released += (await node.store.purge([Drop.of(entry, OPERATOR) for entry in entries])).bytes
        return released
    finally:
        await node.stop(5)
