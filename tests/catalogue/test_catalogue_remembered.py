"""Rows that were looked up are remembered, and never longer than they are true."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tierproxy.catalogue.entries import REMEMBERED
from tierproxy.model import ObjectName
from tierproxy.testing.contracts.catalogue_rows import MAIL, dirty, put, sqlite_catalogue, stored


async def test_a_row_is_read_from_the_database_once_between_two_commits(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(stored())
        assert catalogue.find(MAIL) is catalogue.find(MAIL)


async def test_every_change_is_seen_at_once_by_who_looked_before(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        assert catalogue.find(MAIL) is None
        await catalogue.publish(stored())
        assert catalogue.find(MAIL) == stored()
        newer = replace(stored(), generation=stored().generation + 1, size=stored().size + 1, blob=None, blob_bytes=0)
        await catalogue.publish(newer)
        assert catalogue.find(MAIL) == newer
        await catalogue.forget(MAIL, newer.generation)
        assert catalogue.find(MAIL) is None


async def test_the_totals_of_the_queue_are_those_after_the_last_commit(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        assert catalogue.queue_totals().jobs == 0
        await catalogue.publish(dirty(), job=put())
        assert catalogue.queue_totals().jobs == 1
        await catalogue.uploaded(MAIL, dirty().generation, "etag")
        assert catalogue.queue_totals().jobs == 0


async def test_no_more_rows_are_remembered_than_the_bound(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        for number in range(REMEMBERED + 10):
            assert catalogue.find(ObjectName("mail", f"u.{number}")) is None
        assert len(catalogue.find.__self__._found) <= REMEMBERED  # type: ignore[attr-defined]
