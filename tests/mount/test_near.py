"""Bodies from the node's files: a mount as a process beside a node that runs here."""

from __future__ import annotations

import asyncio
import re
import subprocess
import urllib.request
from collections.abc import Coroutine, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.cli.live import Live, live_node, until
from tests.fuse.world import needs_fuse
from tierproxy.config.sections import MemorySection, StubsSection
from tierproxy.config.values import Size
from tierproxy.disk.layout import DataDirectory
from tierproxy.model import Entry, Headers, ObjectName
from tierproxy.ports import AltTier
from tierproxy.purges import OPERATOR, Drop
from tierproxy.store.body import Md5Check
from tierproxy.store.calls import Write
from tierproxy.testing.rig import pieces

from .test_service import TIME, Place, shell

pytestmark = needs_fuse
T = TypeVar("T")
BODY = b"Subject: hello\n\nworld\n"


class Beside(Place):
    """A mount that may read the node's files, and the node's store as another client has it."""

    metrics = ""

    @property
    def data(self) -> Path:
        return Path(self.live.config.node.data_dir)

    def mount(self) -> None:
        log = self.root / "log"
        options = ["--metrics", "127.0.0.1:0", "--keep-body", "0s", "--data-dir", str(self.data)]
        with log.open("w") as said:
            self.started.append(subprocess.Popen(self.command(*options), stderr=said, text=True))
        until(lambda: "service: mounted" in log.read_text())
        port = re.search(r"metrics port=(\d+)", log.read_text())
        assert port
        self.metrics = f"http://127.0.0.1:{port[1]}/metrics"

    def unmount(self) -> None:
        """Returns when the process has ended."""
        subprocess.run(["umount", str(self.point)], check=True)
        assert self.started[-1].wait(TIME) == 0

    def counted(self, what: str) -> float:
        with urllib.request.urlopen(self.metrics, timeout=TIME) as page:
            found = re.search(re.escape(what) + r" (\S+)", page.read().decode())
        assert found, what
        return float(found[1])

    @property
    def near(self) -> float:
        return self.counted('tierproxy_mount_opens_total{outcome="near"}')

    @property
    def fetched(self) -> float:
        return self.counted('tierproxy_mount_opens_total{outcome="fetched"}')

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """In the node."""
        loop = self.live.node._background[0].get_loop()
        return asyncio.run_coroutine_threadsafe(work, loop).result(TIME)

    def put(self, key: str, body: bytes) -> None:
        write = Write(ObjectName("mail", key), Headers(), len(body), pieces(body, 2**16), Md5Check(len(body)))
        self.call(self.live.node.store.write(write))

    def delete(self, key: str) -> None:
        self.call(self.live.node.store.delete(ObjectName("mail", key)))

    def purge(self, key: str) -> None:
        assert self.call(self.live.node.store.purge([Drop.of(self.row(key), OPERATOR)])).objects == 1

    def row(self, key: str) -> Entry:
        async def find() -> Entry | None:
            return self.live.node.parts.catalogue.find(ObjectName("mail", key))

        found = self.call(find())
        assert found is not None
        return found

    def reads(self, key: str) -> int:
        self.call(self.live.node.parts.tally.flush())
        return self.row(key).reads

    def cat(self, name: str) -> bytes:
        return (self.point / name).read_bytes()


@contextmanager
def beside(tmp_path: Path) -> Iterator[Beside]:
    with node(tmp_path) as live:
        found = Beside(tmp_path, live)
        try:
            found.put("box/u.1", BODY)
            found.mount()
            yield found
        finally:
            found.end()


def node(tmp_path: Path, alt: AltTier | None = None) -> AbstractContextManager[Live]:
    """Without memory tier and stubs: what is not read from files here is the node's to read from its own."""
    sections = {"memory": MemorySection(max_bytes=Size(0)), "stubs": StubsSection(max_bytes=Size(0))}
    return live_node(
        tmp_path / "node", alt, sections=sections, unix_socket=str(tmp_path / "s3.sock"), auth="none"
    )  # fmt: skip


def test_bodies_come_from_the_nodes_files_and_every_read_counts(tmp_path: Path) -> None:
    with beside(tmp_path) as here:
        assert [here.cat("box/u.1") for _ in range(3)] == [BODY] * 3
        assert (here.near, here.fetched) == (3, 0)
        until(lambda: here.reads("box/u.1") == 3)
        assert here.counted('tierproxy_mount_near_reads_total{told="yes"}') == 3
        assert here.row("box/u.1").last_read_at


def test_the_last_reads_are_told_at_the_unmount(tmp_path: Path) -> None:
    with beside(tmp_path) as here:
        here.cat("box/u.1")
        here.unmount()
        assert here.reads("box/u.1") == 1


def test_a_delivery_is_read_from_the_file_it_became(tmp_path: Path) -> None:
    with beside(tmp_path) as here:
        shell("echo mail > box/u.2", here.point)
        assert here.cat("box/u.2") == b"mail\n"
        assert here.near == 1


def test_what_another_client_replaces_or_deletes_is_not_served_after_its_answer(tmp_path: Path) -> None:
    with beside(tmp_path) as here:
        for number in range(20):
            body = f"{number}".encode() * 100
            here.put("box/u.1", body)
            assert here.cat("box/u.1") == body
        here.delete("box/u.1")
        assert not (here.point / "box/u.1").exists()


def test_a_purge_between_open_and_read_takes_nothing_away(tmp_path: Path) -> None:
    with beside(tmp_path) as here:
        with (here.point / "box/u.1").open("rb", buffering=0) as opened:
            here.purge("box/u.1")
            assert opened.read() == BODY
        assert here.near == 1
        assert here.cat("box/u.1") == BODY
        assert here.near == 1  # the node had to be asked
        until(lambda: here.reads("box/u.1") == 2)


def test_a_damaged_blob_is_repaired_by_the_node(tmp_path: Path) -> None:
    with beside(tmp_path) as here:
        assert here.cat("box/u.1") == BODY
        before = here.row("box/u.1").blob
        path = DataDirectory(here.data).blob(before or "")
        path.write_bytes(b"X" + path.read_bytes()[1:])
        assert here.cat("box/u.1") == BODY
        assert here.fetched == 1
        until(lambda: here.row("box/u.1").blob not in {before, None})
        assert here.cat("box/u.1") == BODY
        assert here.near == 2


def test_larger_objects_come_from_the_node(tmp_path: Path) -> None:
    with beside(tmp_path) as here:
        here.put("box/large", bytes(2**20 + 1))
        here.put("box/middle", bytes(2**20))
        assert here.cat("box/large") == bytes(2**20 + 1)
        assert here.cat("box/middle") == bytes(2**20)
        assert here.near == 1


def test_a_machines_reads_are_told_as_such(tmp_path: Path) -> None:
    with beside(tmp_path) as here:
        lmtp = tmp_path / "lmtp"
        lmtp.write_bytes(Path("/bin/cat").read_bytes())
        lmtp.chmod(0o755)
        subprocess.run([lmtp, here.point / "box/u.1"], check=True, stdout=subprocess.DEVNULL, timeout=TIME)
        assert here.near == 1
        until(lambda: here.counted('tierproxy_mount_near_reads_total{told="yes"}') == 1)
        assert here.reads("box/u.1") == 0


def test_another_node_on_the_same_directory_is_noticed(tmp_path: Path) -> None:
    with ExitStack() as mounts:
        with node(tmp_path) as live:
            here = Beside(tmp_path, live)
            mounts.callback(here.end)
            here.put("box/u.1", BODY)
            here.mount()
            assert here.cat("box/u.1") == BODY
        with pytest.raises(OSError, match="Input/output error"):
            here.cat("box/u.1")
        with node(tmp_path, live.alt) as here.live:
            here.put("box/u.1", b"newer")
            before = here.near
            until(lambda: _reads(here, "box/u.1", b"newer") and here.near > before)


def _reads(here: Beside, name: str, body: bytes) -> bool:
    try:
        return here.cat(name) == body
    except OSError:  # EIO: it has not found the new node yet
        return False
