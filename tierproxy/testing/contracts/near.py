"""What every ``tierproxy.ports.Near`` promises. Each promise takes a ``Place``: a store and a ``Near`` beside it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from tierproxy.model import ObjectName
from tierproxy.ports import Near, Standing

BODY = b"Subject: hello\r\n\r\nworld\r\n"
MAIL = ObjectName("mail", "box/1")
OTHER = ObjectName("mail", "box/2")
SHARED = ObjectName("shared", "box/1")


class Place(Protocol):
    """A store with an exclusive bucket ``mail`` and a bucket ``shared``, which has other writers. Each call returns
    when it is acknowledged."""

    @property
    def near(self) -> Near: ...

    async def put(self, name: ObjectName, body: bytes) -> None: ...

    async def delete(self, name: ObjectName) -> None: ...

    async def purge(self, name: ObjectName) -> None: ...

    async def suspect(self, name: ObjectName) -> None:
        """As an overwrite leaves a row whose outcome is not known."""
        ...

    def damage(self, name: ObjectName) -> None:
        """One bit of the blob is wrong."""
        ...

    def all_changed(self) -> None: ...


Promise = Callable[[Place], Awaitable[None]]


def found(place: Place, name: ObjectName) -> Standing:
    standing = place.near.find(name)
    assert standing is not None
    return standing


async def what_is_on_disk_is_found_and_read(place: Place) -> None:
    await place.put(MAIL, BODY)
    standing = found(place, MAIL)
    entry = standing.entry
    assert (entry.name, entry.size) == (MAIL, len(BODY))
    assert entry.blob is not None
    assert entry.headers is not None
    assert entry.xxh3 is not None
    assert place.near.load(standing) == BODY
    assert place.near.read(standing) == BODY
    assert place.near.stands(standing)


async def an_empty_object_has_an_empty_body(place: Place) -> None:
    await place.put(MAIL, b"")
    assert place.near.load(found(place, MAIL)) == b""
    assert place.near.read(found(place, MAIL)) == b""


async def what_is_not_there_is_not_known(place: Place) -> None:
    assert place.near.find(MAIL) is None


async def an_overwritten_object_stands_no_longer(place: Place) -> None:
    await place.put(MAIL, BODY)
    old = found(place, MAIL)
    await place.put(MAIL, b"another")
    assert not place.near.stands(old)
    assert place.near.load(found(place, MAIL)) == b"another"


async def a_deleted_object_stands_no_longer(place: Place) -> None:
    await place.put(MAIL, BODY)
    old = found(place, MAIL)
    await place.delete(MAIL)
    assert not place.near.stands(old)
    assert place.near.find(MAIL) is None


async def a_purged_object_stands_no_longer_and_is_asked_of_the_node(place: Place) -> None:
    await place.put(MAIL, BODY)
    old = found(place, MAIL)
    await place.purge(MAIL)
    assert not place.near.stands(old)
    assert place.near.find(MAIL) is None
    assert place.near.load(old) is None


async def a_change_of_one_object_leaves_others_standing(place: Place) -> None:
    await place.put(MAIL, BODY)
    await place.put(OTHER, b"other")
    standing = found(place, OTHER)
    await place.delete(MAIL)
    assert place.near.stands(standing)


async def what_needs_an_opinion_is_asked_of_the_node(place: Place) -> None:
    await place.put(MAIL, BODY)
    old = found(place, MAIL)
    await place.suspect(MAIL)
    assert not place.near.stands(old)
    assert place.near.find(MAIL) is None


async def a_bucket_with_other_writers_is_asked_of_the_node(place: Place) -> None:
    await place.put(SHARED, BODY)
    assert place.near.find(SHARED) is None


async def damaged_bytes_are_not_given(place: Place) -> None:
    await place.put(MAIL, BODY)
    standing = found(place, MAIL)
    place.damage(MAIL)
    assert place.near.read(standing) is None
    assert place.near.load(standing) is None


async def larger_bodies_are_loaded_and_the_largest_not_at_all(place: Place) -> None:
    sizes = {256 * 1024: True, 256 * 1024 + 1: False}
    for size, quick in sizes.items():
        await place.put(MAIL, bytes(size))
        assert place.near.load(found(place, MAIL)) == bytes(size)
        assert (place.near.read(found(place, MAIL)) == bytes(size)) is quick
    await place.put(MAIL, bytes(1024 * 1024 + 1))
    assert place.near.load(found(place, MAIL)) is None


async def when_everything_may_have_changed_nothing_stands(place: Place) -> None:
    await place.put(MAIL, BODY)
    old = found(place, MAIL)
    place.all_changed()
    assert not place.near.stands(old)
    assert place.near.stands(found(place, MAIL))


PROMISES: tuple[Promise, ...] = (
    what_is_on_disk_is_found_and_read,
    an_empty_object_has_an_empty_body,
    what_is_not_there_is_not_known,
    an_overwritten_object_stands_no_longer,
    a_deleted_object_stands_no_longer,
    a_purged_object_stands_no_longer_and_is_asked_of_the_node,
    a_change_of_one_object_leaves_others_standing,
    what_needs_an_opinion_is_asked_of_the_node,
    a_bucket_with_other_writers_is_asked_of_the_node,
    damaged_bytes_are_not_given,
    larger_bodies_are_loaded_and_the_largest_not_at_all,
    when_everything_may_have_changed_nothing_stands,
)
