"""``tierproxy serve`` as an operator runs it: another user, another umask, less rights."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tierproxy.testing.children import clean_environment

BUCKET = "mail"
PATIENCE = 60.0


@dataclass
class Serving:
    """A node that serves. ``log``: everything it has said on stdout and stderr, also later."""

    process: subprocess.Popen[bytes]
    log: Path
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


def configured(home: Path, *lines: str, listen: Sequence[str] = (), alt: Sequence[str] = ()) -> Path:
    """A configuration below ``home``; without an alt that answers, and without authentication."""
    home.mkdir(exist_ok=True)
    file = home / "tierproxy.toml"
    text = [
        "[node]", f'data_dir = "{home / "data"}"', *lines,
        "[listen]", *(listen or ('address = "127.0.0.1:0"', 'auth = "none"')),
        "[admin]", 'address = "127.0.0.1:0"',
        "[alt]", *(alt or ('endpoint = "http://127.0.0.1:9"', 'access_key_id = "a"', 'secret_access_key = "b"')),
        "check_at_start = false", "max_retries = 0",
        "[[bucket]]", f'name = "{BUCKET}"',
    ]  # fmt: skip
    file.touch(0o600)
    file.write_text("\n".join(text) + "\n")
    return file


UNCOVERED = """
set -e
place=$1 kept=$2
shift 2
mount --make-rprivate /
mount --bind "$place" "$kept"
mount -t tmpfs -o mode=0755 uncovered "$(echo "$place" | cut -d/ -f1-2)"
mkdir -p "$place"
mount --bind "$kept" "$place"
exec "$@"
"""


def for_everybody(wanted: Sequence[str], place: Path) -> list[str]:
    """``wanted``, by root, for somebody else: in a mount namespace in which everybody may read this interpreter, where
    it is in a home directory. ``place``: an empty directory."""
    home = Path(os.__file__).parents[2]
    if all(above.stat().st_mode & 0o001 for above in home.parents):
        return list(wanted)
    place.mkdir()
    return ["unshare", "--mount", "sh", "-c", UNCOVERED, "sh", str(home), str(place), *wanted]


def command(file: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "tierproxy", "serve", "--config", str(file), *more]


@contextmanager
def serving(
    wanted: Sequence[str], log: Path, *, before: Callable[[], None] | None = None, umask: int = -1,
    environment: dict[str, str] | None = None,
) -> Iterator[Serving]:  # fmt: skip
    """``wanted`` until it is ready; killed at the end, if it still runs. ``before``: in the child, first of all."""
    seen = log.stat().st_size if log.exists() else 0
    with log.open("ab") as said:
        process = subprocess.Popen(
            wanted, stdin=subprocess.DEVNULL, stdout=said, stderr=said, preexec_fn=before, umask=umask,
            env=environment or clean_environment(), start_new_session=True,
        )  # fmt: skip
    try:
        yield Serving(process, log, _ready(process, log, seen))
    finally:
        process.kill()
        process.wait()


def ended(wanted: Sequence[str], *, before: Callable[[], None] | None = None) -> subprocess.CompletedProcess[str]:
    """A program that is to end by itself."""
    return subprocess.run(
        wanted, capture_output=True, text=True, preexec_fn=before, env=clean_environment(), timeout=PATIENCE,
        check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def _ready(process: subprocess.Popen[bytes], log: Path, seen: int) -> str:
    pattern = re.compile(r'(?:ready url="|"event": "ready", "url": ")(https?://[^"]+)"')
    for _ in range(int(PATIENCE / 0.05)):
        found = pattern.search(log.read_bytes()[seen:].decode(errors="replace"))
        if found:
            return found[1]
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
        break
    raise AssertionError(f"not ready:\n{log.read_text(errors='replace')}")
