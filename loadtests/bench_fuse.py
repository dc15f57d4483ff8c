#!/usr/bin/env python3
"""Which way to FUSE: the same small file system over a directory by our own kit, with and without FUSE passthrough, by
mfusepy and by pyfuse3; beside ext4, bindfs (C), s3fs and rclone (both over a SeaweedFS).

Three measures, in turns; medians:

- open: stat, open, read, close of each of --files files of 4 KiB, in one process;
- deliver: what Dovecot does for one mail: create .temp, write three times, pwrite, fdatasync, close, rename, open and
  fsync of the directory;
- read: 64 MB from the beginning to the end.

mfusepy and pyfuse3 are installed by pip into an environment below the workplace, which goes at the end (pyfuse3 is
compiled: apt-get install libfuse3-dev pkg-config gcc). --bindings names one that is there: python3 -m venv DIR &&
DIR/bin/pip install mfusepy pyfuse3. Who is not installed is left out. Needs root and /dev/fuse.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which

import report
from served import Failed, seaweed, workplace

from tierproxy.embedded import EmbeddedS3
from tierproxy.testing.children import ChildFailed, Mounted

HERE = Path(__file__).resolve().parent
SMALL, LARGE = 4096, 64 * 2**20
BLOCK = 128 * 1024
HEAD = ("file system", "open: files/s", "ratio", "deliver: ms", "ratio", "read: MB/s", "ratio")
MAIL = (os.urandom(250), os.urandom(16 * 1024), os.urandom(55), os.urandom(30))
REMOTE = 10  #: file systems over S3 get a share of the work: one of so many


@dataclass
class Stage:
    """A directory to work in. ``share``: one of so many files and mails."""

    name: str
    directory: Path
    share: int = 1
    opened: list[float] = field(default_factory=list)
    delivered: list[float] = field(default_factory=list)
    read: list[float] = field(default_factory=list)

    def fill(self, files: int) -> None:
        for number in range(files // self.share):
            (self.directory / f"f.{number}").write_bytes(os.urandom(SMALL))
        (self.directory / "large").write_bytes(os.urandom(2**20) * (LARGE // 2**20))

    def open_and_read(self, files: int) -> None:
        """Rates of one round."""
        self.opened.append(files // self.share / _seconds(lambda: self._open(files // self.share)))
        self.read.append(LARGE / 1e6 / _seconds(self._read))

    def deliver(self, number: int) -> None:
        """One mail; of those with a share only some are."""
        if number % self.share == 0:
            self.delivered.append(_seconds(lambda: self._deliver(str(number))) * 1000)

    def _open(self, files: int) -> None:
        for number in range(files):
            path = f"{self.directory}/f.{number}"
            os.stat(path)
            fd = os.open(path, os.O_RDONLY)
            if len(os.read(fd, SMALL)) != SMALL:
                raise Failed(f"{self.name}: {path} is short")
            os.close(fd)

    def _deliver(self, name: str) -> None:
        temporary = f"{self.directory}/.temp.{name}"
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        for piece in MAIL[:3]:
            os.write(fd, piece)
        os.pwrite(fd, MAIL[3], 16)
        os.fdatasync(fd)
        os.close(fd)
        os.rename(temporary, f"{self.directory}/u.{name}")
        above = os.open(self.directory, os.O_RDONLY)
        os.fsync(above)
        os.close(above)

    def _read(self) -> None:
        with (self.directory / "large").open("rb", buffering=0) as file:
            size = 0
            while block := file.read(BLOCK):
                size += len(block)
        if size != LARGE:
            raise Failed(f"{self.name}: {size} bytes of {LARGE}")


def _seconds(work: Callable[[], None]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


# ------------------------------------------------------------ contenders


@contextmanager
def stages(place: Path, bindings: Path | None, server: EmbeddedS3) -> Iterator[list[Stage]]:
    """Everybody who can be mounted here."""
    with ExitStack() as stack:
        found = [Stage("ext4", _directory(place, "ext4"))]
        for name, make in _mirrors(place, bindings).items():
            _try(stack, found, place, name, make, 1)
        for name, command in _remote(place, server).items():
            _try(stack, found, place, name, _at_the_point(command), REMOTE)
        yield found


Command = Callable[[Path, Path], list[str]]


def _try(stack: ExitStack, found: list[Stage], place: Path, name: str, command: Command, share: int) -> None:
    short = name.replace(" ", "-").replace(",", "")
    below, point = _directory(place, f"{short}-below"), _directory(place, f"{short}-point")
    words = command(below, point)
    try:
        if which(words[0]) is None:
            raise ChildFailed(f"{words[0]} is not installed")
        stack.enter_context(Mounted(point, place / f"{short}.log", words))
    except ChildFailed as error:
        print(f"{name} is left out: {error}", file=sys.stderr)
        return
    found.append(Stage(name, point, share))


def _mirrors(place: Path, bindings: Path | None) -> dict[str, Command]:
    """Programs that show one directory in another."""
    ours = [sys.executable, str(HERE / "fuse_kit.py")]
    theirs = str((bindings or _installed(place)) / "bin" / "python")
    return {
        "our kit": lambda below, point: [*ours, str(below), str(point)],
        "our kit, passthrough": lambda below, point: [*ours, str(below), str(point), "--passthrough"],
        "mfusepy": lambda below, point: [theirs, str(HERE / "fuse_mfusepy.py"), str(below), str(point)],
        "pyfuse3": lambda below, point: [theirs, str(HERE / "fuse_pyfuse3.py"), str(below), str(point)],
        "bindfs": lambda below, point: ["bindfs", "-f", str(below), str(point)],
    }


def _installed(place: Path) -> Path:
    """An environment with both bindings, or with what of them can be had."""
    bindings = place / "bindings"
    subprocess.run([sys.executable, "-m", "venv", str(bindings)], check=True)
    for package in ("mfusepy", "pyfuse3"):
        done = subprocess.run(
            [str(bindings / "bin" / "pip"), "install", "--quiet", package], check=False, capture_output=True, text=True
        )
        if done.returncode != 0:
            print(f"{package} cannot be installed: {done.stderr.strip()[-300:]}", file=sys.stderr)
    return bindings


def _remote(place: Path, server: EmbeddedS3) -> dict[str, list[str]]:
    """Programs that show a bucket, without their mount point."""
    passwd, config = place / "passwd-s3fs", place / "rclone.conf"
    passwd.touch(0o600)
    passwd.write_text(f"{server.access_key}:{server.secret_key}\n")
    config.write_text(
        f"[s3]\ntype = s3\nprovider = Other\nendpoint = {server.endpoint}\nforce_path_style = true\n"
        f"access_key_id = {server.access_key}\nsecret_access_key = {server.secret_key}\n"
    )
    options = (
        f"url={server.endpoint},use_path_request_style,sigv4,passwd_file={passwd},tmpdir={_directory(place, 'tmp')}"
    )
    cache = ["--vfs-cache-mode", "full", "--cache-dir", str(place / "cache")]
    return {
        "s3fs": ["s3fs", "-f", "-o", options, "s3fs"],
        "rclone": ["rclone", "--config", str(config), *cache, "mount", "s3:rclone"],
    }


def _at_the_point(command: list[str]) -> Command:
    return lambda _, point: [*command, str(point)]


def _directory(place: Path, name: str) -> Path:
    (place / name).mkdir()
    return place / name


# ------------------------------------------------------------ the table


def rows(found: list[Stage]) -> list[list[str]]:
    """Ratios are to the first."""
    first = found[0]
    return [
        [
            one.name, f"{_median(one.opened):,.0f}", f"{_median(one.opened) / _median(first.opened):.3f}",
            f"{_median(one.delivered):.2f}", f"{_median(one.delivered) / _median(first.delivered):.1f}",
            f"{_median(one.read):,.0f}", f"{_median(one.read) / _median(first.read):.2f}",
        ]
        for one in found
    ]  # fmt: skip


_median = statistics.median


def main() -> None:
    options = arguments().parse_args()
    with workplace(options.dir, 2**30) as place:
        facts = "\n".join(f"- {name}: {value}" for name, value in report.machine(place))
        with (
            seaweed(place / "s3", "s3fs", "rclone") as server,
            stages(place, options.bindings, server) as found,
        ):
            for stage in found:
                stage.fill(options.files)
            for number in range(options.rounds):
                for stage in found if number % 2 == 0 else reversed(found):
                    stage.open_and_read(options.files)
            deliver([stage for stage in found if stage.share == 1], options.mails)
            deliver([stage for stage in found if stage.share > 1], options.mails)
            text = f"{facts}\n\n{report.table(HEAD, rows(found))}"
    print(text)
    if options.write:
        report.keep("fuse", text)


def deliver(found: list[Stage], mails: int) -> None:
    """Mail by mail in turns: the journal of one disk is behind all of them, and what it does meanwhile meets everybody.
    Those over S3 come after the others, because their server writes to that disk as well."""
    for number in range(mails):
        turn = number % len(found)
        for stage in [*found[turn:], *found[:turn]]:
            stage.deliver(number)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000, help="small files (s3fs and rclone: a tenth)")
    parser.add_argument("--mails", type=int, default=600, help="deliveries (s3fs and rclone: a tenth)")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--bindings", type=Path, help="an environment with mfusepy and pyfuse3")
    parser.add_argument("--dir", help="where to work")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    return parser


if __name__ == "__main__":
    main()
