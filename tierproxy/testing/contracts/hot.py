"""What every memory tier promises (``tierproxy.ports.Hot``). Each promise takes a fresh tier of about ``ROOM`` bytes
for objects of at most ``LARGEST`` bytes; see ``tierproxy.testing.contracts.alt`` for how to run them."""

from __future__ import annotations

from collections.abc import Callable
from weakref import ref

from tierproxy.model import Entry, ObjectName, State
from tierproxy.ports import Hot

ROOM = 100_000
LARGEST = 10_000
Promise = Callable[[Hot], None]


def entry(key: str, generation: int = 1, size: int = 5) -> Entry:
    return Entry(ObjectName("mail", key), generation, State.CLEAN, size, "etag", 0.0)


def name(key: str) -> ObjectName:
    return ObjectName("mail", key)


def what_is_kept_is_what_was_put(hot: Hot) -> None:
    hot.put(entry("k"), b"hello")
    found = hot.get(name("k"))
    assert found in {None, (entry("k"), b"hello")}
    assert hot.get(name("other")) is None


def what_is_dropped_is_gone(hot: Hot) -> None:
    hot.put(entry("k"), b"hello")
    hot.drop(name("k"))
    hot.drop(name("k"))
    assert hot.get(name("k")) is None
    assert hot.bytes_used == 0


def a_new_content_replaces_the_old(hot: Hot) -> None:
    hot.put(entry("k", 1), b"old")
    hot.put(entry("k", 2), b"new")
    assert hot.get(name("k")) in {None, (entry("k", 2), b"new")}


def an_old_content_never_replaces_the_new(hot: Hot) -> None:
    hot.put(entry("k", 2), b"new")
    hot.put(entry("k", 1), b"old")
    assert hot.get(name("k")) in {None, (entry("k", 2), b"new")}


def a_content_too_large_ends_the_old_one(hot: Hot) -> None:
    hot.put(entry("k", 1), b"old")
    hot.put(entry("k", 2), b"x" * (LARGEST + 1))
    assert hot.get(name("k")) is None
    assert hot.bytes_used == 0


def memory_is_bounded(hot: Hot) -> None:
    for number in range(500):
        hot.put(entry(f"k{number}"), b"x" * (number % LARGEST))
        assert hot.bytes_used <= ROOM


def clear_leaves_nothing(hot: Hot) -> None:
    for number in range(5):
        hot.put(entry(f"k{number}"), b"hello")
    hot.clear()
    assert hot.bytes_used == 0
    assert all(hot.get(name(f"k{number}")) is None for number in range(5))


def a_weak_reference_lives_as_long_as_what_is_kept(hot: Hot) -> None:
    for end in (hot.clear, lambda: hot.drop(name("k")), lambda: hot.put(entry("k", 2), b"other")):
        hot.put(entry("k"), b"hello")
        kept = hot.kept(name("k"))
        if kept is not None:
            assert (kept.entry, kept.content) == (entry("k"), b"hello")
            link = ref(kept)
            del kept
            hot.touch([name("k"), name("other")])
            assert link() is hot.kept(name("k"))
            end()
            assert link() is None


PROMISES: tuple[Promise, ...] = (
    what_is_kept_is_what_was_put,
    what_is_dropped_is_gone,
    a_new_content_replaces_the_old,
    an_old_content_never_replaces_the_new,
    a_content_too_large_ends_the_old_one,
    memory_is_bounded,
    clear_leaves_nothing,
    a_weak_reference_lives_as_long_as_what_is_kept,
)
