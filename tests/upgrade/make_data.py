"""Makes data directories with the code of then: ``python -m tests.upgrade.make_data [NAME...]`` (all that are missing).

For each of ``ERAS`` the program is taken from git at its revision and run as an operator runs it, with the packages of
this environment and an S3 server of its own: objects are stored, read and purged; then, without the S3 server, some
are written, overwritten and deleted, and an upload is begun. The node is stopped, and its data directory goes into
``data/NAME.tar.xz``, with ``manifest.json``: what is to be found in it.

With a release comes an era of its own (docs/security.md, Releases).
"""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from tierproxy.clock import SystemClock
from tierproxy.embedded import EmbeddedS3
from tierproxy.testing.children import clean_environment

ROOT = Path(__file__).parents[2]
DATA = Path(__file__).parent / "data"
BUCKET = "mail"
NOBODY = "http://127.0.0.1:9"  #: discard: nobody answers
RULES = '[[rule]]\nname = "large"\nwhen = { size = ">= 100KiB" }\nthen = "purge"\n\n[budget]\nmin_on_disk = "0s"\n'
LARGE = 300 * 1024  #: more than a block of the trailer's table


@dataclass(frozen=True, slots=True)
class Era:
    """``revision``: of git, the last one with these formats. ``formats``: what is new in it. ``has``: parts of the
    program that its configuration knows."""

    name: str
    revision: str
    formats: str
    has: frozenset[str] = field(default_factory=frozenset)


ERAS = (
    Era("1-first", "5f66d42", "catalogue 1, blobs 1, directory 1"),
    Era("2-mark", "324b429", "catalogue 2 (gaps of generations), the mark beside it"),
    Era("3-history", "e869880", "catalogue 3 (counting, rules, runs), history 1, admin door and token, looks",
        frozenset({"admin", "rules"})),
    Era("4-stubs", "37c4109", "stubs 1, reads from stubs in history; no format file yet",
        frozenset({"admin", "rules"})),
    Era("5-format", "48cfd1e", "the format file, with catalogue 3", frozenset({"admin", "rules"})),
)  # fmt: skip


def body_of(key: str, size: int) -> bytes:
    """A mail that tells its key, and compresses well."""
    line = f"Subject: {key}\r\n".encode()
    return (line * (size // len(line) + 1))[:size]


CLEAN = {"alice/1": 700, "alice/2": 5000, "alice/large": LARGE, "bob/ä b+c": 64, "bob/empty": 0}
DIRTY = {"carol/new": 900, "carol/large": LARGE + 17, "alice/over": 1200}
OVERWRITTEN = {"alice/over": 800}  #: as alt has it
DELETED = {"bob/gone": 333}
PURGED = {"dave/purged": 4000}
READS = {"alice/1": 3, "alice/2": 1}
PART = b"the first part of an upload that nobody has completed\r\n" * 10


class Then:
    """The program of an era, and its data directory."""

    def __init__(self, era: Era, home: Path, alt: EmbeddedS3) -> None:
        self._era = era
        self._home = home
        self._alt = alt
        self.data = home / "data"
        self.code = home / "code"
        self.config = home / "tierproxy.toml"

    def fetch(self) -> None:
        """The code, without changing the repository it comes from."""
        subprocess.run(["git", "clone", "-q", "--no-checkout", ROOT, self.code], check=True)
        subprocess.run(["git", "-C", self.code, "checkout", "-q", self._era.revision], check=True)

    def configure(self, endpoint: str) -> None:
        secret = self._home / "alt-secret"
        secret.write_text(self._alt.secret_key)
        secret.chmod(0o600)
        lines = [
            "[node]", f'data_dir = "{self.data}"', "[listen]", 'address = "127.0.0.1:0"', 'auth = "none"',
            "[alt]", f'endpoint = "{endpoint}"', f'access_key_id = "{self._alt.access_key}"',
            f'secret_access_key_file = "{secret}"', 'connect_timeout = "1s"', "max_retries = 0",
            "[[bucket]]", f'name = "{BUCKET}"',
        ]  # fmt: skip
        if "admin" in self._era.has:
            lines += ["[admin]", 'address = "127.0.0.1:0"']
        if "rules" in self._era.has:
            rules = self._home / "rules.toml"
            rules.write_text(RULES)
            lines += ["[purge]", f'rules = "{rules}"']
        self.config.write_text("\n".join(lines) + "\n")

    def command(self, *words: str | Path) -> list[str]:
        return [sys.executable, "-m", "tierproxy", *map(str, words), "--config", str(self.config)]

    @property
    def environment(self) -> dict[str, str]:
        return clean_environment(PYTHONPATH=str(self.code))

    def run(self, *words: str | Path) -> None:
        subprocess.run(
            self.command(*words), env=self.environment, cwd=self.code, check=True, stdout=subprocess.DEVNULL
        )  # fmt: skip

    @contextmanager
    def served(self, endpoint: str) -> Iterator[http.client.HTTPConnection]:
        """A node from ready to its orderly end."""
        self.configure(endpoint)
        with subprocess.Popen(
            self.command("serve"), env=self.environment, cwd=self.code, stderr=subprocess.PIPE, text=True
        ) as node:
            assert node.stderr is not None
            said = []
            for line in node.stderr:
                said.append(line)
                if found := re.search(r'ready url="http://([\d.:]+)"', line):
                    break
            else:
                raise RuntimeError("".join(said))
            yield http.client.HTTPConnection(found[1], timeout=60)
            node.terminate()
            node.stderr.read()
            if node.wait():
                raise RuntimeError(f"the node of {self._era.name} ended with {node.returncode}")


def ask(node: http.client.HTTPConnection, method: str, key: str, body: bytes | None = None, **headers: str) -> bytes:
    path = f"/{BUCKET}/" + "".join(c if (c.isalnum() and c.isascii()) or c in "/?=&" else _escaped(c) for c in key)
    node.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = node.getresponse()
    found = answer.read()
    if answer.status >= 300:
        raise RuntimeError(f"{method} {key}: {answer.status} {found[:300]!r}")
    return found


def _escaped(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode())


def live_through(then: Then, alt: EmbeddedS3) -> None:
    with then.served(alt.endpoint) as node:
        for key, size in (CLEAN | OVERWRITTEN | DELETED | PURGED).items():
            ask(node, "PUT", key, body_of(key, size))
        for key, times in READS.items():
            for _ in range(times):
                if ask(node, "GET", key) != body_of(key, CLEAN[key]):
                    raise RuntimeError(f"{key} is not what was written")
    if "rules" in then._era.has:
        then.run("purge", f"{BUCKET}/{next(iter(PURGED))}", "--all", "--yes")
    with then.served(NOBODY) as node:
        for key, size in DIRTY.items():
            ask(node, "PUT", key, body_of(key, size), x_tierproxy_ack="disk")
        for key in DELETED:
            ask(node, "DELETE", key)
        upload = re.search(rb"<UploadId>([^<]+)<", ask(node, "POST", "carol/parts?uploads="))
        assert upload is not None
        ask(node, "PUT", f"carol/parts?partNumber=1&uploadId={upload[1].decode()}", PART)


def manifest(era: Era) -> dict[str, Any]:
    purged = PURGED if "rules" in era.has else {}
    return {
        "name": era.name, "revision": era.revision, "formats": era.formats,
        "on_disk": CLEAN | DIRTY | ({} if purged else PURGED), "purged": purged,
        "in_alt": CLEAN | OVERWRITTEN | DELETED | PURGED, "dirty": DIRTY, "deleted": DELETED, "reads": READS,
        "history": "rules" in era.has, "made_at": SystemClock().now(),
    }  # fmt: skip


def pack(era: Era, data: Path) -> Path:
    """Reproducible but for what the node wrote: no names, no times of files."""
    made = DATA / f"{era.name}.tar.xz"
    with tarfile.open(made, "w:xz", preset=9) as archive:
        text = json.dumps(manifest(era), indent=1).encode()
        about = tarfile.TarInfo("manifest.json")
        about.size = len(text)
        archive.addfile(about, BytesIO(text))
        archive.add(data, "data", filter=_anonymous)
    return made


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


def make(era: Era) -> None:
    with tempfile.TemporaryDirectory(prefix="era-") as place:
        home = Path(place)
        with EmbeddedS3(home / "alt", "then", "a-secret-of-then-with-letters") as alt:
            alt.make_bucket(BUCKET)
            then = Then(era, home, alt)
            then.fetch()
            live_through(then, alt)
        made = pack(era, then.data)
        sys.stdout.write(f"{made.relative_to(ROOT)}: {os.stat(made).st_size} bytes, {era.formats}\n")


def main(names: list[str]) -> None:
    for era in ERAS:
        if era.name in names or (not names and not (DATA / f"{era.name}.tar.xz").exists()):
            make(era)


if __name__ == "__main__":
    main(sys.argv[1:])
