"""What ``tierproxy import`` brings along: the bucket, the files of a run, the bar."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from tierproxy.cli.client import Answer, ObjectClient
from tierproxy.cli.outcome import err
from tierproxy.cli.words import count_text
from tierproxy.errors import ConfigError
from tierproxy.importing.letters import Bad, BadMail, Folder, Letter
from tierproxy.importing.parcels import Parcel
from tierproxy.importing.transfer import Done
from tierproxy.mail.mutf7 import decoded
from tierproxy.model import Ack, Listed, ObjectName

WHOLE = 1 << 20  #: bytes of a mail that is sent from memory, signed with its digest
SCAN = {"x-tierproxy-reason": "scan"}


@dataclass(frozen=True, slots=True)
class Seen:
    """``tierproxy.importing.transfer.Stored``."""

    etag: str
    size: int


@dataclass(frozen=True, slots=True)
class BucketObjects:
    """``tierproxy.importing.transfer.Objects``, of one connection."""

    client: ObjectClient
    bucket: str
    ack: Ack | None = None

    def listed(self, directory: str) -> Iterator[Listed]:
        return self.client.objects(self.bucket, directory)

    def put(self, key: str, parcel: Parcel) -> Seen:
        try:
            answer = self.client.put(self._name(key), _body(parcel), parcel.size, self._headers(parcel))
        except BaseException:
            self.client.close()  # half a request may be on its way
            raise
        return Seen(_etag(answer), parcel.size)

    def look(self, key: str) -> Seen:
        answer = self.client.head(self._name(key))
        return Seen(_etag(answer), int(answer.headers.get("content-length", -1)))

    def read_again(self, key: str) -> Seen:
        digest, size = hashlib.md5(usedforsecurity=False), 0
        with self.client.get(self._name(key), SCAN) as answer:
            for block in answer.blocks():
                digest.update(block)
                size += len(block)
        return Seen(digest.hexdigest(), size)

    def _name(self, key: str) -> ObjectName:
        return ObjectName(self.bucket, key)

    def _headers(self, parcel: Parcel) -> dict[str, str]:
        """``mtime`` and ``ctime`` are what the mount shows: a mail was saved when it was received."""
        headers = {"if-none-match": "*", "content-md5": base64.b64encode(bytes.fromhex(parcel.md5)).decode()}
        if parcel.received:
            headers |= {"x-amz-meta-mtime": str(parcel.received), "x-amz-meta-ctime": str(parcel.received)}
        return headers | ({"x-tierproxy-ack": self.ack.value} if self.ack else {})


def _etag(answer: Answer) -> str:
    return answer.headers.get("etag", "").strip('"')


def _body(parcel: Parcel) -> bytes | IO[bytes]:
    return b"".join(parcel.blocks()) if parcel.size <= WHOLE else io.BufferedReader(_Stream(parcel))


class _Stream(io.RawIOBase):
    """A parcel as a file. Raises BadMail when it has become shorter: the node would wait for the rest."""

    def __init__(self, parcel: Parcel) -> None:
        self._blocks = parcel.blocks()
        self._left = parcel.size
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            block = next(self._blocks, None)
            if block is None and self._left == 0:
                return 0
            if block is None or len(block) > self._left:
                raise BadMail("has changed while it was imported")
            self._rest = memoryview(block)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        self._left -= size
        return size


class Notes:
    """``tierproxy.importing.transfer.Journal``: two files of JSON lines. ``journal`` is added to and read by the next
    run; ``flags`` is written anew, of all mails that are there. A torn last line of the journal is nothing."""

    def __init__(self, bucket: str, journal: Path, flags: Path, *, again: bool, keep: bool) -> None:
        self._bucket = bucket
        self._journal = journal
        self._flags = flags
        self._keep = keep
        self._known = {} if again else self._read()
        self._lines: IO[str] | None = None
        self._flagged: IO[str] | None = None

    def __enter__(self) -> Self:
        if self._keep:
            self._lines = _opened(self._journal, "a")
            self._lines.write("\n")  # the line before may be torn
            self._flagged = _opened(self._flags, "w")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in (self._lines, self._flagged):
            if file is not None:
                file.close()

    def files(self) -> dict[str, str]:
        """Where they are; nothing after a dry run."""
        return {"journal": str(self._journal), "flags": str(self._flags)} if self._keep else {}

    def known(self, letter: Letter, directory: str) -> Done | None:
        return self._known.get((letter.fingerprint, directory))

    def done(self, letter: Letter, directory: str, uid: int, parcel: Parcel) -> None:
        row = {"bucket": self._bucket, "directory": directory, "uid": uid, "etag": parcel.md5, "guid": parcel.guid}
        self._write(self._lines, {"origin": letter.origin, "mail": letter.fingerprint} | row)

    def flagged(self, folder: Folder, uid: int, letter: Letter) -> None:
        name = "/".join(decoded(component) for component in folder.name)
        row = {"folder": name, "uid": uid, "flags": list(letter.flags), "keywords": list(letter.keywords)}
        self._write(self._flagged, row)

    def _write(self, file: IO[str] | None, row: dict[str, object]) -> None:
        if file is not None:
            file.write(json.dumps(row) + "\n")
            file.flush()

    def _read(self) -> dict[tuple[str, str], Done]:
        found: dict[tuple[str, str], Done] = {}
        for line in self._journal.read_text(encoding="utf-8").splitlines() if self._journal.exists() else []:
            try:
                row = json.loads(line)
                if row["bucket"] == self._bucket:
                    found[str(row["mail"]), str(row["directory"])] = Done(int(row["uid"]), str(row["etag"]))
            except (ValueError, KeyError, TypeError):
                continue
        return found


def _opened(path: Path, mode: str) -> IO[str]:
    """For its owner alone: it says whose mail is where. Raises ConfigError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_APPEND if mode == "a" else os.O_TRUNC)
    try:
        return os.fdopen(os.open(path, flags, 0o600), mode, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}", hint="--journal and --flags say where") from error


class Bars:
    """``tierproxy.importing.transfer.Watch``: a bar of bytes on stderr, and a line for each mail that is left out."""

    def __init__(self, *, quiet: bool) -> None:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), DownloadColumn())
        self._console = err()
        self._bars = Progress(*columns, TimeRemainingColumn(), console=self._console, disable=quiet, transient=True)
        self._task = self._bars.add_task("reading the source", total=None)
        self._mails = 0

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: Iterable[object]) -> None:
        self._bars.stop()

    def begun(self, total: int) -> None:
        self._bars.update(self._task, total=total)

    def moved(self, mails: int, size: int) -> None:
        self._mails += mails
        self._bars.update(self._task, advance=size, description=count_text(self._mails, "mail"))

    def bad(self, bad: Bad) -> None:
        self._console.print(f"left out: {bad.origin}: {bad.reason}", style="yellow", markup=False)
