"""Owner and folder of rows: the naming patterns' word, and the requests'."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from tierproxy.catalogue import SqliteCatalogue
from tierproxy.model import ObjectName
from tierproxy.testing.contracts.catalogue_rows import (
    MAIL,
    OTHER,
    counted,
    dirty,
    drop,
    entry,
    put,
    read,
    removal,
    sqlite_catalogue,
    stored,
)


def by_key(name: ObjectName) -> tuple[str, str]:
    """user/FOLDER/message"""
    owner, _, rest = name.key.partition("/")
    return owner, rest.partition("/")[0].lower()


def shouted(name: ObjectName) -> tuple[str, str]:
    owner, folder = by_key(name)
    return owner.upper(), folder.upper()


def owned(catalogue: SqliteCatalogue, name: ObjectName = MAIL) -> tuple[str | None, str | None]:
    found = catalogue.find(name)
    assert found is not None
    return found.owner, found.folder


async def test_the_key_says_who_owns_a_row_that_no_request_named(tmp_path: Path) -> None:
    fresh = ObjectName("mail", "eve/Trash/1")
    async with sqlite_catalogue(tmp_path, naming=by_key) as catalogue:
        await catalogue.publish(stored(owner=None, folder=None))
        assert owned(catalogue) == ("user", "inbox")
        await catalogue.insert_listed([entry(OTHER, 7, headers=None)])
        assert owned(catalogue, OTHER) == ("user", "inbox")
        await catalogue.adopt([dirty(fresh, 9)])
        assert owned(catalogue, fresh) == ("eve", "trash")


async def test_a_requests_word_beats_the_key_and_stays(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path, naming=by_key) as catalogue:
        await catalogue.publish(stored(owner="ada", folder=None))
        await catalogue.fill(stored(generation=2, owner=None, folder=None), expected=1)
        await catalogue.tombstone(MAIL, 3, removal(generation=3))
        await catalogue.publish(stored(generation=4, owner=None, folder="sent"))
        assert owned(catalogue) == ("ada", "sent")


async def test_new_patterns_leave_what_requests_named(tmp_path: Path) -> None:
    named, half = ObjectName("mail", "a/In/1"), ObjectName("mail", "b/In/1")
    async with sqlite_catalogue(tmp_path, naming=by_key) as catalogue:
        await catalogue.publish(stored(named, owner="ada", folder="sent"))
        await catalogue.publish(stored(half))
        await catalogue.count(counted(read(half, owner="late")))
        await catalogue.publish(stored())
    async with sqlite_catalogue(tmp_path, naming=shouted) as catalogue:
        assert await catalogue.reclassify(None, 2) == half
        assert owned(catalogue) == ("user", "inbox")
        assert await catalogue.reclassify(half, 2) is None
        assert owned(catalogue, named) == ("ada", "sent")
        assert owned(catalogue, half) == ("B", "IN")
        assert owned(catalogue) == ("USER", "INBOX")


async def test_a_read_names_what_the_key_does_not_say(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(stored())
        await catalogue.count(counted(read(owner="late", folder="in")))
    async with sqlite_catalogue(tmp_path, naming=by_key) as catalogue:
        await catalogue.reclassify(None, 100)
        assert owned(catalogue) == ("late", "in")


async def test_a_row_that_is_handed_back_as_it_was_read_names_nothing(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path, naming=by_key) as catalogue:
        await catalogue.publish(dirty(), job=put())
        found = catalogue.find(MAIL)
        assert found is not None
        await catalogue.publish(replace(found, generation=2), job=put(generation=2))
        await catalogue.uploaded(MAIL, 2, "alt")
        await catalogue.drop_blobs([drop(replace(found, generation=2))], at=9.0)
    async with sqlite_catalogue(tmp_path, naming=shouted) as catalogue:
        await catalogue.reclassify(None, 100)
        assert owned(catalogue) == ("USER", "INBOX")


async def test_patterns_that_fail_fail_no_write_and_say_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_name: ObjectName) -> tuple[str, str]:
        raise ValueError("bad pattern")

    async with sqlite_catalogue(tmp_path, naming=broken) as catalogue:
        with caplog.at_level(logging.ERROR):
            await catalogue.publish(stored())
            await catalogue.publish(stored(OTHER))
        assert owned(catalogue) == ("", "")
        assert [record.message for record in caplog.records] == ["naming failed"]
