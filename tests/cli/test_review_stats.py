"""What a review found missing in ``tierproxy stats``: the hits of people."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.aged import answer, name, run
from tests.cli.live import live_node, until
from tierproxy.cli.client import Door, ObjectClient
from tierproxy.desk.series import peoples_hits
from tierproxy.traffic import Rollup
from tierproxy.wire.status import PeoplesHits


def test_stats_says_how_people_were_served_beside_how_everybody_was(aged: Path) -> None:
    with live_node(aged.parent) as running:
        with ObjectClient(Door.of(running.config)) as client:
            client.read(name("bob:new"))
            for mail in ("bob:new", "alice:old-unread", "alice:old-read-once"):
                with client.get(name(mail), {"x-tierproxy-reason": "backup"}) as found:
                    for _block in found.blocks():
                        pass
        until(lambda: answer("stats", "--config", aged)["hits"]["hour"]["gets"] == 4)
        assert answer("stats", "--config", aged)["people"]["hour"] == {"reads": 1, "hits": 1, "ratio": 1.0}
        shown = run("stats", "--config", aged).stdout
        lines = [line.split() for line in shown.splitlines()]
        people = next(index for index, line in enumerate(lines) if line[:2] == ["hits", "people:"])
        assert lines[people][2:6] == ["hour", "100.0%", "of", "1,"]
        assert lines[people + 1][:5] == ["all:", "hour", "100.0%", "of", "4,"]
        assert max(map(len, shown.splitlines())) <= 80


NOBODY = PeoplesHits(reads=0, hits=0, ratio=None)


@pytest.mark.parametrize(
    ("grown", "found"),
    [
        ({"reads.person.hits": 8, "reads.person.misses": 4}, PeoplesHits(reads=12, hits=8, ratio=8 / 12)),
        (
            {"reads.person.hits": 8, "reads.person.misses": 4, "reads.corrected.hits": 2, "reads.corrected.misses": 3},
            PeoplesHits(reads=7, hits=6, ratio=6 / 7),
        ),
        (
            {"reads.person.hits": 1, "reads.corrected.hits": 5, "reads.corrected.misses": 1},
            PeoplesHits(reads=0, hits=0, ratio=None),
        ),
        ({"reads.person": 3}, PeoplesHits(reads=0, hits=0, ratio=None)),
    ],
)
def test_scans_are_taken_out_of_the_hits_of_people(grown: dict[str, int], found: PeoplesHits) -> None:
    halves = [Rollup(0, 60, grown), Rollup(60, 60, {})]
    assert peoples_hits(halves) == found
    assert found.ratio is None or 0 <= found.ratio <= 1
