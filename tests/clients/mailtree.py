"""A directory tree of mails, and comparing one tree with another."""

from __future__ import annotations

from pathlib import Path

from tests.clients.proxy import sha256
from tierproxy.testing.mails import mails


def plant(root: Path, count: int = 25, seed: int = 7) -> dict[str, str]:
    """Write mails below ``root``. Returns what ``digests`` would."""
    for one in mails(count, seed):
        file = root / one.key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(one.content)
    return digests(root)


def digests(root: Path) -> dict[str, str]:
    """Relative path to SHA-256 of every file below ``root``."""
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): sha256(path.read_bytes()) for path in files}
