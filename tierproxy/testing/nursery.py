"""``tierproxy`` processes that begin at once: forked by one that has imported everything and done nothing yet.

    python -m tierproxy.testing.nursery

An import of all there is costs a processor more than a second, and who kills nodes for a living starts hundreds. A
forked process runs the same code from the same line on (``doomed.main``), in a process group of its own, so that what
is sent to ours does not reach it. The nursery has one thread, opens nothing and runs no loop: there is nothing that a
fork could take over half done.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PAUSE = 0.01  #: seconds between two questions whether a child has ended


class Child:
    """A process of the nursery, as ``subprocess.Popen`` has it."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._nursery = nursery

    def __repr__(self) -> str:
        return f"<Child {self.pid}{'' if self.returncode is None else f', ended with {self.returncode}'}>"

    def poll(self) -> int | None:
        """What it ended with (negative: a signal), None while it runs."""
        if self.returncode is None:
            status = self._nursery.ask({"poll": self.pid})
            self.returncode = None if status is None else os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            time.sleep(PAUSE)
        return code

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Nursery:
    """A context: who has not ended when it closes is killed."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._mutex = threading.Lock()
        self._children: list[Child] = []

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tierproxy.testing.nursery"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=self._environment, process_group=0,
        )  # fmt: skip
        self.ask({"poll": 0})  # it has imported everything
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self._children:
            child.kill()
            child.wait()
        self._process.communicate()

    def begin(self, arguments: Sequence[str], out: Path, errors: Path) -> Child:
        """A process that does what ``python -m tierproxy.testing.doomed`` does with ``arguments``. It appends to the
        files."""
        pid = self.ask({"arguments": list(arguments), "out": str(out), "errors": str(errors)})
        child = Child(self, int(pid))
        self._children = [one for one in self._children if one.returncode is None] + [child]
        return child

    def ask(self, question: Mapping[str, Any]) -> Any:
        """The nursery's answer. Raises EOFError when it has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._mutex:
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            raise EOFError("the nursery has ended")
        return json.loads(line)


def nurse() -> list[str] | None:
    """Answers questions. Returns twice and more: in each child the arguments it is to go on with, and at the end of the
    questions None."""
    for line in sys.stdin.buffer:
        question = json.loads(line)
        answer: int | None = None
        if "arguments" in question:
            answer = os.fork()
            if not answer:
                _move_out(question["out"], question["errors"])
                return list(question["arguments"])
        elif question["poll"]:
            pid, status = os.waitpid(question["poll"], os.WNOHANG)
            answer = status if pid else None
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    return None


def _move_out(out: str, errors: str) -> None:
    """Nothing of the nursery is kept."""
    os.setpgid(0, 0)
    for descriptor, path, flags in (
        (0, os.devnull, os.O_RDONLY), (1, out, os.O_WRONLY | os.O_APPEND | os.O_CREAT),
        (2, errors, os.O_WRONLY | os.O_APPEND | os.O_CREAT),
    ):  # fmt: skip
        opened = os.open(path, flags, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)


def main() -> None:
    from tierproxy import cli, wiring_admin  # noqa: F401 - so that children have them
    from tierproxy.alt import s3  # noqa: F401
    from tierproxy.cli import check, purge, serve  # noqa: F401
    from tierproxy.testing import doomed

    gc.freeze()
    arguments = nurse()
    if arguments is not None:
        doomed.main(arguments)


if __name__ == "__main__":
    main()
