"""What a node leaves in its data directory for its operator: the token, and where the admin port is. Both are for the
node's own user alone (0600). Light to import: the command line reads these."""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from tierproxy.errors import BlobMissing, ConfigError
from tierproxy.ports import FileCalls

TOKEN = "admin.token"  # noqa: S105 -- the name of a file
DOOR = "admin.json"


@dataclass(frozen=True, slots=True)
class LocalDoor:
    """Where a running node's admin port is. ``token``: the command line's own, which that node made and which ends with
    it; a stale file opens nothing. ``certificate``: the PEM file to trust under TLS, "" without."""

    url: str
    pid: int
    token: str
    certificate: str = ""

    @classmethod
    def read(cls, data: Path) -> LocalDoor | None:
        """The door of the node on ``data``; None without one. A node that was killed leaves a stale one: whoever gets
        no answer, or 401, there has found no node."""
        try:
            return cls(**json.loads((data / DOOR).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, data: Path, files: FileCalls) -> None:
        """Raises DiskError."""
        write_private(data / DOOR, json.dumps(asdict(self)) + "\n", files)

    def remove(self, data: Path, files: FileCalls) -> None:
        """If it is still this one. Raises DiskError."""
        if LocalDoor.read(data) == self:
            files.unlink(data / DOOR)


def operator_token(data: Path, files: FileCalls) -> str:
    """The token of the data directory ``data``, made when there is none. Raises ConfigError when somebody else can read
    it or it is empty, DiskError."""
    path = data / TOKEN
    try:
        found = path.read_text(encoding="ascii").strip()
        mode = path.stat().st_mode
    except FileNotFoundError:
        token = secrets.token_urlsafe(32)
        write_private(path, token + "\n", files)
        return token
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path}: {error}", hint=f"remove {path}: the node makes a new one") from error
    if len(found) < 32:
        raise ConfigError(f"{path} holds no token", hint=f"remove {path}: the node makes a new one")
    if mode & 0o077:
        raise ConfigError(
            f"others on this machine can read {path}",
            hint=f"remove {path}: the node makes a new one for its user alone",
        )
    return found


def write_private(path: Path, text: str, files: FileCalls) -> None:
    """For its owner alone from its first byte on; complete or not there."""
    draft = path.with_name(f".{path.name}.draft")
    with suppress(BlobMissing):
        files.unlink(draft)
    descriptor = files.create(draft)
    try:
        files.write_at(descriptor, text.encode(), 0)
        files.fsync(descriptor)
    finally:
        os.close(descriptor)
    files.rename(draft, path)
