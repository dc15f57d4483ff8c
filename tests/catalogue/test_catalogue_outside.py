"""Another process beside the node: it reads what plans and counts say, and asks for work by rows."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tierproxy.catalogue import catalogue_file, open_outside, open_reader
from tierproxy.errors import ConfigError, NoSuchKey
from tierproxy.model import ObjectName
from tierproxy.purges import Eviction, PurgeRun, RunKind, RunState, Version
from tierproxy.testing.contracts.catalogue_rows import (
    MAIL,
    OTHER,
    counted,
    drop,
    read,
    sqlite_catalogue,
    stored,
)

WISH = PurgeRun(0, RunKind.RULES, RunState.ASKED, 100.0, author="ada")


async def test_the_node_sees_what_was_asked_for_from_outside(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue.publish(stored())
        assert catalogue.runs(9) == []
        with open_outside(tmp_path) as outside:
            outside.pin(MAIL, math.inf)
            run = outside.add_run(WISH)
            version = outside.add_version(Version(0, "live", 100.0, "ada", "try", "text"))
        standing = catalogue.standing(MAIL)
        assert standing is not None
        assert standing.pinned_until == math.inf
        assert await catalogue.drop_blobs([drop(stored())], at=200.0) == [False]
        assert catalogue.runs(9, open_only=True) == [run]
        assert catalogue.versions("live", 9) == [version]
        assert catalogue.changed_outside()
        with open_outside(tmp_path) as outside:
            confirmed = outside.confirm_run(run.number)
            assert confirmed is not None
            assert catalogue.run(run.number) == confirmed
            assert confirmed.confirmed
            outside.cancel_run(run.number, at=300.0)
        found = catalogue.run(run.number)
        assert found is not None
        assert (found.state, found.ended_at) == (RunState.CANCELLED, 300.0)


async def test_what_fails_from_outside_changes_nothing(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        with open_outside(tmp_path) as outside:
            with pytest.raises(NoSuchKey):
                outside.pin(MAIL, 1.0)
            assert outside.confirm_run(7) is None
            assert outside.add_run(WISH).number == 1
        await catalogue.publish(stored())


async def test_a_reader_answers_as_the_node_does(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        for name in (MAIL, OTHER):
            await catalogue.publish(stored(name))
        await catalogue.begin_shadow(1500.0)
        await catalogue.drop_blobs([drop(stored())], at=1600.0)
        await catalogue.count(counted(read(OTHER), increments={"reads.person": 1}))
        await catalogue.requeue([], Eviction("", 1.0, 2.0))
        await catalogue.name_by(7)
        await catalogue.add_run(WISH)
        await catalogue.add_version(Version(0, "live", 100.0, "ada", "try", "text"))
        with open_reader(tmp_path) as reader:
            assert reader.standing(OTHER) == catalogue.standing(OTHER)
            assert reader.records(0) == await catalogue.records(0)
            assert reader.rollups(60, 0, 1e9) == await catalogue.rollups(60, 0, 1e9)
            assert reader.grown(60, 0, 1e9).counters == {"reads.person": 1}
            assert reader.grown(60, 1e9, 2e9).counters == {}
            assert reader.shadow() == await catalogue.shadow()
            assert (reader.runs(9), reader.run(1), reader.run_rules(1)) == (catalogue.runs(9), catalogue.run(1), [])
            assert (reader.versions("live", 9), reader.version(1)) == ([catalogue.version(1)], catalogue.version(1))
            assert (reader.eviction(""), reader.named_by()) == (Eviction("", 1.0, 2.0), 7)
            assert reader.find(ObjectName("mail", "none")) is None
            assert reader.check() == []


async def test_a_catalogue_of_another_version_is_neither_read_nor_changed(tmp_path: Path) -> None:
    async with sqlite_catalogue(tmp_path) as catalogue:
        await catalogue._database.change(
            lambda connection: connection.execute("DELETE FROM migration WHERE name LIKE '0003%'").rowcount
        )
        for use in (open_reader, open_outside):
            with pytest.raises(ConfigError, match="older"), use(tmp_path):
                pass
    assert catalogue_file(tmp_path).exists()
