"""What the object port serves beyond S3: children of a directory, and the room there is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import BucketSection, ListenSection
from tierproxy.model import Headers
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.auth import AccessKey, Admission, Identity, Open, Payload
from tierproxy.s3api.extension.children import seconds
from tierproxy.s3api.grants import Grants
from tierproxy.s3api.request import Request
from tierproxy.store.body import MemorySource
from tierproxy.testing.clock import EPOCH, VirtualClock
from tierproxy.testing.probe import Answer, Probe
from tierproxy.testing.rig import BUCKET, Rig, name, rig

SHARED: dict[str, Any] = {"bucket": (BucketSection(name=BUCKET, exclusive=False),)}


class Limited:
    """Lets everybody in with the grants of one key."""

    def __init__(self, *buckets: str) -> None:
        self._key = AccessKey("id", "secret", Grants.of(buckets, "read"))

    def admit(self, request: Request) -> Admission:
        return Admission(Identity("id", self._key.grants), Payload.UNSIGNED)


@asynccontextmanager
async def served(
    root: Path, *, alt: MemoryAlt | None = None, grants: str = "", **sections: Any
) -> AsyncIterator[tuple[Probe, Rig]]:
    async with rig(root, alt=alt, clock=VirtualClock(EPOCH + 0.5), **sections) as node:
        authenticator = Limited(grants) if grants else Open()
        yield Probe(ObjectApp(node.parts.store, authenticator, ListenSection(auth="none"), node.parts.clock)), node


def document(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = json.loads(answer.body)
    return found


async def pages(probe: Probe, prefix: str, limit: int) -> list[dict[str, Any]]:
    found, after = [], ""
    while True:
        page = document(await probe.get(f"/mail?tierproxy-children&prefix={prefix}&limit={limit}&after={after}"))
        found.append(page)
        after = page["next"]
        if not after:
            return found


async def test_children_have_size_etag_and_the_times_of_their_metadata(tmp_path: Path) -> None:
    async with served(tmp_path) as (probe, node):
        written = await node.put("a/u.1", b"mail", headers=Headers(metadata={"mtime": "1500.25", "ctime": "1600"}))
        await node.put("a/u.2", b"x")
        await node.put("a/b/u.1", b"x")
        page = document(await probe.get("/mail?tierproxy-children&prefix=a/"))
        assert page["files"][0] == {
            "name": "u.1", "size": 4, "etag": written.entry.etag, "modified": 1500.25, "changed": 1600.0,
        }  # fmt: skip
        assert (page["files"][1]["modified"], page["files"][1]["changed"]) == (EPOCH, EPOCH)
        assert (page["directories"], page["marked"], page["next"]) == (["b"], False, "")


@pytest.mark.parametrize("sections", [{}, SHARED], ids=["catalogue", "alt"])
async def test_every_page_size_gives_the_same_children(tmp_path: Path, sections: dict[str, Any]) -> None:
    async with served(tmp_path, **sections) as (probe, node):
        for key in ("a/", "a/x", "a/x/1", "a/x-1", "a/é", "a/z/2/3", "a/z/4", "b"):
            await node.put(key, b"x", headers=Headers(metadata={"mtime": "7"}))
        for limit in (1, 2, 3, 1000):
            found = await pages(probe, "a/", limit)
            assert [page["marked"] for page in found] == [True] + [False] * (len(found) - 1)
            files = [file for page in found for file in page["files"]]
            assert [file["name"] for file in files] == ["x", "x-1", "é"]
            assert {file["modified"] for file in files} == {7.0}
            assert [directory for page in found for directory in page["directories"]] == ["x", "z"]
            assert all(len(page["files"]) + len(page["directories"]) <= limit for page in found)


async def test_a_marker_alone_is_an_empty_directory_and_nothing_at_all_is_none(tmp_path: Path) -> None:
    async with served(tmp_path) as (probe, node):
        await node.put("a/", b"")
        for limit in (1, 1000):
            page = document(await probe.get(f"/mail?tierproxy-children&prefix=a/&limit={limit}"))
            assert page == {"marked": True, "files": [], "directories": [], "next": ""}
        page = document(await probe.get("/mail?tierproxy-children&prefix=none/"))
        assert page == {"marked": False, "files": [], "directories": [], "next": ""}


async def test_what_only_alt_knows_is_shown_with_the_time_it_was_written(tmp_path: Path) -> None:
    alt = MemoryAlt(clock=VirtualClock(4000.75))
    async with served(tmp_path, alt=alt, **SHARED) as (probe, _):
        await alt.put(name("a/u.1"), MemorySource(b"theirs"), Headers(metadata={"mtime": "7"}), md5="")
        (file,) = document(await probe.get("/mail?tierproxy-children&prefix=a/"))["files"]
        assert (file["name"], file["size"], file["modified"]) == ("u.1", 6, 4000.0)
        await probe.head("/mail/a/u.1")  # from now on its headers are known
        (file,) = document(await probe.get("/mail?tierproxy-children&prefix=a/"))["files"]
        assert file["modified"] == 7.0


@pytest.mark.parametrize("query", ["prefix=a", "prefix=a/&limit=0", "prefix=a/&limit=1001", "limit=x"])
async def test_children_of_what_is_no_directory_are_refused(tmp_path: Path, query: str) -> None:
    async with served(tmp_path) as (probe, _):
        answer = await probe.get(f"/mail?tierproxy-children&{query}")
        assert (answer.status, answer.code) == (400, "InvalidArgument")


async def test_children_and_changes_need_list_of_what_is_asked_for(tmp_path: Path) -> None:
    async with served(tmp_path, grants="mail/ann") as (probe, _):
        for what in ("children", "changes"):
            for prefix in ("", "&prefix=bob/"):
                answer = await probe.get(f"/mail?tierproxy-{what}{prefix}")
                assert (answer.status, answer.code) == (403, "AccessDenied")
        assert (await probe.get("/mail?tierproxy-children&prefix=ann/")).status == 200


async def test_a_bucket_that_is_not_there_has_no_children_and_no_changes(tmp_path: Path) -> None:
    async with served(tmp_path) as (probe, _):
        for what in ("children", "changes"):
            assert (await probe.get(f"/none?tierproxy-{what}")).code == "NoSuchBucket"


async def test_room_is_the_disk_budget(tmp_path: Path) -> None:
    async with served(tmp_path) as (probe, node):
        await node.put("a/u.1", b"mail")
        assert document(await probe.get("/?tierproxy-room")) == {
            "total": node.parts.config.disk.max_bytes, "used": node.parts.space.used, "objects": 1,
        }  # fmt: skip


async def test_head_of_what_is_not_there_says_which_of_the_two_it_is(tmp_path: Path) -> None:
    async with served(tmp_path) as (probe, _):
        found = {path: (await probe.head(path)).headers["x-tierproxy-error"] for path in ("/mail/none", "/none/x")}
        assert found == {"/mail/none": "NoSuchKey", "/none/x": "NoSuchBucket"}


@settings(deadline=None)
@given(st.text() | st.floats().map(str))
def test_times_that_are_none_are_not_believed(text: str) -> None:
    found = seconds(text, 5.0)
    assert found == found, "not a number"
    assert abs(found) != float("inf")
    assert seconds(None, 5.0) == 5.0
