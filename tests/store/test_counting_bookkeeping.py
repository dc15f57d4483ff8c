"""Rows follow the naming patterns in force; old bins go; what an upload was told of its object survives a restart."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import CountingSection, NamingSection
from tierproxy.config.values import Duration
from tierproxy.model import Headers
from tierproxy.store import bookkeeping
from tierproxy.store.body import Md5Check
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.rig import Rig, name, pieces, rig
from tierproxy.traffic import DAY, NOBODY

TOLD = dataclasses.replace(NOBODY, owner="ann", folder="Sent")


def owners(r: Rig, keys: list[str]) -> list[str | None]:
    return [row.owner for key in keys if (row := r.row(key))]


async def test_rows_are_classified_again_when_the_patterns_are_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bookkeeping, "ROWS", 2)
    clock, alt = VirtualClock(), MemoryAlt()
    keys = [f"user-{number}/x" for number in range(5)]
    async with rig(tmp_path, clock=clock, alt=alt) as r:
        for key in keys:
            await r.put(key, b"a mail")
        assert owners(r, keys) == [""] * 5
    pattern = NamingSection(pattern="(?P<owner>[^/]+)/.*")
    async with rig(tmp_path, clock=clock, alt=alt, naming=(pattern,)) as r:
        catalogue = r.parts.catalogue
        while catalogue.named_by() != r.parts.naming.fingerprint():
            await clock.advance(bookkeeping.PAUSE)
        assert owners(r, keys) == [key.partition("/")[0] for key in keys]

        async def never(*_args: object) -> None:
            raise AssertionError("everything is classified already")

        anything: Any = catalogue
        anything.reclassify = never
        await r.parts.bookkeeping.classify()


async def test_bins_older_than_configured_go_within_the_hour(tmp_path: Path) -> None:
    clock = VirtualClock()
    settings = CountingSection(keep_days=2, keep_minutes=Duration(3600))
    async with rig(tmp_path, clock=clock, counting=settings) as r:
        await r.put("u.1", b"a mail")
        await r.get("u.1")
        await r.parts.tally.flush()
        standing = r.parts.catalogue.standing(name("u.1"))
        assert standing is not None
        assert len(standing.days) == 1
        await clock.advance(1)
        clock.jump_wall(3 * DAY)
        pruned: list[int] = []
        catalogue: Any = r.parts.catalogue
        prune = catalogue.prune_counts

        async def noted(day: int, minute: int) -> int:
            pruned.append(await prune(day, minute))
            return pruned[-1]

        catalogue.prune_counts = noted
        while not pruned or pruned[-1]:
            await clock.advance(bookkeeping.PERIOD / 4)
        standing = r.parts.catalogue.standing(name("u.1"))
        assert standing is not None
        assert (standing.days, standing.entry.reads) == ((), 1)
        assert sum(pruned) > 0


async def test_owner_and_folder_of_an_upload_are_the_objects_after_a_restart(tmp_path: Path) -> None:
    alt, clock = MemoryAlt(), VirtualClock()
    async with rig(tmp_path, alt=alt, clock=clock) as r:
        upload = await r.parts.store.multipart.create(name("u.1"), Headers(), None, None, None, TOLD)
        part = await r.parts.store.multipart.put_part(upload, 1, 6, pieces(b"a mail", 6), Md5Check(6))
    async with rig(tmp_path, alt=alt, clock=clock) as r:
        found = r.parts.store.multipart.find(upload.id, name("u.1"))
        await r.parts.store.multipart.complete(found, [(1, part.etag)])
        row = r.row("u.1")
        assert row is not None
        assert (row.owner, row.folder) == ("ann", "Sent")


async def test_a_copy_has_the_owner_its_request_names(tmp_path: Path) -> None:
    async with rig(tmp_path, clock=VirtualClock()) as r:
        await r.put("bob/mailboxes/INBOX/dbox-Mails/u.1", b"a mail")
        source = name("bob/mailboxes/INBOX/dbox-Mails/u.1")
        await r.parts.store.copy(source, name("u.2"), visitor=TOLD)
        await r.parts.store.copy(source, name("u.3"))
        copied, plain = r.row("u.2"), r.row("u.3")
        assert copied is not None
        assert plain is not None
        assert (copied.owner, copied.folder) == ("ann", "Sent")
        assert (plain.owner, plain.folder) == ("", "")
