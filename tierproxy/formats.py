"""Which formats a data directory is written in: a downgrade is refused before anything in it is touched.

``<data>/format`` holds a number for each format. It is durable before the first byte of a newer format is written, so
it is never behind what the directory holds; a crash in between leaves it ahead, and the newer version goes on where it
was. A directory without the file is of a version from before it, and each format there is one this version reads.

Every format has a version of its own beside (magic numbers, migrations, metadata of segments). That is for what was
copied from elsewhere, and says so only when the file at hand is opened, which is too late: a blob of a newer format
would be taken for a damaged one, and moved away.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

from tierproxy.errors import BlobMissing, ConfigError
from tierproxy.ports import FileCalls

NAME = "format"
KNOWN: Mapping[str, int] = MappingProxyType(
    {
        "directory": 1,  # which files there are (disk.layout), lock, mark, token, door, looks
        "catalogue": 4,  # how many migrations there are
        "blobs": 1,  # disk.trailer
        "history": 1,  # history.schema, and the journal's rows
        "stubs": 1,  # stubs.record, and the database it is in
    }
)
"""What this version writes. Each grows by one with a change that an older version would not understand; a test compares
them with the code, and docs/security.md says what else belongs to such a change."""

_LARGEST = 64 * 1024  #: bytes of the file; it has a hundred


def refuse_newer(data: Path) -> None:
    """Nothing, for a directory that this version reads, or that is not there. Blocking; changes nothing. Raises
    ConfigError for one that a newer version has written to, or whose file cannot be read."""
    _refuse(data, _said(data))


def record(data: Path, files: FileCalls, version: str) -> None:
    """Note, durably, that this version (``version`` of the program) writes to ``data`` from now on. Blocking; under the
    directory's lock, before anything else is written. Raises as ``refuse_newer``, and DiskError."""
    said = _said(data)
    _refuse(data, said)
    if said.get("formats") != dict(KNOWN):
        _write(data, json.dumps({"tierproxy": version, "formats": dict(KNOWN)}) + "\n", files)


def _said(data: Path) -> dict[str, object]:
    """What the file says; {} without one."""
    path = data / NAME
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_LARGEST))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise ConfigError(
            f"cannot read {path}: {reason}",
            hint="run this as the user of the node; if it is damaged, remove it with the version that last ran here",
        ) from error
    return found if isinstance(found, dict) else {"formats": found}


def _refuse(data: Path, said: Mapping[str, object]) -> None:
    formats = said.get("formats", {})
    if not isinstance(formats, dict):
        raise ConfigError(f"{data / NAME} names no formats", hint="it is not of tierproxy: see [node] data_dir")
    strange = {name: number for name, number in formats.items() if not _known(name, number)}
    if not strange:
        return
    writer = said.get("tierproxy")
    wanted = f"tierproxy {writer} or newer" if isinstance(writer, str) else "a newer tierproxy"
    told = ", ".join(f"{name} {number}, here {KNOWN.get(name, 'unknown')}" for name, number in strange.items())
    raise ConfigError(
        f"the data directory {data} was written by a newer tierproxy ({told})",
        hint=f"run {wanted}, or give this version another data directory; nothing was changed",
    )


def _known(name: str, number: object) -> bool:
    return name in KNOWN and type(number) is int and number <= KNOWN[name]


def _write(data: Path, text: str, files: FileCalls) -> None:
    """Complete or not there, and durable. A draft is what a crash has left."""
    draft = data / f".{NAME}.draft"
    with suppress(BlobMissing):
        files.unlink(draft)
    descriptor = files.create(draft)
    try:
        files.write_at(descriptor, text.encode(), 0)
        files.fsync(descriptor)
    finally:
        os.close(descriptor)
    files.rename(draft, data / NAME)
    files.fsync_dir(data)
