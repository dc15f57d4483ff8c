"""The bench of growing catalogues: what it makes is sound, how it judges, and a short run of all of it."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.loadtests.test_load_scripts import ROOT, run


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "loadtests"), *sys.path])


@pytest.mark.usefixtures("scripts")
def test_what_is_made_breaks_no_invariant_and_has_its_triggers_again(tmp_path: Path) -> None:
    from bench_scale import make
    from scale_roles import changes, opened
    from scale_rows import keys, place

    make(tmp_path, 3000)
    assert [key.startswith(place(number)) for number, key in zip((0, 2999), keys(tmp_path, (0, 2999)), strict=True)]
    changes(tmp_path, 3000, 40)

    async def sums() -> tuple[list[str], int, int]:
        async with opened(tmp_path) as catalogue:
            totals = catalogue.totals("mail")
            return await catalogue.check(), totals.objects, totals.blobs

    assert asyncio.run(sums()) == ([], 3000, 2699)


@pytest.mark.usefixtures("scripts")
def test_growth_is_judged_beside_the_logarithm() -> None:
    from bench_scale import Grown, growth

    def at(entries: int, cpu: float) -> Grown:
        return Grown(entries, {"step": {"cpu": cpu}})

    assert growth([at(10**5, 5.0), at(10**6, 6.0), at(10**7, 7.0)], "step") == pytest.approx(1.0)
    assert growth([at(10**4, 1.0), at(10**5, 5.0)], "step") == 0
    assert growth([at(10**5, 5.0), at(10**6, 12.0), at(10**7, 14.0)], "step") == pytest.approx(2.0)


@pytest.mark.usefixtures("scripts")
def test_a_step_is_the_quickest_of_its_rounds_and_their_median_in_what_is_counted() -> None:
    from bench_scale import together

    rounds = [{"step": {"cpu": cpu, "read": cpu}} for cpu in (3.0, 90.0, 4.0)]
    assert together(rounds) == {"step": {"cpu": 3.0, "read": 4.0}}


@pytest.mark.usefixtures("scripts")
def test_pages_are_those_of_one_connection_since_it_was_asked(tmp_path: Path) -> None:
    from sqlite_pages import KNOWN, Pages, counted

    assert KNOWN, "the scripts are run with the Python of the tests"
    file = tmp_path / "some.sqlite"
    with closing(sqlite3.connect(file)) as writer, closing(sqlite3.connect(file)) as reader:
        writer.execute("PRAGMA journal_mode = WAL")
        writer.execute("CREATE TABLE row AS SELECT zeroblob(10000) AS body")
        writer.commit()
        assert counted(writer).written >= 3
        assert counted(writer) == Pages()
        reader.execute("SELECT sum(length(hex(body))) FROM row").fetchall()
        assert counted(reader).read >= 3
        assert counted(reader) == Pages()


@pytest.mark.slow
def test_a_catalogue_is_measured_as_it_grows(tmp_path: Path) -> None:
    output = run("bench_scale.py", "--sizes", "1000", "3000", "--share", "0.01", "--rounds", "1", "--dir", tmp_path)
    for line in ("first byte after exec", "look-up", "PUT", "LIST, after a key", "page of score", "goals met"):
        assert line in output
    assert not list(tmp_path.iterdir())
