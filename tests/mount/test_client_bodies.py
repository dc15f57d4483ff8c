"""Bodies in and out: memory, scratch files, heads of what is too large, and what becomes of them in trouble."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path

import pytest

from tests.mount.client_world import client_of, send, served, world
from tests.mount.fake_node import answer, fake_node, hangs, says
from tierproxy.disk.fsio import Files
from tierproxy.errors import NoSuchKey, OutOfSpace
from tierproxy.model import Headers
from tierproxy.mount.client import TAIL, HttpNode, Limits, content_type
from tierproxy.mount.client_address import Address, parse_address
from tierproxy.mount.ports import Body, Doubt, NotAllowed, Upload, Who
from tierproxy.testing.wire import until
from tierproxy.traffic import Reason

MIB = 2**20
LARGE = os.urandom(5 * MIB + 17)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def taken(body: Body) -> bytes:
    """The content of the scratch file, which is closed."""
    assert body.fd is not None
    try:
        return os.pread(body.fd, body.file.size + 1, 0)
    finally:
        os.close(body.fd)


@pytest.mark.parametrize("way", [{}, {"signed": True, "tcp": True}], ids=["unix", "tcp signed"])
async def test_large_bodies_come_as_a_scratch_file_without_a_name(tmp_path: Path, way: dict[str, bool]) -> None:
    async with world(tmp_path, **way) as one:  # type: ignore[arg-type]
        sent = await send(one.client, "a/large", LARGE)
        assert await one.node.get("a/large") == LARGE
        for _ in range(2):  # from disk, and from alt
            body = await one.client.open("a/large")
            assert not list((tmp_path / "scratch").iterdir())
            assert (body.file, body.head, body.stub) == (sent, b"", False)
            assert taken(body) == LARGE
            await one.node.purge()


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1])
async def test_bodies_of_every_size_come_whole(tmp_path: Path, size: int) -> None:
    async with world(tmp_path) as one:
        await send(one.client, "a/u.1", LARGE[:size])
        body = await one.client.open("a/u.1")
        assert (body.fd is None) == (size <= MIB)
        assert (body.head if body.fd is None else taken(body)) == LARGE[:size]


async def test_of_what_is_above_the_limit_head_and_tail_come_and_the_rest_in_pieces(tmp_path: Path) -> None:
    async with world(tmp_path, limits=Limits(whole=2 * MIB)) as one:
        await send(one.client, "a/large", LARGE)
        body = await one.client.open("a/large")
        assert (body.fd, body.stub, body.file.size) == (None, False, len(LARGE))
        assert body.head == LARGE[:MIB]
        assert body.tail == LARGE[-TAIL:]
        assert await one.client.piece(body.file, 3 * MIB, MIB) == LARGE[3 * MIB : 4 * MIB]
        assert await one.client.piece(body.file, len(LARGE) - 3, MIB) == LARGE[-3:]
        assert await one.client.piece(body.file, len(LARGE), MIB) == b""


async def test_a_large_body_that_breaks_off_leaves_no_descriptor(tmp_path: Path) -> None:
    whole = answer(200, LARGE, etag='"x"')
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s") as client:
        await asyncio.get_running_loop().run_in_executor(None, lambda: None)
        node.will(says(whole[: 3 * MIB], keep=False))
        with pytest.raises(Doubt):
            await client.open("a/large")
        await until(lambda: node.now == 0)
        before = descriptors()
        for _ in range(3):
            node.will(says(whole[: 3 * MIB], keep=False))
            with pytest.raises(Doubt):
                await client.open("a/large")
            await until(lambda: node.now == 0)
        assert descriptors() == before


async def test_a_caller_who_is_cancelled_in_a_large_body_leaves_no_descriptor(tmp_path: Path) -> None:
    whole = answer(200, LARGE, etag='"x"')

    async def stalls(writer: asyncio.StreamWriter) -> bool:
        writer.write(whole[: 3 * MIB])
        return await hangs(writer)

    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s") as client:
        counts = []
        for number in range(1, 4):
            node.will(stalls)
            task = asyncio.create_task(client.open("a/large"))
            await until(lambda number=number: len(node.heard) == number)  # type: ignore[misc]
            for _ in range(number * 3):
                await asyncio.sleep(0.001)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            node.drop()
            await until(lambda: node.now == 0)
            counts.append(descriptors())
        assert counts[1:] == counts[:1] * 2


class FullDisk(Files):
    """Scratch files can be made, and not be written."""

    def write_at(self, fd: int, data: bytes | bytearray | memoryview, offset: int) -> None:
        raise OutOfSpace


async def test_a_full_scratch_directory_is_doubt(tmp_path: Path) -> None:
    async with world(tmp_path) as one:
        await send(one.client, "a/large", LARGE)
        assert isinstance(one.client, HttpNode)
        one.client._scratch._files = FullDisk()
        with pytest.raises(Doubt):
            await one.client.open("a/large")


@pytest.mark.parametrize("size", [100, 2 * MIB])
async def test_a_file_that_is_shorter_than_it_was_is_not_sent(tmp_path: Path, size: int) -> None:
    async with world(tmp_path) as one:
        fd = os.memfd_create("body")
        os.write(fd, bytes(size - 1))
        with pytest.raises(Doubt):
            await one.client.put(Upload("a/u.1", fd, size, 1.0, 1.0))
        os.close(fd)
        with pytest.raises(NoSuchKey):
            await one.node.get("a/u.1")


async def test_touching_keeps_everything_but_the_times(tmp_path: Path) -> None:
    async with world(tmp_path) as one:
        headers = Headers(
            content_type="message/rfc822",
            cache_control="no-store",
            metadata={"mtime": "1", "guid": "g", "subject": "ä"},
        )
        await one.node.put("a/u.1", b"mail", headers=headers)
        before = one.node.row("a/u.1")
        touched = await one.client.touch(await one.client.look("a/u.1"), 2.5, 3.5)
        assert (touched.modified, touched.changed) == (2.5, 3.5)
        after = one.node.row("a/u.1")
        assert before is not None
        assert before.headers is not None
        assert after is not None
        assert after.headers is not None
        assert after.headers.content_type == "message/rfc822"
        assert after.headers.cache_control == "no-store"
        kept = {name: value for name, value in before.headers.metadata.items() if name not in {"mtime", "ctime"}}
        assert after.headers.metadata == {**kept, "mtime": "2.500000000", "ctime": "3.500000000"}


async def test_metadata_and_types_of_an_upload_are_stored(tmp_path: Path) -> None:
    async with world(tmp_path) as one:
        fd = os.memfd_create("body")
        for key in ("ann/cur/1.host:2,S", "ann/dbox/u.1"):
            await one.client.put(Upload(key, fd, 0, 1.25, 2.5, metadata={"guid": "ä"}))
        os.close(fd)
        rows = [one.node.row(key) for key in ("ann/cur/1.host:2,S", "ann/dbox/u.1")]
        found = [row.headers for row in rows if row is not None and row.headers is not None]
        assert [headers.content_type for headers in found] == ["message/rfc822", "application/octet-stream"]
        for headers in found:
            wanted = {"guid": "ä", "mtime": "1.250000000", "ctime": "2.500000000"}
            assert {name: headers.metadata[name] for name in wanted} == wanted


@pytest.mark.parametrize("metadata", [{"a": "x\r\ny: z"}, {"a\n": "x"}, {"a": "\0"}])
async def test_metadata_that_would_make_other_headers_is_refused(tmp_path: Path, metadata: dict[str, str]) -> None:
    async with world(tmp_path) as one:
        with pytest.raises(ValueError, match="cannot be a header"):
            await one.client.put(Upload("a/u.1", 0, 0, 1.0, 1.0, metadata=metadata))


def test_messages_are_what_a_maildir_holds() -> None:
    assert content_type("u/cur/1") == content_type("new/1") == b"message/rfc822"
    assert content_type("u/dbox-Mails/u.1") == content_type("cur") == b"application/octet-stream"


async def test_times_survive_to_the_bit(tmp_path: Path) -> None:
    async with world(tmp_path) as one:
        for seconds in (0.0, 1.7e9 + 0.123456789, 1e9 / 3, -5.5, 4e9 + 2**-20):
            fd = os.memfd_create("body")
            await one.client.put(Upload("a/u.1", fd, 0, seconds, seconds))
            os.close(fd)
            found = await one.client.look("a/u.1")
            assert abs(found.modified - seconds) < 1e-9
            assert (await one.client.children("a/")).files == (found,)


async def test_the_node_hears_who_reads_and_why(tmp_path: Path) -> None:
    async with fake_node(tmp_path) as node, client_of(node.address, tmp_path / "s") as client:
        node.will(*[answer(200, b"", etag='"x"')] * 2)
        await client.open("a/u.1", Who(Reason.INDEX.value, "indexer-worker"))
        await client.open("a/u.1")
        assert [heard.headers.get("x-tierproxy-reason") for heard in node.heard] == ["index", None]
        assert node.heard[0].headers["user-agent"] == "tierproxy-mount/1"
        assert node.heard[0].headers["host"] == "localhost"


async def test_many_children_are_asked_for_page_by_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tierproxy.mount.client.PAGE", 2)
    async with world(tmp_path, prefix="p/") as one:
        for key in ("a/", "a/1", "a/2", "a/3", "a/b/1", "a/ü/1", "a//x", "a/./x"):
            await one.put(key, b"x")
        below = await one.client.children("a/")
        assert [file.key for file in below.files] == ["a/1", "a/2", "a/3"]
        assert (below.directories, below.marked) == (("b", "ü"), True)


async def test_a_key_that_may_only_read_may_not_write(tmp_path: Path) -> None:
    async with world(tmp_path, signed=True, access="read", grants=("mail/ann",), prefix="ann/") as one:
        await one.put("u.1", b"mail")
        assert (await one.client.open("u.1")).head == b"mail"
        assert (await one.client.children("")).files[0].key == "u.1"
        for change in (
            send(one.client, "u.2", b"x"), one.client.delete("u.1"), one.client.mark("d/", 1.0),
            one.client.copy(await one.client.look("u.1"), "u.3"),
        ):  # fmt: skip
            with pytest.raises(NotAllowed):
                await change


async def test_a_wrong_key_is_not_allowed(tmp_path: Path) -> None:
    async with served(tmp_path, signed=True) as (_, _, address), client_of(address, tmp_path / "s") as client:
        with pytest.raises(NotAllowed):
            await client.look("a/u.1")


async def test_a_bucket_that_is_not_there_never_looks_like_missing_mail(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, _, where), client_of(where, tmp_path / "s", bucket="typo") as client:
        for call in (client.look("a"), client.open("a"), client.children("a/"), send(client, "a", b"")):
            with pytest.raises(Doubt):
                await call


def test_addresses_of_a_node() -> None:
    assert parse_address("unix:/run/s3.sock") == parse_address("unix:///run/s3.sock") == Address(socket="/run/s3.sock")
    assert parse_address("http://127.0.0.1:9300/") == Address(host="127.0.0.1", port=9300)
    assert parse_address("https://[::1]").authority == "[::1]"
    assert parse_address("http://node:80").authority == "node"
    assert [parse_address(text).private for text in ("unix:/s", "https://n", "http://127.0.0.1:1", "http://n")] == [
        True, True, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "unix:relative", "ftp://x", "http://", "http://x/bucket", "http://x:99999",
                                  "http://x:0", "https://u:p@x", "/run/s3.sock", "http://x?a"])  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    from tierproxy.errors import ConfigError

    with pytest.raises(ConfigError):
        parse_address(text)
