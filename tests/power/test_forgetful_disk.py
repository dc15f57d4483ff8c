"""What a power cut leaves, worked out from what was asked: sequences whose end is known."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierproxy.testing.forgetful_disk import (
    DROPPED,
    KILLED,
    PAGE,
    ROOT,
    SECTOR,
    Cut,
    Entry,
    ForgetfulDisk,
    Image,
    Made,
    Names,
    Sync,
    Truncate,
    Write,
    cuts_of,
)


class Disk:
    """A ``ForgetfulDisk`` with paths of one level below directories that are in the root."""

    def __init__(self) -> None:
        self.disk = ForgetfulDisk()
        self.directories = {"": ROOT}

    def mkdir(self, name: str) -> None:
        self.directories[name] = self._make("mkdir", ROOT, name, stat.S_IFDIR | 0o700)

    def create(self, path: str) -> int:
        directory, name = self._place(path)
        return self._make("create", directory, name, stat.S_IFREG | 0o600)

    def write(self, node: int, data: bytes, offset: int = 0) -> None:
        self.disk.do(Write(node, offset, data))

    def truncate(self, node: int, size: int) -> None:
        self.disk.do(Truncate(node, size))

    def fsync(self, node: int) -> None:
        self.disk.do(Sync(node))

    def fsync_dir(self, name: str = "") -> None:
        self.disk.do(Sync(self.directories[name], "fsync_dir"))

    def rename(self, source: str, target: str) -> None:
        before, after = self._place(source), self._place(target)
        node = self.disk.live.directories[before[0]][before[1].encode()]
        entries = Entry(before[0], before[1].encode(), None), Entry(after[0], after[1].encode(), node)
        self.disk.do(Names("rename", entries))

    def unlink(self, path: str) -> None:
        directory, name = self._place(path)
        self.disk.do(Names("unlink", (Entry(directory, name.encode(), None),)))

    def left(self, cut: Cut = DROPPED, at: int | None = None) -> dict[str, bytes]:
        return files(self.disk.after(cut, at))

    def _place(self, path: str) -> tuple[int, str]:
        directory, _, name = path.rpartition("/")
        return self.directories[directory], name

    def _make(self, kind: str, directory: int, name: str, mode: int) -> int:
        node = self.disk.new_node()
        self.disk.do(Names(kind, (Entry(directory, name.encode(), node),), Made(node, mode)))
        return node


def files(image: Image) -> dict[str, bytes]:
    """Contents by path; directories end in a slash and are empty."""
    return {
        path.decode() + ("/" if node in image.directories else ""): bytes(image.contents.get(node, b""))
        for path, node in image.named()
    }


@pytest.fixture
def d() -> Disk:
    return Disk()


def test_what_was_never_fsynced_is_lost(d: Disk) -> None:
    d.write(d.create("a"), b"hello")
    assert d.left() == {}


def test_a_file_whose_directory_was_fsynced_is_there_and_empty(d: Disk) -> None:
    d.write(d.create("a"), b"hello")
    d.fsync_dir()
    assert d.left() == {"a": b""}


def test_a_file_that_was_fsynced_without_its_directory_is_lost(d: Disk) -> None:
    a = d.create("a")
    d.write(a, b"hello")
    d.fsync(a)
    assert d.left() == {}


def test_both_fsyncs_make_it_durable_in_either_order(d: Disk) -> None:
    for name, first in (("a", d.fsync_dir), ("b", None)):
        node = d.create(name)
        d.write(node, b"hello")
        if first:
            first()
        d.fsync(node)
        d.fsync_dir()
    assert d.left() == {"a": b"hello", "b": b"hello"}


def test_a_write_after_the_fsync_is_lost_and_what_was_before_stays(d: Disk) -> None:
    a = d.create("a")
    d.write(a, b"hello")
    d.fsync(a)
    d.fsync_dir()
    d.write(a, b"J")
    d.write(a, b" world", 5)
    assert d.left() == {"a": b"hello"}
    assert d.left(KILLED) == {"a": b"Jello world"}


def test_a_truncate_without_fsync_comes_undone(d: Disk) -> None:
    a = d.create("a")
    d.write(a, b"hello")
    d.fsync(a)
    d.fsync_dir()
    d.truncate(a, 2)
    assert d.left() == {"a": b"hello"}
    d.fsync(a)
    assert d.left() == {"a": b"he"}


def test_a_rename_comes_undone_without_an_fsync_of_the_directory(d: Disk) -> None:
    a = d.create("a")
    d.write(a, b"new")
    d.fsync(a)
    b = d.create("b")
    d.write(b, b"old")
    d.fsync(b)
    d.fsync_dir()
    d.rename("a", "b")
    assert d.left() == {"a": b"new", "b": b"old"}
    d.fsync_dir()
    assert d.left() == {"b": b"new"}


def test_a_rename_between_directories_is_durable_in_the_one_that_was_fsynced(d: Disk) -> None:
    d.mkdir("x")
    d.mkdir("y")
    a = d.create("x/a")
    d.write(a, b"1")
    d.fsync(a)
    for name in ("", "x", "y"):
        d.fsync_dir(name)
    d.rename("x/a", "y/a")
    d.fsync_dir("y")
    assert d.left() == {"x/": b"", "y/": b"", "x/a": b"1", "y/a": b"1"}
    d.fsync_dir("x")
    assert d.left() == {"x/": b"", "y/": b"", "y/a": b"1"}


def test_a_file_whose_first_name_was_never_durable_is_found_under_its_second(d: Disk) -> None:
    d.mkdir("x")
    d.mkdir("y")
    d.fsync_dir()
    a = d.create("x/a")
    d.write(a, b"1")
    d.fsync(a)
    d.rename("x/a", "y/b")
    d.fsync_dir("y")
    assert d.left() == {"x/": b"", "y/": b"", "y/b": b"1"}


def test_what_is_in_a_directory_goes_with_its_name(d: Disk) -> None:
    d.mkdir("x")
    a = d.create("x/a")
    d.write(a, b"1")
    d.fsync(a)
    d.fsync_dir("x")
    assert d.left() == {}
    d.fsync_dir()
    assert d.left() == {"x/": b"", "x/a": b"1"}


def test_an_unlink_comes_undone_without_an_fsync_of_the_directory(d: Disk) -> None:
    a = d.create("a")
    d.write(a, b"1")
    d.fsync(a)
    d.fsync_dir()
    d.unlink("a")
    assert d.left() == {"a": b"1"}
    d.fsync_dir()
    assert d.left() == {}


def test_the_power_can_fail_after_any_operation(d: Disk) -> None:
    a = d.create("a")
    d.write(a, b"1")
    d.fsync(a)
    d.fsync_dir()
    d.unlink("a")
    d.fsync_dir()
    assert [d.left(at=at) for at in range(7)] == [{}, {}, {}, {}, {"a": b"1"}, {"a": b"1"}, {}]


def test_pieces_survive_by_themselves_and_never_in_parts(d: Disk) -> None:
    a = d.create("a")
    d.write(a, b"0" * 64 * PAGE)
    d.fsync(a)
    d.fsync_dir()
    d.write(a, b"1" * 64 * PAGE)
    for piece in (SECTOR, PAGE):
        seen = set()
        for seed in range(4):
            content = d.left(Cut(0.5, piece, seed=seed))["a"]
            cells = [content[start : start + piece] for start in range(0, len(content), piece)]
            assert {b"0" * piece, b"1" * piece} == set(cells)
            seen.add(content)
        assert len(seen) == 4, "seeds make a difference"
    finest = d.left(Cut(0.5, SECTOR, seed=1))["a"]
    assert any(len({*finest[start : start + PAGE]}) == 2 for start in range(0, len(finest), PAGE)), "no page is torn"


def test_a_later_write_can_survive_an_earlier_one_which_leaves_a_hole(d: Disk) -> None:
    a = d.create("a")
    d.fsync_dir()
    d.write(a, b"1" * PAGE)
    d.write(a, b"2" * PAGE, PAGE)
    left = {d.left(Cut(0.5, PAGE, seed=seed))["a"] for seed in range(40)}
    assert bytes(PAGE) + b"2" * PAGE in left
    assert bytes(2 * PAGE) in left, "the size can survive without any of the bytes"
    assert b"" in left


def test_in_order_nothing_survives_what_an_earlier_one_has_not(d: Disk) -> None:
    a = d.create("a")
    d.fsync_dir()
    for number in range(20):
        d.write(a, b"%02d" % number, 2 * number)
    whole = b"".join(b"%02d" % number for number in range(20))
    left = {d.left(Cut(ordered=True, piece=SECTOR, seed=seed))["a"] for seed in range(60)}
    assert all(whole.startswith(content) for content in left)
    assert len(left) > 5


def test_what_is_fsynced_survives_every_cut(d: Disk) -> None:
    d.mkdir("x")
    a = d.create("x/a")
    d.write(a, b"1" * 10_000)
    d.fsync(a)
    d.rename("x/a", "b")
    for name in ("x", ""):
        d.fsync_dir(name)
    for seed in range(5):
        for cut in (DROPPED, *cuts_of(seed)):
            assert d.left(cut) == {"x/": b"", "b": b"1" * 10_000}


def test_after_a_power_failure_it_goes_on_with_what_is_left(d: Disk) -> None:
    a = d.create("a")
    d.write(a, b"1")
    d.fsync(a)
    d.fsync_dir()
    d.write(a, b"2")
    d.create("b")
    d.disk.fail(DROPPED)
    assert d.disk.count == 0
    assert files(d.disk.live) == {"a": b"1"}
    node = d.disk.live.directories[ROOT][b"a"]
    assert node != a, "the kernel may still have pages of the old one"
    d.write(node, b"3")
    assert d.left() == {"a": b"1"}
    assert files(d.disk.live) == {"a": b"3"}


def test_shared_memory_is_neither_counted_nor_kept(d: Disk) -> None:
    shm = d.create("c-shm")
    before = d.disk.count
    d.write(shm, b"index")
    d.fsync_dir()
    assert d.disk.count == before + 1
    assert files(d.disk.live) == {"c-shm": b"index"}
    assert d.left(KILLED) == {"c-shm": b""}


def test_what_is_left_can_be_written_out(d: Disk, tmp_path: Path) -> None:
    d.mkdir("x")
    a = d.create("x/a")
    d.write(a, b"1")
    d.disk.after(KILLED).save(tmp_path / "left")
    assert (tmp_path / "left" / "x" / "a").read_bytes() == b"1"
    assert stat.S_IMODE((tmp_path / "left" / "x" / "a").stat().st_mode) == 0o600


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 3), st.integers(0, 3 * SECTOR), st.integers(1, 2 * SECTOR)),
        st.tuples(st.just("truncate"), st.integers(0, 3), st.integers(0, 3 * SECTOR), st.just(0)),
        st.tuples(st.just("fsync"), st.integers(0, 3), st.just(0), st.just(0)),
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.integers(0, 1000))
def test_every_byte_that_is_left_was_there_once(steps: list[tuple[str, int, int, int]], seed: int) -> None:
    """And a file that was fsynced last is as it was then, whatever the cut."""
    d = Disk()
    nodes = [d.create(name) for name in "abcd"]
    d.fsync_dir()
    byte, synced = 0, dict.fromkeys(nodes, True)
    for kind, which, number, size in steps:
        node = nodes[which]
        if kind == "write":
            byte = byte % 250 + 1
            d.write(node, bytes([byte]) * size, number)
        elif kind == "truncate":
            d.truncate(node, number)
        else:
            d.fsync(node)
        synced[node] = kind == "fsync"
    for cut in (DROPPED, *cuts_of(seed)):
        left = d.disk.after(cut)
        for node in nodes:
            assert set(left.contents[node]) <= set(range(byte + 1)) or byte == 250
            if synced[node]:
                assert left.contents[node] == d.disk.live.contents[node]
    assert d.disk.after(KILLED).contents == d.disk.live.contents


def test_a_digest_knows_names_modes_and_contents_and_no_nodes(d: Disk) -> None:
    d.mkdir("x")
    a = d.create("x/a")
    d.write(a, b"1")
    before = d.disk.after(KILLED)
    assert before.digest() == before.renumbered(1000).digest()
    d.write(a, b"2")
    assert d.disk.after(KILLED).digest() != before.digest()
    d.write(a, b"1")
    assert d.disk.after(KILLED).digest() == before.digest()
    d.rename("x/a", "b")
    assert d.disk.after(KILLED).digest() != before.digest()
