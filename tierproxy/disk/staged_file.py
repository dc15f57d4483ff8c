"""The file below a staged body, as worker threads see it."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

from tierproxy.disk.descriptor import Descriptor
from tierproxy.disk.digest import BodyDigest
from tierproxy.disk.fsio import Files, disk_errors
from tierproxy.disk.layout import FanOut
from tierproxy.errors import BlobCorrupt, BlobMissing, DiskError, DiskUnavailable
from tierproxy.logs import event
from tierproxy.model import BlobLabel

logger = logging.getLogger(__name__)


class StagedFile:
    """The file. Methods block and run in worker threads; those that change it wait for each other.

    The mutex is what makes cancellation safe: a cancelled task's job may still be writing when the cleanup job comes,
    which waits for it, then removes the file wherever it is by then; a job that comes after the cleanup does nothing.
    A job that hangs is not waited for: it finds itself abandoned when it comes back, and cleans up itself.
    """

    def __init__(self, staging: Path, files: Files, digest: BodyDigest) -> None:
        self._staging = staging
        self._files = files
        self._digest = digest
        self._mutex = threading.Lock()
        self._descriptor: Descriptor | None = None  # of a file that readers may need
        self._fd: int | None = None
        self._path: Path | None = None
        self._gone = False
        self._abandoned = False

    def append(self, data: bytes | bytearray, offset: int) -> None:
        """Hash ``data`` and write it at ``offset``; the first call makes the file."""
        try:
            with self._mutex:
                self._digest.update(data)
                self._files.write_at(self._open(), data, offset)
        finally:
            self._look_round()

    def seal(self, body: bytes | bytearray, label: BlobLabel) -> int:
        """Write ``body`` (empty if ``append`` wrote it) and the trailer, fsync. Returns the length of the file."""
        ending = self._digest.trailer(label)
        try:
            with self._mutex:
                fd = self._open()
                start = self._digest.size - len(body)
                self._files.write_at(fd, b"".join((body, ending)), start)
                self._files.fsync(fd)
                if start == 0:  # reads are served from memory
                    self._close()
                return self._digest.size + len(ending)
        finally:
            self._look_round()

    def keep(self, body: bytes | bytearray, ending: bytes, start: int, target: Path, fan_out: FanOut) -> None:
        """``body`` and ``ending`` at ``start``, the name ``target``, an fsync; the caller fsyncs the directory.

        Renamed before it is fsynced, so that content and name take one commit of the file system's journal. No row
        names it yet: a process that is killed leaves a whole file without a row, a power cut perhaps half a one.
        """
        try:
            with self._mutex:
                if start:
                    self._name(self._open(), b"".join((body, ending)), start, target, fan_out)
                    return
                fd = self._create()
                try:
                    self._name(fd, b"".join((body, ending)), 0, target, fan_out)
                finally:
                    os.close(fd)  # reads are served from memory
        finally:
            self._look_round()

    def _name(self, fd: int, data: bytes, start: int, target: Path, fan_out: FanOut) -> None:
        self._files.write_at(fd, data, start)
        self._rename(self._staging, target, fan_out)
        self._path = target
        self._files.fsync(fd)

    def place(self, target: Path, fan_out: FanOut | None) -> None:
        """Rename to ``target``, whose directory the caller fsyncs."""
        try:
            with self._mutex:
                if self._gone or self._path is None:
                    raise DiskUnavailable("the staged file was discarded")
                self._rename(self._path, target, fan_out)
                self._path = target
        finally:
            self._look_round()

    def _rename(self, source: Path, target: Path, fan_out: FanOut | None) -> None:
        if fan_out is None:
            self._files.rename(source, target)
            return
        fan_out.ensure(target.parent)
        try:
            self._files.rename(source, target)
        except BlobMissing:  # an operator tidied empty directories
            fan_out.forget(target.parent)
            fan_out.ensure(target.parent)
            self._files.rename(source, target)

    def read(self, offset: int, length: int) -> bytes:
        """Bytes that ``append`` has written."""
        if self._descriptor is None:
            raise DiskUnavailable("the file is closed")
        with self._descriptor.use() as fd, disk_errors("read"):
            data = os.pread(fd, length, offset)
        if len(data) != length:
            raise BlobCorrupt("the staged file was cut short")
        return data

    def abandon(self) -> bool:
        """loop. A job hangs. True: in here; it cleans up when it comes back. False: nobody is at work on the file."""
        self._gone = self._abandoned = True  # before the look: who is in here looks after he has left
        if not self._mutex.acquire(blocking=False):
            return True
        self._mutex.release()
        return False

    def _look_round(self) -> None:
        """After each job: was it abandoned meanwhile?"""
        if self._abandoned:
            self.end(keep=False, wait=False)

    def remove(self) -> None:
        """Unlink it, under whichever name it has. An error is logged: the next start clears what is left."""
        with self._mutex:
            self._gone = True
            if self._path is None:
                return
            try:
                self._files.unlink(self._path)
            except DiskError as error:
                event(logger, logging.WARNING, "staged file not removed", path=self._path, error=error)
            self._path = None

    def end(self, keep: bool, wait: bool) -> None:
        """Give the descriptor back when the last reader is done; unlink the file unless ``keep``. ``wait``: for that
        reader."""
        try:
            if not keep:
                self.remove()
        finally:
            with self._mutex:
                self._gone = True
                if not wait and self._descriptor is not None:
                    self._descriptor.abandon()
                else:
                    self._close()

    def _create(self) -> int:
        if self._gone:
            raise DiskUnavailable("the staged file was discarded")
        fd = self._files.create(self._staging)
        self._path = self._staging
        return fd

    def _open(self) -> int:
        if self._gone:
            raise DiskUnavailable("the staged file was discarded")
        if self._fd is None:
            self._fd = self._create()
            self._descriptor = Descriptor()
            self._descriptor.attach(self._fd)
        return self._fd

    def _close(self) -> None:
        self._fd = None
        if self._descriptor is not None:
            self._descriptor.close()
