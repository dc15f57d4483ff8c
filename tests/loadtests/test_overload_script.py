"""A short run of the overload test: it goes on working, and judges what it sees."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.loadtests.programs import loaded
from tests.loadtests.test_load_scripts import run


@pytest.mark.slow
def test_too_much_of_everything_costs_the_quiet_client_nothing(tmp_path: Path) -> None:
    output = run(
        "overload.py", "--only", "flood", "slow writers", "queue", "--flood", "800", "--slow", "100", "--seconds", "2",
        "--cold", "100", "--dir", tmp_path,
    )  # fmt: skip
    assert output.splitlines()[-1].startswith("OK: 6 scenes of too much")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_with_tls_and_through_hit_workers_neither(tmp_path: Path) -> None:
    output = run(
        "overload.py", "--only", "TLS", "workers", "trickle", "--flood", "300", "--slow", "60", "--idle", "500",
        "--seconds", "2", "--cold", "100", "--dir", tmp_path,
    )  # fmt: skip
    assert output.splitlines()[-1].startswith("OK: 8 scenes of too much")
    assert not list(tmp_path.iterdir())


def test_what_is_not_bounded_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with loaded(monkeypatch, "overload") as here:
        program = here.overload
        scene = program.Scene("flood", None, "plain", 10)
        played = program.scenes.Played(wanted=2, ratio=0.4)
        played.noisy.errors["500"] = 1
        watched = program.Watched(None, memory=[0, 11 * 2**20, 0], descriptors=[10, 20, 10])
        wrong = "\n".join(program.Result(scene, played, watched, None).wrong())
        for word in ("11 MiB more memory", "answers that are none", "0 of 2 answers", "0.40 of their rate", "normal"):
            assert word in wrong
        fine = program.scenes.Played(wanted=0, ratio=0.6)
        assert not program.Result(scene, fine, program.Watched(None, [0], [1]), 0.1).wrong()
        page = tmp_path / "page.md"
        page.write_text("before\n<!-- overload: begin -->\nold\n<!-- overload: end -->\nafter\n")
        monkeypatch.setattr(program, "PAGE", page)
        program.keep("new")
        assert page.read_text() == "before\n<!-- overload: begin -->\nnew\n<!-- overload: end -->\nafter\n"
