"""Child processes for long work: started, listened to, ended, never left behind."""

from __future__ import annotations

import asyncio
import json
import os
import selectors
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tierproxy.errors import TierproxyError
from tierproxy.leash import leashed
from tierproxy.ports import Offload
from tierproxy.wire.rules import Fault
from tierproxy.wire.whatif import Progress

LARGEST = 8 * 2**20  #: bytes of a result; several are kept in memory
TAIL = 4096  #: bytes of stderr that are kept for the error
LONGEST = 65_536  #: bytes of one line of stderr
PATIENCE = 5.0  #: seconds from the polite signal to the one that cannot be refused
PIECE = 65_536
NICE = 15  #: of 19: long work takes what the node leaves
FAULTS = TypeAdapter(list[Fault])

Tell = Callable[[Progress], None]


class ChildFailed(TierproxyError):
    """The child ended without a result. ``faults``: what it found wrong in what it was given."""

    def __init__(self, message: str, *, hint: str = "", faults: Sequence[Fault] = ()) -> None:
        super().__init__(message, hint=hint)
        self.faults = list(faults)


class Errors:
    """stderr of a child: lines of progress are told, the last of the others are kept."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._rest = b""
        self._tail = b""

    def feed(self, data: bytes) -> None:
        """Of several lines of progress in one piece the last one counts."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-LONGEST:]
        progress = None
        for line in lines:
            found = _progress(line)
            progress = found or progress
            if found is None:
                self._keep(line)
        if progress is not None:
            self._tell(progress)

    def text(self) -> str:
        """What was said beside the progress, from its end."""
        self._keep(self._rest)
        self._rest = b""
        return self._tail.decode(errors="replace").strip()

    def _keep(self, line: bytes) -> None:
        self._tail = (self._tail + line + b"\n")[-TAIL:]


def _progress(line: bytes) -> Progress | None:
    if not line.startswith(b"{"):
        return None
    with suppress(ValidationError):
        return Progress.model_validate_json(line)
    return None


class Child:
    """One run of a program: ``wish`` on its stdin, a JSON document from its stdout, progress from its stderr.

    ``attend`` blocks and belongs to a thread, which is what the kernel takes for the parent (``tierproxy.leash``);
    ``end`` may be called from any. The process is the head of a group of its own: a Ctrl-C in the node's terminal does
    not reach it, and its own children end with it.
    """

    def __init__(self, command: Sequence[str], wish: bytes, tell: Tell) -> None:
        self._command = command
        self._wish = wish
        self._errors = Errors(tell)
        self._result = bytearray()
        self._lock = threading.Lock()  # between a signal and the end of the process: its number may be another's then
        self._process: subprocess.Popen[bytes] | None = None
        self._unwanted = False
        self._too_large = False

    @property
    def pid(self) -> int | None:
        """While it runs."""
        return self._process.pid if self._process is not None else None

    def attend(self) -> bytes:
        """thread. Run it to its end; what it wrote to stdout. Raises ChildFailed."""
        with self._lock:
            if self._unwanted:
                raise ChildFailed("cancelled")
            process = self._process = _started(self._command, self._wish)
        try:
            self._listen(process)
        except BaseException:
            self.end(signal.SIGKILL)
            raise
        finally:
            code = self._reap(process)
        return self._judged(code)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """any thread. It and its children are told to end; one that has not begun never will."""
        with self._lock:
            self._unwanted = True
            if self._process is not None:
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, number)

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        """Until it has closed both pipes."""
        assert process.stdout is not None
        assert process.stderr is not None
        with process.stdout, process.stderr, selectors.DefaultSelector() as both:
            both.register(process.stdout, selectors.EVENT_READ, self._take)
            both.register(process.stderr, selectors.EVENT_READ, self._errors.feed)
            while both.get_map():
                for key, _ in both.select():
                    data = os.read(key.fd, PIECE)
                    if not data:
                        both.unregister(key.fileobj)
                    key.data(data)

    def _take(self, data: bytes) -> None:
        if len(self._result) + len(data) > LARGEST:
            self._too_large = True
            self.end(signal.SIGKILL)
        else:
            self._result += data

    def _reap(self, process: subprocess.Popen[bytes]) -> int:
        """Its exit code. Until it is taken the group keeps its number, so that what is left in it can be ended."""
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        self.end(signal.SIGKILL)
        with self._lock:
            self._process = None
            return process.wait()

    def _judged(self, code: int) -> bytes:
        if self._too_large:
            hint = "ask for less: fewer days, or fewer candidates"
            raise ChildFailed(f"the result has more than {LARGEST} bytes", hint=hint)
        if code:
            said = self._errors.text() or f"it ended with {_ending(code)} and said nothing"
            raise ChildFailed(said, faults=_faults(bytes(self._result)))
        return bytes(self._result)


def _started(command: Sequence[str], wish: bytes) -> subprocess.Popen[bytes]:
    wishes = os.memfd_create("wish")  # of any size, nobody waits for its reader, and nothing is left on a disk
    try:
        with open(wishes, "r+b", closefd=False) as file:
            file.write(wish)
        os.lseek(wishes, 0, os.SEEK_SET)
        return subprocess.Popen(  # noqa: S603  the command is ours, and there is no shell
            [*leashed(NICE), *command],
            stdin=wishes, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise ChildFailed(f"cannot start another process: {error.strerror}") from error
    finally:
        os.close(wishes)


def _ending(code: int) -> str:
    return f"exit code {code}" if code > 0 else signal.Signals(-code).name


def _faults(result: bytes) -> list[Fault]:
    """What a command says of rules it cannot use stands in its document."""
    with suppress(ValueError, ValidationError, TypeError, KeyError):
        return FAULTS.validate_python(json.loads(result)["faults"])
    return []


class Children:
    """Runs children in ``threads``, as many at once as it has; one is right for work that takes a whole processor."""

    def __init__(self, threads: Offload) -> None:
        """``threads`` stay the caller's."""
        self._threads = threads

    async def run(self, command: Sequence[str], wish: bytes, tell: Tell) -> dict[str, Any]:
        """loop. The JSON document that ``command`` prints; ``tell`` hears of progress, in the loop. A cancelled caller
        goes on when the child is gone. Raises ChildFailed."""
        loop = asyncio.get_running_loop()

        def heard(progress: Progress) -> None:
            loop.call_soon_threadsafe(tell, progress)

        child = Child(command, wish, heard)
        work = asyncio.ensure_future(self._threads.run(child.attend))
        try:
            return _document(await asyncio.shield(work))
        except asyncio.CancelledError:
            await _ended(child, work)
            raise


async def _ended(child: Child, work: asyncio.Future[bytes]) -> None:
    """A second cancellation ends the patience, never the wait."""
    child.end()
    with suppress(asyncio.CancelledError):
        await asyncio.wait({work}, timeout=PATIENCE)
    child.end(signal.SIGKILL)
    while not work.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({work})
    work.exception()


def _document(result: bytes) -> dict[str, Any]:
    try:
        document = json.loads(result)
    except ValueError as error:
        raise ChildFailed("the result is no JSON") from error
    if not isinstance(document, dict):
        raise ChildFailed("the result is no JSON document")
    return document
