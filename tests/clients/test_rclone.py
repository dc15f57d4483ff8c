"""rclone, as Debian has it: provider Other, everything else as it comes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.clients.mailtree import digests, plant
from tests.clients.programs import Program, find
from tests.clients.proxy import MIB, REGION, SECRETS, WRITER, Behind, Proxy, clean_environment, sha256

pytestmark = pytest.mark.clients


@pytest.fixture(params=["plain_proxy", "tls_proxy"], ids=["http", "https"])
def proxy(request: pytest.FixtureRequest) -> Proxy:
    found: Proxy = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def rclone(proxy: Proxy, tmp_path: Path) -> Program:
    settings = {
        "TYPE": "s3", "PROVIDER": "Other", "ACCESS_KEY_ID": WRITER, "SECRET_ACCESS_KEY": SECRETS[WRITER],
        "ENDPOINT": proxy.url, "REGION": REGION,
    }  # fmt: skip
    remote = {f"RCLONE_CONFIG_TP_{name}": value for name, value in settings.items()}
    tls = {"RCLONE_CA_CERT": str(proxy.certificate)} if proxy.url.startswith("https") else {}
    environment = clean_environment(**remote, **tls, RCLONE_CONFIG="", HOME=str(tmp_path))
    return Program([find("rclone"), "--retries", "1", "--low-level-retries", "1"], environment, tmp_path)


def test_a_tree_of_mails_is_copied_synced_checked_and_purged(
    rclone: Program, bucket: str, behind: Behind, tmp_path: Path
) -> None:
    planted, remote = plant(tmp_path / "up"), f"tp:{bucket}/tree"
    rclone.run("copy", "up", remote)
    assert behind.keys(bucket) == {f"tree/{name}" for name in planted}
    assert set(rclone.lines("lsf", "-R", "--files-only", remote)) == set(planted)
    rclone.run("check", "up", remote)
    rclone.run("check", "--download", "up", remote)
    victim, changed = list(planted)[:2]
    (tmp_path / "up" / victim).unlink()
    (tmp_path / "up" / changed).write_bytes(b"changed")
    rclone.run("sync", "up", remote)
    rclone.run("sync", remote, "down")
    assert digests(tmp_path / "down") == digests(tmp_path / "up")
    assert behind.sha256(bucket, f"tree/{changed}") == sha256(b"changed")
    (tmp_path / "down" / changed).write_bytes(b"CHANGED")
    rclone.run("check", "--download", "down", remote, fails=True)
    rclone.run("purge", remote)
    assert behind.keys(bucket) == set()


def test_streams_parts_and_moves(rclone: Program, bucket: str, behind: Behind, tmp_path: Path) -> None:
    content, parts = os.urandom(12 * MIB), ("--s3-upload-cutoff", "5M", "--s3-chunk-size", "5M")
    (tmp_path / "big + ä").write_bytes(content)
    rclone.run("copyto", *parts, "big + ä", f"tp:{bucket}/big + ä")
    rclone.run("check", "--download", ".", f"tp:{bucket}", "--include", "/big + ä")
    assert behind.sha256(bucket, "big + ä") == sha256(content)
    rclone.run("rcat", *parts, f"tp:{bucket}/streamed", stdin=content)
    rclone.run("rcat", f"tp:{bucket}/short", stdin=b"mail")
    rclone.run("moveto", f"tp:{bucket}/streamed", f"tp:{bucket}/moved/here")
    assert sha256(rclone.run("cat", f"tp:{bucket}/moved/here")) == sha256(content)
    assert rclone.run("cat", "--offset", "1", "--count", "2", f"tp:{bucket}/short") == b"ai"
    rclone.run("copyto", "--s3-copy-cutoff", "5M", f"tp:{bucket}/moved/here", f"tp:{bucket}/copied in parts")
    assert behind.sha256(bucket, "copied in parts") == sha256(content)
    rclone.run("deletefile", f"tp:{bucket}/short")
    assert behind.keys(bucket) == {"big + ä", "moved/here", "copied in parts"}


def test_a_bucket_is_made_and_removed(rclone: Program) -> None:
    rclone.run("mkdir", "tp:made-by-rclone")
    assert "made-by-rclone/" in rclone.lines("lsf", "tp:")
    rclone.run("rmdir", "tp:made-by-rclone")
    assert "made-by-rclone/" not in rclone.lines("lsf", "tp:")
