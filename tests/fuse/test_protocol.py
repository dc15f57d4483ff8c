"""Layouts and encodings. Sizes are those of include/uapi/linux/fuse.h."""

from __future__ import annotations

import stat
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierproxy.fuse import protocol
from tierproxy.fuse.negotiation import WANTED, OldKernel, agree
from tierproxy.fuse.operations import Attributes, DirectoryEntry, Found, Opened, Space
from tierproxy.fuse.protocol import Feature, Notice

ATTRIBUTES = Attributes(7, stat.S_IFREG | 0o600, 1025, 1.5, 2.25, 3.0, 5000, 5001, 2)
SIZES = {
    "IN_HEADER": 40, "OUT_HEADER": 16, "INIT_OUT": 64, "ENTRY_OUT": 128, "ATTR_OUT": 104, "OPEN_OUT": 16,
    "WRITE_OUT": 8, "STATFS_OUT": 80, "DIRENT": 24, "GETATTR_IN": 16, "SETATTR_IN": 88, "READ_IN": 40, "WRITE_IN": 40,
    "OPEN_IN": 8, "CREATE_IN": 16, "MKNOD_IN": 16, "MKDIR_IN": 8, "RENAME_IN": 8, "RENAME2_IN": 16, "LINK_IN": 8,
    "RELEASE_IN": 24, "FLUSH_IN": 24, "FSYNC_IN": 16, "FORGET_IN": 8, "BATCH_FORGET_IN": 8, "FORGET_ONE": 16,
    "INTERRUPT_IN": 8, "INVAL_INODE_OUT": 24, "INVAL_ENTRY_OUT": 16, "STORE_OUT": 24,
}  # fmt: skip


@pytest.mark.parametrize(("name", "size"), SIZES.items())
def test_layouts_have_the_kernels_sizes(name: str, size: int) -> None:
    assert getattr(protocol, name).size == size


def test_an_entry_says_node_times_and_attributes() -> None:
    entry = protocol.entry(Found(9, ATTRIBUTES, name_for=1.25, attributes_for=3600, generation=4))
    assert struct.unpack_from("=QQQQII", entry) == (9, 4, 1, 3600, 250_000_000, 0)
    assert struct.unpack_from("=QQQQQQIIIIIIIIII", entry, 40) == (
        7, 1025, 3, 3, 1, 2, 0, 500_000_000, 250_000_000, stat.S_IFREG | 0o600, 2, 5000, 5001, 0, 4096, 0,
    )  # fmt: skip


def test_attributes_are_the_entrys_with_one_time() -> None:
    assert protocol.attributes(ATTRIBUTES, 2.5)[:16] == struct.pack("=QII", 2, 500_000_000, 0)
    assert protocol.attributes(ATTRIBUTES, 2.5)[16:] == protocol.entry(Found(9, ATTRIBUTES))[40:]


@given(st.floats(-(2.0**33), 2.0**33))
@settings(max_examples=200, deadline=None)
def test_times_come_back_to_the_nanosecond_a_float_can_tell(seconds: float) -> None:
    whole, nanos = protocol.moment(seconds)
    assert 0 <= nanos < 10**9
    assert abs(protocol.instant(whole, nanos) - seconds) < 2e-6


def test_a_time_just_below_a_second_is_that_second() -> None:
    assert protocol.moment(0.9999999999) == (1, 0)
    assert protocol.moment(-0.5) == (2**64 - 1, 500_000_000)


@pytest.mark.parametrize(
    ("opened", "flags", "backing"),
    [
        (Opened(1), 0, 0),
        (Opened(1, keep=True, no_flush=True), protocol.FOPEN_KEEP_CACHE | protocol.FOPEN_NOFLUSH, 0),
        (Opened(1, direct=True), protocol.FOPEN_DIRECT_IO | protocol.FOPEN_PARALLEL_DIRECT_WRITES, 0),
        (Opened(1, keep=True, backing=3), protocol.FOPEN_PASSTHROUGH, 3),
    ],
)
def test_an_open_file_says_how_it_is_read(opened: Opened, flags: int, backing: int) -> None:
    assert struct.unpack("=QIi", protocol.opened(opened)) == (1, flags, backing)


def test_an_open_directory_says_what_may_be_kept_of_it() -> None:
    flags = [
        protocol.opened_directory(Opened(1, cache=cache, keep=keep))
        for cache, keep in ((False, False), (True, False), (True, True))
    ]
    assert [struct.unpack("=QIi", one)[1] for one in flags] == [0, 0b1000, 0b1010]


def test_what_is_not_there_has_no_node_and_a_time() -> None:
    told = protocol.absent(1.5)
    assert len(told) == len(protocol.entry(Found(9, ATTRIBUTES)))
    assert struct.unpack_from("=QQQQII", told) == (0, 0, 1, 0, 500_000_000, 0)


def test_space_is_told_in_blocks() -> None:
    told = protocol.space(Space(total=10_000, free=8191, available=4096, files=5, files_free=4))
    assert struct.unpack_from("=QQQQQIII", told) == (2, 1, 1, 5, 4, 4096, 255, 4096)


def test_directory_entries_are_padded_numbered_and_cut_at_the_room_there_is() -> None:
    entries = [DirectoryEntry(b"a", 1, stat.S_IFDIR), DirectoryEntry(b"12345678", 2, stat.S_IFREG)]
    told, taken = protocol.directory(entries, 5, 64, plus=False)
    assert taken == 2
    assert told == (struct.pack("=QQII", 1, 6, 1, 4) + b"a" + bytes(7) + struct.pack("=QQII", 2, 7, 8, 8) + b"12345678")
    assert protocol.directory(entries, 5, 63, plus=False) == (told[:32], 1)


def test_an_entry_that_looks_up_has_its_node_before_it_or_zeros() -> None:
    entries = [DirectoryEntry(b".", 1, stat.S_IFDIR), DirectoryEntry(b"x", 7, stat.S_IFREG, Found(9, ATTRIBUTES))]
    told, _ = protocol.directory(entries, 0, 4096, plus=True)
    assert told[:128] == bytes(128)
    assert told[160:288] == protocol.entry(Found(9, ATTRIBUTES))


def test_a_change_has_what_is_valid_alone() -> None:
    request = protocol.SETATTR_IN.pack(
        1 << 3 | 1 << 5 | 1 << 6, 0, 77, 10, 0, 1, 2, 3, 4, 500_000_000, 6, 7, 0, 8, 9, 0
    )
    change = protocol.change(request)
    assert (change.size, change.mtime, change.handle) == (10, 2.5, 77)
    assert (change.mode, change.uid, change.gid, change.atime, change.ctime) == (None,) * 5


def test_names_and_what_is_forgotten_are_taken_apart() -> None:
    assert protocol.names(b"from\0to\0") == [b"from", b"to"]
    assert protocol.forgotten(struct.pack("=IIQQQQ", 2, 0, 3, 1, 4, 2) + b"rest") == [(3, 1), (4, 2)]


def test_a_notice_says_its_kind_as_error_and_no_unique() -> None:
    header, *rest = protocol.notice(Notice.STORE, b"12", b"345")
    assert (bytes(header), rest) == (struct.pack("=IiQ", 21, 4, 0), [b"12", b"345"])


# ------------------------------------------------------------ INIT


def asked(minor: int, features: int, major: int = 7) -> bytes:
    return struct.pack("=IIIII44x", major, minor, 131072, features & 0xFFFFFFFF, features >> 32)


def test_all_that_is_wanted_is_agreed_on_with_a_kernel_that_can_it() -> None:
    agreement = agree(asked(45, 0xFFFFFFFF | Feature.PASSTHROUGH))
    assert agreement.features == WANTED
    assert agreement.passthrough
    assert agreement.epochs
    answer = struct.unpack("=IIIIHHIIHHII24x", agreement.answer())
    assert answer[:3] == (7, 45, 131072)
    assert answer[3] | answer[10] << 32 == int(WANTED)
    assert (answer[6], answer[8], answer[11]) == (1 << 20, (1 << 20) // 4096, 2)


def test_nothing_is_asked_of_a_kernel_that_it_does_not_offer() -> None:
    agreement = agree(struct.pack("=IIII", 7, 31, 131072, int(Feature.ASYNC_READ | Feature.MAX_PAGES)))
    assert agreement.features == Feature.ASYNC_READ | Feature.MAX_PAGES
    assert agreement.minor == 31
    assert not agreement.passthrough
    assert struct.unpack("=IIIIHHIIHHII24x", agreement.answer())[10:] == (0, 0)


@pytest.mark.parametrize(("major", "minor"), [(7, 30), (6, 99)])
def test_a_kernel_that_is_too_old_is_refused(major: int, minor: int) -> None:
    with pytest.raises(OldKernel, match=f"FUSE {major}.{minor}"):
        agree(asked(minor, 0, major))
