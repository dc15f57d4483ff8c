"""Frames and descriptors between the node and a hit worker."""

from __future__ import annotations

import array
import asyncio
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierproxy.server.handover import HEAD, Channel, Frame, Inbox, Kind, Malformed, close
from tierproxy.testing.wire import on_both_loops, until

FRAMES = st.lists(
    st.tuples(
        st.sampled_from(Kind),
        st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=9), max_size=3),
        st.binary(max_size=300),
        st.booleans(),
    ),
    max_size=12,
)


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


@contextmanager
def nothing_leaks() -> Iterator[None]:
    before = open_descriptors()
    yield
    assert open_descriptors() == before


class End:
    """One end of a channel, and what came out of it."""

    def __init__(self, end: socket.socket) -> None:
        self.frames: list[Frame] = []
        self.ends = 0
        self.channel = Channel(end, self.frames.append, self._ended)

    def _ended(self) -> None:
        self.ends += 1

    def close(self) -> None:
        self.channel.close()
        for frame in self.frames:
            close(frame.descriptor)


@contextmanager
def channel() -> Iterator[tuple[End, End]]:
    """Two ends; all that is open of them is closed afterwards."""
    with nothing_leaks():
        left, right = (End(one) for one in socket.socketpair())
        try:
            yield left, right
        finally:
            left.close()
            right.close()


def marked(text: bytes) -> int:
    """A descriptor from which ``text`` can be read."""
    reading, writing = os.pipe()
    os.write(writing, text)
    os.close(writing)
    return reading


async def passed(frames: list[tuple[Kind, dict[str, Any], bytes, bool]]) -> None:
    with channel() as (left, right):
        for number, (kind, facts, data, carries) in enumerate(frames):
            left.channel.send(kind, facts, data, marked(b"%d" % number) if carries else None)
        await until(lambda: len(right.frames) == len(frames))
        for number, (frame, sent) in enumerate(zip(right.frames, frames, strict=True)):
            assert (frame.kind, frame.facts, frame.data, frame.carries) == sent
            assert (frame.descriptor is not None) == frame.carries
            if frame.descriptor is not None:
                assert os.read(frame.descriptor, 9) == b"%d" % number


@given(FRAMES)
@settings(max_examples=30, deadline=None)
def test_frames_arrive_whole_in_order_and_with_their_descriptors(frames: list[Any]) -> None:
    asyncio.run(passed(frames))


@on_both_loops
async def test_what_the_other_side_does_not_take_waits_in_order() -> None:
    with channel() as (left, right):
        big = os.urandom(700_000)
        for number in range(5):
            left.channel.send(Kind.PASS, {"number": number}, big, marked(b"%d" % number))
        assert left.channel.waiting
        await until(lambda: len(right.frames) == 5)
        assert [frame.facts["number"] for frame in right.frames] == [0, 1, 2, 3, 4]
        assert all(frame.data == big for frame in right.frames)
        assert [os.read(frame.descriptor or 0, 2) for frame in right.frames] == [b"0", b"1", b"2", b"3", b"4"]
        assert not left.channel.waiting


@on_both_loops
async def test_both_sides_send_at_once() -> None:
    with channel() as (left, right):
        for _ in range(200):
            left.channel.send(Kind.PASS, {}, b"x" * 5000, marked(b"l"))
            right.channel.send(Kind.BACK, {}, b"", marked(b"r"))
        await until(lambda: len(left.frames) == len(right.frames) == 200)
        assert all(os.read(frame.descriptor or 0, 2) == b"r" for frame in left.frames)


@given(st.lists(st.integers(1, 40), max_size=60))
@settings(max_examples=40, deadline=None)
def test_frames_are_found_however_the_bytes_are_split(cuts: list[int]) -> None:
    inbox, found = Inbox(), []
    stream = b""
    for number in range(6):
        facts = b'{"n": %d}' % number
        stream += HEAD.pack(Kind.PASS, number % 2, len(facts), 3) + facts + b"abc"
    with nothing_leaks():
        descriptors = [marked(b"1"), marked(b"3"), marked(b"5")]
        pieces = [*cuts, len(stream)]
        for size in pieces:
            # the kernel delivers a descriptor with the first byte of its frame, so never later than here
            inbox.take(stream[:size], descriptors, lost=False)
            descriptors, stream = [], stream[size:]
            while (frame := inbox.next()) is not None:
                found.append(frame)
        assert [frame.facts["n"] for frame in found] == list(range(6))
        for frame in found:
            close(frame.descriptor)


@pytest.mark.parametrize("size", [1, HEAD.size - 1, HEAD.size, HEAD.size + 5, HEAD.size + 104])
async def test_an_end_in_the_middle_of_a_frame_closes_its_descriptor(size: int) -> None:
    with nothing_leaks():
        mine, theirs = socket.socketpair()
        end = End(theirs)
        frame = HEAD.pack(Kind.PASS, 1, 2, 104) + b"{}" + bytes(104)
        descriptor = marked(b"x")
        mine.sendmsg([frame[:size]], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))])
        os.close(descriptor)
        mine.close()
        await until(lambda: end.ends)
        assert end.frames == []
        assert end.channel.closed


@pytest.mark.parametrize(
    "stream",
    [
        HEAD.pack(Kind.PASS, 1, 2, 0) + b"{}",
        HEAD.pack(99, 0, 2, 0) + b"{}",
        HEAD.pack(Kind.PASS, 0, 2, 0) + b"{]",
        HEAD.pack(Kind.PASS, 0, 2**31, 0),
        HEAD.pack(Kind.PASS, 0, 0, 2**31),
    ],
)
async def test_what_is_no_frame_ends_the_channel_once(stream: bytes) -> None:
    with nothing_leaks():
        mine, theirs = socket.socketpair()
        end = End(theirs)
        mine.sendall(stream)
        await until(lambda: end.ends)
        assert (end.ends, end.frames) == (1, [])
        mine.close()


def test_a_broken_frame_does_not_keep_its_descriptor() -> None:
    with nothing_leaks():
        inbox = Inbox()
        inbox.take(HEAD.pack(99, 1, 2, 0) + b"{}", [marked(b"x")], lost=False)
        with pytest.raises(Malformed):
            inbox.next()
        inbox.take(b"", [marked(b"y")], lost=False)
        inbox.discard()


@contextmanager
def no_descriptor_is_free() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_a_descriptor_there_is_no_room_for_is_told_as_lost_and_the_others_arrive() -> None:
    with channel() as (left, right):
        left.channel.send(Kind.PASS, {}, b"", marked(b"a"))
        with no_descriptor_is_free():
            await until(lambda: right.frames)
        left.channel.send(Kind.PASS, {}, b"", marked(b"b"))
        await until(lambda: len(right.frames) == 2)
        lost, found = right.frames
        assert lost.carries
        assert lost.descriptor is None
        assert os.read(found.descriptor or 0, 2) == b"b"


async def test_closing_closes_what_was_not_sent() -> None:
    with channel() as (left, right):
        for _ in range(20):
            left.channel.send(Kind.PASS, {}, bytes(100_000), marked(b"x"))
        assert left.channel.waiting
        left.channel.close()
        left.channel.close()
        left.channel.send(Kind.PASS, {}, b"", marked(b"x"))
        assert left.ends == 0
        await until(lambda: right.ends)
        assert right.ends == 1
