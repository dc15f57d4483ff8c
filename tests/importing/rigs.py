"""A bucket in memory, and sources in a directory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tierproxy.cli.imported import Seen
from tierproxy.errors import NoSuchKey, PreconditionFailed
from tierproxy.importing.letters import Bad, Folder, Letter
from tierproxy.importing.parcels import Parcel
from tierproxy.importing.places import ByName, Places
from tierproxy.importing.transfer import Done, Report, Transfer, Verify
from tierproxy.model import Listed
from tierproxy.offload import ThreadPool
from tierproxy.testing.clock import VirtualClock

HELLO = b"From: bob@example.org\r\nSubject: hello\r\n\r\nHello,\r\nAlice\r\n"
HELLO_LF = HELLO.replace(b"\r\n", b"\n")
INBOX = "alice/mailboxes/INBOX/dbox-Mails/"


@dataclass
class Bucket:
    """``tierproxy.importing.transfer.Objects``. ``before_put`` is called with each key before it is stored."""

    objects: dict[str, tuple[Parcel, bytes]] = field(default_factory=dict)
    puts: list[str] = field(default_factory=list)
    before_put: Callable[[str], None] = lambda key: None
    flip: Callable[[bytes], bytes] = lambda content: content

    def listed(self, directory: str) -> Iterator[Listed]:
        for key, (parcel, _) in sorted(self.objects.items()):
            if key.startswith(directory):
                yield Listed(key, parcel.size, parcel.md5, 0.0)

    def put(self, key: str, parcel: Parcel) -> Seen:
        self.before_put(key)
        if key in self.objects:
            raise PreconditionFailed(key)
        self.puts.append(key)
        self.objects[key] = (parcel, self.flip(b"".join(parcel.blocks())))
        return Seen(parcel.md5, parcel.size)

    def look(self, key: str) -> Seen:
        if key not in self.objects:
            raise NoSuchKey(key)
        parcel, content = self.objects[key]
        return Seen(parcel.md5, len(content))

    def read_again(self, key: str) -> Seen:
        content = self.objects[key][1]
        return Seen(hashlib.md5(content, usedforsecurity=False).hexdigest(), len(content))

    def content(self, key: str) -> bytes:
        return self.objects[key][1]

    @property
    def keys(self) -> list[str]:
        return sorted(self.objects)


@dataclass
class Remembered:
    """``tierproxy.importing.transfer.Journal``."""

    mails: dict[tuple[str, str], Done] = field(default_factory=dict)
    flags: list[tuple[str, int, tuple[str, ...], tuple[str, ...]]] = field(default_factory=list)

    def known(self, letter: Letter, directory: str) -> Done | None:
        return self.mails.get((letter.fingerprint, directory))

    def done(self, letter: Letter, directory: str, uid: int, parcel: Parcel) -> None:
        self.mails[letter.fingerprint, directory] = Done(uid, parcel.md5)

    def flagged(self, folder: Folder, uid: int, letter: Letter) -> None:
        self.flags.append((folder.title, uid, letter.flags, letter.keywords))


@dataclass
class Watched:
    """``tierproxy.importing.transfer.Watch``."""

    total: int = 0
    mails: int = 0
    size: int = 0

    def begun(self, total: int) -> None:
        self.total = total

    def moved(self, mails: int, size: int) -> None:
        self.mails += mails
        self.size += size

    def bad(self, bad: Bad) -> None:
        pass


async def transferred(
    source: Iterable[Folder | Bad], bucket: Bucket, *, journal: Remembered | None = None, places: Places | None = None,
    verify: Verify = Verify.HEAD, dry_run: bool = False, watch: Watched | None = None, senders: int = 3,
) -> Report:  # fmt: skip
    """One run, to its end."""
    threads = ThreadPool("import", 4)
    try:
        transfer = Transfer(
            places or ByName("alice"), threads, VirtualClock(autojump=0.02), journal or Remembered(),
            watch or Watched(), verify, dry_run,
        )  # fmt: skip
        return await transfer.run(source, bucket, [bucket] * senders)
    finally:
        await threads.close()


def maildir(root: Path) -> Path:
    for name in ("cur", "new", "tmp"):
        (root / name).mkdir(parents=True, exist_ok=True)
    return root


def mail(folder: Path, name: str, content: bytes = HELLO, *, at: int = 1_763_772_000, where: str = "cur") -> Path:
    file = maildir(folder) / where / name
    file.write_bytes(content)
    os.utime(file, (at, at))
    return file


def letters_of(folder: Folder) -> list[Letter]:
    return [one for one in folder.letters() if isinstance(one, Letter)]


def bad_of(folder: Folder) -> list[Bad]:
    return [one for one in folder.letters() if isinstance(one, Bad)]


def folders_of(source: Iterable[Folder | Bad]) -> dict[str, Folder]:
    return {one.title: one for one in source if isinstance(one, Folder)}


def body(parcel: Parcel) -> bytes:
    return b"".join(parcel.blocks())
