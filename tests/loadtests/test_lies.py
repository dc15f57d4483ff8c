"""A short run of the load under lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.loadtests.programs import loaded
from tests.loadtests.test_load_scripts import run


@pytest.mark.slow
def test_nothing_is_lost_to_an_s3_server_that_lies(tmp_path: Path) -> None:
    output = run("lies.py", "--seconds", "6", "--rounds", "1", "--clients", "4", "--seed", "3", "--dir", tmp_path)
    last = output.splitlines()[-1]
    assert last.startswith("OK: ")
    assert last.endswith("0 lost, 0 resurrected, 0 wrong bytes")
    assert not list(tmp_path.iterdir())


def test_what_came_back_is_told_from_what_never_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with loaded(monkeypatch, "lies", "outage") as scripts:
        ledger = scripts.outage.Ledger(tmp_path / "ledger")
        history = scripts.lies.History(ledger)
        history.intend("k", "first")
        assert [history.verdict("k", digest) for digest in ("", "first", "other")] == ["", "", "wrong bytes"]
        ledger.acknowledge("k", "first", "written")
        history.intend("k", "second")
        ledger.acknowledge("k", "second", "written")
        assert [history.verdict("k", digest) for digest in ("", "first", "second")] == ["lost", "resurrected", ""]
        history.intend("k", "")
        ledger.acknowledge("k", "", "deleted")
        assert history.verdict("k", "second") == "resurrected"
        ledger.close()


def test_the_same_seed_tells_the_same_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    with loaded(monkeypatch, "lies") as scripts:
        one, other = scripts.lies.Weather(7), scripts.lies.Weather(7)
        assert [one.next() for _ in range(50)] == [other.next() for _ in range(50)]
