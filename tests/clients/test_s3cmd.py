"""s3cmd: path-style by a host_bucket without the bucket in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.clients.mailtree import digests, plant
from tests.clients.programs import Program, find
from tests.clients.proxy import MIB, REGION, SECRETS, WRITER, Behind, Proxy, clean_environment, sha256

pytestmark = pytest.mark.clients


@pytest.fixture
def s3cmd(proxy: Proxy, tmp_path: Path) -> Program:
    settings = {
        "access_key": WRITER, "secret_key": SECRETS[WRITER], "host_base": proxy.address, "host_bucket": proxy.address,
        "bucket_location": REGION, "use_https": "False", "max_retries": "1",
    }  # fmt: skip
    lines = [f"{name} = {value}" for name, value in settings.items()]
    (tmp_path / "s3cfg").write_text("\n".join(["[default]", *lines]) + "\n")
    command = [find("s3cmd"), "--config", "s3cfg", "--no-progress"]
    return Program(command, clean_environment(HOME=str(tmp_path)), tmp_path)


def test_a_tree_of_mails_is_synced_listed_and_deleted(
    s3cmd: Program, bucket: str, behind: Behind, tmp_path: Path
) -> None:
    planted, remote = plant(tmp_path / "up"), f"s3://{bucket}/tree/"
    s3cmd.run("sync", "up/", remote)
    assert behind.keys(bucket) == {f"tree/{name}" for name in planted}
    listed = {line.split(maxsplit=3)[3].removeprefix(remote) for line in s3cmd.lines("ls", "--recursive", remote)}
    assert listed == set(planted)
    (tmp_path / "down").mkdir()
    s3cmd.run("sync", remote, "down/")
    assert digests(tmp_path / "down") == planted
    s3cmd.run("del", "--recursive", "--force", remote)
    assert behind.keys(bucket) == set()


def test_objects_are_put_got_copied_and_moved(s3cmd: Program, bucket: str, behind: Behind, tmp_path: Path) -> None:
    (tmp_path / "mail").write_bytes(b"mail")
    s3cmd.run("put", "mail", f"s3://{bucket}/ann/1 + ä")
    s3cmd.run("cp", f"s3://{bucket}/ann/1 + ä", f"s3://{bucket}/copy")
    s3cmd.run("mv", f"s3://{bucket}/ann/1 + ä", f"s3://{bucket}/bob/2")
    s3cmd.run("get", f"s3://{bucket}/bob/2", "back")
    assert (tmp_path / "back").read_bytes() == b"mail"
    assert behind.keys(bucket) == {"copy", "bob/2"}
    s3cmd.run("del", f"s3://{bucket}/copy")
    assert (
        b"NoSuchKey" in s3cmd.run("get", f"s3://{bucket}/copy", "gone", fails=True) or not (tmp_path / "gone").exists()
    )


def test_a_large_file_goes_up_in_parts(s3cmd: Program, bucket: str, behind: Behind, tmp_path: Path) -> None:
    content = os.urandom(18 * MIB)
    (tmp_path / "big").write_bytes(content)
    s3cmd.run("put", "big", f"s3://{bucket}/big")
    s3cmd.run("get", f"s3://{bucket}/big", "back")
    assert sha256((tmp_path / "back").read_bytes()) == sha256(content) == behind.sha256(bucket, "big")


def test_a_bucket_is_made_and_removed(s3cmd: Program) -> None:
    s3cmd.run("mb", "s3://made-by-s3cmd")
    assert any(line.endswith("s3://made-by-s3cmd") for line in s3cmd.lines("ls"))
    s3cmd.run("rb", "s3://made-by-s3cmd")
