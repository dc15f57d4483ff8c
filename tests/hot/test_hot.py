"""The memory tier."""

from __future__ import annotations

import tracemalloc

import pytest

from tierproxy.config.sections import MemorySection
from tierproxy.config.values import Size
from tierproxy.hot.memory import MemoryTier, NoMemory, memory_tier
from tierproxy.model import Entry, Headers, ObjectName, State
from tierproxy.ports import Hot
from tierproxy.testing.contracts.hot import LARGEST, PROMISES, ROOM, Promise, entry, name


@pytest.mark.parametrize("make", [lambda: MemoryTier(ROOM, LARGEST), NoMemory], ids=["memory", "none"])
@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_contract(promise: Promise, make: type[Hot]) -> None:
    promise(make())


def test_the_least_recently_read_leaves_first() -> None:
    tier = MemoryTier(3 * 3000, LARGEST)
    for key in ("a", "b", "c"):
        tier.put(entry(key), b"x" * 1500)
    assert tier.get(name("a")) is not None
    tier.put(entry("d"), b"x" * 1500)
    assert [key for key in "abcd" if tier.get(name(key)) is not None] == ["a", "c", "d"]


def test_what_was_touched_has_been_read() -> None:
    tier = MemoryTier(3 * 3000, LARGEST)
    for key in ("a", "b", "c"):
        tier.put(entry(key), b"x" * 1500)
    tier.touch([name("a"), name("none")])
    tier.put(entry("d"), b"x" * 1500)
    assert [key for key in "abcd" if tier.get(name(key)) is not None] == ["a", "c", "d"]


def test_an_object_as_large_as_all_the_memory_is_not_kept() -> None:
    tier = MemoryTier(1000, 10**6)
    tier.put(entry("k"), b"x" * 1000)
    assert tier.get(name("k")) is None


def test_no_memory_is_configured_by_zero() -> None:
    assert isinstance(memory_tier(MemorySection(max_bytes=Size(0))), NoMemory)
    assert isinstance(memory_tier(MemorySection()), MemoryTier)


@pytest.mark.parametrize("pairs", [0, 3])
def test_the_bytes_charged_are_the_bytes_taken(pairs: int) -> None:
    tier, count = MemoryTier(2**30, 2**20), 2000
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(count):
        tier.put(_like_real(number, pairs), bytes(1000))
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert 0.8 * taken < tier.bytes_used < 1.25 * taken


def _like_real(number: int, pairs: int) -> Entry:
    metadata = {f"name{pair}": f"{number:020d}" for pair in range(pairs)}
    return Entry(
        ObjectName("mail", f"u/{number:060d}"), number + 10**6, State.CLEAN, 1000, f"{number:032x}", 1e9 + number,
        alt_etag=f"{number + 1:032x}", headers=Headers(content_type="text/plain", metadata=metadata),
        blob=f"{number:024x}", blob_bytes=4096 + number, xxh3=number.to_bytes(16), stored_at=1e9 + number,
        last_read_at=1e9 - number, reads=number + 1000,
    )  # fmt: skip
