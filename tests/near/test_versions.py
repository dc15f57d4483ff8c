"""The version table: who finds it, whom it is believed from, and what becomes of it."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

import pytest

from tierproxy.disk.fsio import Files
from tierproxy.errors import ConfigError, DiskUnavailable
from tierproxy.model import ObjectName
from tierproxy.near.versions import (
    COUNTERS,
    EPOCH,
    LEFT,
    SIZE,
    SharedTable,
    VersionTable,
    slot_of,
    sweep,
    table_path,
    withdraw,
)

NAME = ObjectName("mail", "box/1")
OTHER = ObjectName("mail", "box/2")


class Place:
    """A data directory, and shared memory of its own."""

    def __init__(self, root: Path) -> None:
        self.data, self.memory = root / "data", root / "shm"
        self.data.mkdir()
        self.memory.mkdir()
        (self.data / "lock").touch()

    def open(self, files: Files | None = None, now: float = 0.0) -> VersionTable:
        return VersionTable.open(self.data, files or Files(), now, self.memory)

    def map(self) -> SharedTable | None:
        return SharedTable.map(self.data, self.memory)

    def mapped(self) -> SharedTable:
        found = self.map()
        assert found is not None
        return found

    @property
    def path(self) -> Path:
        return table_path(self.data, self.memory)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def killed(table: VersionTable) -> None:
    """As the kernel leaves it."""
    table._unmap()


def test_readers_see_what_the_node_writes(place: Place) -> None:
    node = place.open()
    reader = place.mapped()
    before = reader.table[slot_of(NAME)], reader.table[EPOCH]
    node.changed(NAME)
    assert (reader.table[slot_of(NAME)], reader.table[EPOCH]) == (before[0] + 1, before[1])
    node.all_changed()
    assert reader.table[EPOCH] == before[1] + 1
    assert reader.there()
    node.close()
    reader.close()


def test_no_name_has_the_epochs_counter() -> None:
    slots = {slot_of(ObjectName("mail", str(number))) for number in range(100_000)}
    assert EPOCH not in slots
    assert max(slots) < COUNTERS
    assert len(slots) > 80_000
    assert slot_of(ObjectName("a", "bc")) != slot_of(ObjectName("ab", "c"))


def test_readers_cannot_write(place: Place) -> None:
    node = place.open()
    reader = place.mapped()
    with pytest.raises(TypeError):
        reader.table[EPOCH] = 1
    reader.close()
    node.close()


def test_the_file_is_whole_and_its_owners_alone(place: Place) -> None:
    node = place.open()
    found = place.path.stat()
    assert (found.st_size, found.st_mode & 0o777) == (SIZE, 0o600)
    assert found.st_blocks * 512 >= SIZE
    node.close()


def test_a_clean_stop_leaves_no_file_and_nobody_who_believes(place: Place) -> None:
    node = place.open()
    reader = place.mapped()
    epoch = reader.table[EPOCH]
    node.close()
    node.close()
    assert reader.table[EPOCH] != epoch
    assert not reader.there()
    assert not list(place.memory.iterdir())
    assert place.map() is None
    reader.close()


def test_what_comes_after_the_stop_is_not_written(place: Place) -> None:
    node = place.open()
    node.close()
    node.changed(NAME)
    node.all_changed()


def test_a_reader_that_maps_between_epoch_and_unlink_believes_nothing(place: Place) -> None:
    class Late(Files):
        def unlink(self, path: Path) -> None:
            found = place.mapped()
            assert not found.there()
            found.close()
            super().unlink(path)

    place.open(Late()).close()


def test_after_a_kill_the_next_node_raises_the_epoch_of_the_same_file(place: Place) -> None:
    first = place.open()
    first.changed(NAME)
    reader = place.mapped()
    version, epoch = reader.table[slot_of(NAME)], reader.table[EPOCH]
    killed(first)
    assert reader.there()
    assert reader.table[EPOCH] == epoch
    second = place.open()
    assert (reader.table[slot_of(NAME)], reader.table[EPOCH]) == (version, epoch + 1)
    assert reader.there()
    second.close()
    reader.close()


def test_a_table_that_was_taken_away_is_not_believed(place: Place) -> None:
    """By somebody who tidies up, after the node was killed: the next node's table is another file."""
    killed(place.open())
    reader = place.mapped()
    place.path.unlink()
    second = place.open()
    assert not reader.there()
    again = place.mapped()
    assert again.table[EPOCH] != reader.table[EPOCH]
    again.close()
    reader.close()
    second.close()


def test_who_changes_the_directory_without_a_node_takes_the_table_away(place: Place) -> None:
    killed(place.open())
    reader = place.mapped()
    withdraw(place.data, Files(), place.memory)
    withdraw(place.data, Files(), place.memory)
    assert not reader.there()
    reader.close()


def test_without_room_the_table_is_the_nodes_own_and_the_log_says_so(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    class Full(Files):
        def allocate(self, fd: int, size: int) -> None:
            raise DiskUnavailable(os.strerror(errno.ENOSPC))

    with caplog.at_level(logging.WARNING, "tierproxy.near.versions"):
        node = place.open(Full())
    assert len(caplog.records) == 1
    assert node.path is None
    node.changed(NAME)
    assert node.table[slot_of(NAME)] == 1
    assert not list(place.memory.iterdir())
    assert place.map() is None
    node.close()


def test_an_old_table_is_not_left_to_its_readers_where_there_is_no_room(place: Place) -> None:
    class Full(Files):
        def allocate(self, fd: int, size: int) -> None:
            raise DiskUnavailable(os.strerror(errno.ENOSPC))

    killed(place.open())
    reader = place.mapped()
    node = place.open(Full())
    assert not reader.there()
    reader.close()
    node.close()


def test_a_table_that_can_neither_be_used_nor_taken_away_ends_the_start(place: Place) -> None:
    class Stuck(Files):
        def allocate(self, fd: int, size: int) -> None:
            raise DiskUnavailable("no")

        def unlink(self, path: Path) -> None:
            raise DiskUnavailable("no")

    killed(place.open())
    with pytest.raises(ConfigError):
        place.open(Stuck())


def test_another_file_of_that_name_is_replaced(place: Place) -> None:
    place.path.write_bytes(b"short")
    node = place.open()
    assert place.path.stat().st_size == SIZE
    node.close()


def test_a_link_of_that_name_is_followed_by_nobody(place: Place, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(bytes(SIZE))
    target.chmod(0o600)
    place.path.symlink_to(target)
    assert place.map() is None
    node = place.open()
    assert node.path is None
    assert target.read_bytes() == bytes(SIZE)
    node.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to somebody else")
def test_a_table_of_somebody_else_is_not_believed(place: Place) -> None:
    place.path.write_bytes(bytes(SIZE))
    place.path.chmod(0o600)
    os.chown(place.path, 65534, 65534)
    assert place.map() is None


def test_a_table_others_may_write_is_not_believed(place: Place) -> None:
    place.path.write_bytes(bytes(SIZE))
    place.path.chmod(0o620)
    assert place.map() is None


def test_tables_of_nodes_killed_long_ago_are_swept(place: Place, tmp_path: Path) -> None:
    killed(place.open())
    left = place.path
    (tmp_path / "other").mkdir()
    other = Place(tmp_path / "other")
    other.memory = place.memory
    started = left.stat().st_mtime
    other.open(now=started + LEFT - 1).close()
    assert left.exists()
    other.open(now=started + LEFT + 1).close()
    assert not left.exists()


def test_the_table_of_a_running_node_is_not_swept(place: Place) -> None:
    node = place.open()
    assert sweep(Files(), node.path.stat().st_mtime + 10 * LEFT if node.path else 0.0, place.memory) == 0
    assert node.path is not None
    assert node.path.exists()
    node.close()


def test_a_table_that_somebody_holds_is_replaced(place: Place) -> None:
    """As a child of a killed node does, which lives on."""
    held = place.open()
    reader = place.mapped()
    second = place.open()
    assert not reader.there()
    again = place.mapped()
    second.changed(NAME)
    assert again.table[slot_of(NAME)] == 1
    again.close()
    reader.close()
    second.close()
    killed(held)


def test_a_table_that_is_swept_while_it_is_opened_is_made_again(place: Place) -> None:
    class Swept(Files):
        times = 0

        def allocate(self, fd: int, size: int) -> None:
            super().allocate(fd, size)
            self.times += 1
            if self.times == 1:
                place.path.unlink()

    node = place.open(Swept())
    reader = place.mapped()
    assert reader.there()
    reader.close()
    node.close()


# ---------------------------------------------------------------- changes that nobody answered


def test_what_a_killed_node_had_sent_is_left_to_the_next(place: Place) -> None:
    node = place.open()
    assert not node.left
    node.sent(NAME)
    node.sent(OTHER)
    node.answered(OTHER)
    killed(node)
    successor = place.open()
    assert (successor.left, successor.is_left(NAME), successor.is_left(OTHER)) == (1, True, False)
    killed(successor)  # before it was over
    third = place.open()
    assert third.is_left(NAME)
    third.sent(NAME)
    third.forget_left()
    assert not third.is_left(NAME)
    killed(third)
    fourth = place.open()
    assert fourth.is_left(NAME), "its own was not answered"
    fourth.forget_left()
    killed(fourth)
    last = place.open()
    assert not last.left
    last.close()


def test_nothing_is_left_after_an_end_in_order(place: Place) -> None:
    node = place.open()
    node.sent(NAME)
    node.answered(NAME)
    node.close()
    assert not table_path(place.data, place.memory).exists()
    successor = place.open()
    assert not successor.left
    successor.close()


def test_what_was_given_up_by_an_end_in_order_is_left_and_the_rest_is_nobody_s(place: Place) -> None:
    node = place.open()
    node.sent(NAME)
    reader = place.map()
    assert reader is not None
    before = reader.table[slot_of(NAME)], reader.table[EPOCH]
    node.close()
    node.answered(NAME)  # too late: nobody heard it
    assert not reader.there()
    successor = place.open()
    assert successor.is_left(NAME)
    assert (reader.table[slot_of(NAME)], reader.table[EPOCH]) != before
    successor.forget_left()
    successor.close()
    assert not table_path(place.data, place.memory).exists()
    reader.close()


def test_counting_what_was_sent_touches_no_version_and_never_overflows(place: Place) -> None:
    node = place.open()
    before = bytes(node.table)
    for _ in range(300):
        node.sent(NAME)
    for _ in range(310):
        node.answered(NAME)
    assert bytes(node.table) == before
    killed(node)
    successor = place.open()
    assert not successor.left
    successor.close()


def test_readers_map_a_table_with_what_was_sent_behind_it(place: Place) -> None:
    node = place.open()
    node.sent(NAME)
    reader = place.mapped()
    assert len(reader.table) == COUNTERS
    reader.close()
    node.close()
