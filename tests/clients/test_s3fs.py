"""A directory of s3fs on a bucket: what a mail store's files do on it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.clients.mailtree import digests, plant
from tests.clients.programs import find
from tests.clients.proxy import MIB, SECRETS, WRITER, Behind, Proxy, clean_environment, sha256

pytestmark = pytest.mark.clients
SECONDS = 20.0


def refuse_without_fuse() -> None:
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        reason = "/dev/fuse cannot be used: run as root, in a container with --device /dev/fuse --cap-add SYS_ADMIN"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture
def mounted(proxy: Proxy, bucket: str, tmp_path: Path) -> Iterator[Path]:
    """The bucket as a directory. Unmounted at the end, and s3fs has ended by then."""
    program, unmount = find("s3fs"), find("fusermount3")
    refuse_without_fuse()
    where, log = tmp_path / "mount", tmp_path / "s3fs.log"
    for name in ("mount", "work"):
        (tmp_path / name).mkdir()
    (tmp_path / "passwd").touch(0o600)
    (tmp_path / "passwd").write_text(f"{WRITER}:{SECRETS[WRITER]}\n")
    options = (
        f"url={proxy.url},use_path_request_style,sigv4,passwd_file={tmp_path}/passwd,tmpdir={tmp_path}/work,retries=1"
    )
    command = [program, bucket, str(where), "-f", "-o", options]
    with log.open("wb") as output, subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=clean_environment()
    ) as process:  # fmt: skip
        try:
            wait_for_mount(process, where, log)
            yield where
        finally:
            subprocess.run([unmount, "-u", str(where)], check=False, timeout=SECONDS)
            try:
                process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                subprocess.run([unmount, "-u", "-z", str(where)], check=False, timeout=SECONDS)
    assert process.returncode == 0, log.read_text()
    assert not os.path.ismount(where)


def wait_for_mount(process: subprocess.Popen[bytes], where: Path, log: Path) -> None:
    for _ in range(int(SECONDS / 0.05)):
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
            break
        if os.path.ismount(where):
            return
    raise AssertionError(f"s3fs did not mount:\n{log.read_text()}")


def test_mails_are_written_read_renamed_and_deleted(mounted: Path, bucket: str, behind: Behind) -> None:
    planted = plant(mounted, count=6)
    assert digests(mounted) == planted
    for name, digest in planted.items():
        assert behind.sha256(bucket, name) == digest
    old, new = mounted / next(iter(planted)), mounted / "cur" / "renamed ä"
    (mounted / "cur").mkdir()
    old.rename(new)
    assert [path.name for path in (mounted / "cur").iterdir()] == ["renamed ä"]
    assert sha256(new.read_bytes()) == next(iter(planted.values())) == behind.sha256(bucket, "cur/renamed ä")
    new.unlink()
    (mounted / "cur").rmdir()
    found = behind.keys(bucket)
    assert not {"cur/", "cur/renamed ä", str(old.relative_to(mounted))} & found
    assert set(planted) - {str(old.relative_to(mounted))} <= found


def test_a_directory_is_renamed_with_what_is_in_it(mounted: Path, bucket: str, behind: Behind) -> None:
    (mounted / "folder").mkdir()
    (mounted / "folder" / "1").write_bytes(b"one")
    (mounted / "folder").rename(mounted / "archive")
    assert (mounted / "archive" / "1").read_bytes() == b"one"
    assert behind.keys(bucket) == {"archive/", "archive/1"}


def test_a_file_grows_is_cut_and_keeps_its_times(mounted: Path, bucket: str, behind: Behind) -> None:
    file, content = mounted / "log", os.urandom(12 * MIB)
    file.write_bytes(content)
    with file.open("ab") as end:
        end.write(b"appended")
    assert behind.sha256(bucket, "log") == sha256(content + b"appended")
    with file.open("r+b") as shorter:  # truncate() of a file that is not open: s3fs 1.90 writes zeros, on any server
        shorter.truncate(1000)
    assert behind.sha256(bucket, "log") == sha256(content[:1000])
    os.utime(file, (1_000_000_000, 1_000_000_000))
    file.chmod(0o600)
    assert (file.stat().st_mtime, file.stat().st_mode & 0o777) == (1_000_000_000, 0o600)
    assert file.read_bytes() == content[:1000]
