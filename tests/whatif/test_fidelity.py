"""One workload through a live node and, as the history it wrote, through the simulator, by the same rules."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tierproxy.config.sections import FillSection
from tierproxy.history.generate import Traffic
from tierproxy.history.trace import load
from tierproxy.history.traffic_model import model_for
from tierproxy.model import FillPolicy, ObjectName
from tierproxy.rules.language import parse
from tierproxy.testing.playback import Played, played
from tierproxy.traffic import Event
from tierproxy.whatif.live import Setup, simulate
from tierproxy.whatif.result import Result

SCALE = 0.1  #: of bodies
RULES = """
[[rule]]
name = "new mail stays"
when = { age = "< 2d" }
then = "keep"

[[rule]]
name = "read often"
when = { reads = ">= 3 in 3d" }
then = "keep"

[[rule]]
name = "large and idle"
when = { size = ">= 20KB", idle = "> 1d", key = "mail/*" }
then = "purge"

[[rule]]
name = "read once, long ago"
when = { reads = "<= 1", idle = "> 3d" }
then = "purge"
"""
OF_READ = """
[[rule]]
name = "who has read it has it"
when = { reads = ">= 1", on_disk = "> 12h" }
then = "purge"

[[rule]]
name = "trash is not filled"
when = { folder = "trash" }
fill = "never"

[[rule]]
name = "pinned"
when = { owner = "*1" }
then = "pin until age 2d"

[[rule]]
name = "large ones go around"
when = { size = "> 50KB" }
write = "alt"
"""
SHORT = '[budget]\nmax_bytes = "1300KB"\nmin_free = "1KiB"\nmin_on_disk = "1h"\n'
OF_BUCKET = SHORT + '[budget.bucket.mail]\nmax_bytes = "1100KB"\n'
AT_NIGHT = '[schedule]\nwindows = ["01:00-05:00"]\ntimezone = "Europe/Berlin"\n'
SECOND_READ = FillSection(policy=FillPolicy.SECOND_READ)

CASES = {
    "lru": (SHORT + '[pressure]\norder = "lru"\n' + RULES, FillSection()),
    "gdsf, second read, nothing that is kept": (
        SHORT + '[pressure]\norder = "gdsf"\nkept = "never"\n' + AT_NIGHT + RULES, SECOND_READ,
    ),
    "sieve in a bucket": (OF_BUCKET + '[pressure]\norder = "sieve"\n' + OF_READ, FillSection()),
    "gdsf alone": (SHORT.replace("1300", "1100") + '[pressure]\norder = "gdsf"\n', FillSection()),
    "s3-fifo alone": (SHORT.replace("1300", "1100") + '[pressure]\norder = "s3-fifo"\n', FillSection()),
    "s3-fifo, at night": (SHORT + '[pressure]\norder = "s3-fifo"\n' + AT_NIGHT + RULES, FillSection()),
}  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a place: thousands of commits wait for the disk."""
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else tmp_path))
    yield root
    shutil.rmtree(root)


@cache
def traffic() -> tuple[float, tuple[Event, ...]]:
    """When it starts, and the events."""
    mail = Traffic(model_for("office", owners=4, mails_per_day=15.0), days=8, seed=3)
    return mail.start, tuple(
        event._replace(
            name=ObjectName("mail", f"mail/{event.name.key}"), size=max(1, int(event.size * SCALE))
        )
        for event in mail.events()
    )  # fmt: skip


def both(place: Path, text: str, fill: FillSection) -> tuple[Played, Result]:
    """What the live node counted, and what the simulator makes of the node's history."""
    rules = place / "rules.toml"
    rules.write_text(text)
    start, events = traffic()
    counted = asyncio.run(played(events, place / "data", rules, start, fill=fill))
    return counted, simulate(load([place / "data"]), parse(text), Setup(fill=fill))


@pytest.mark.parametrize("case", CASES)
def test_the_simulator_does_what_the_node_does(place: Path, case: str) -> None:
    live, simulated = both(place, *CASES[case])
    assert live.refused == 0
    assert live.person_misses > 0
    assert simulated.people.hits == pytest.approx(live.person_hits, rel=0.01)
    assert simulated.gets.hits == pytest.approx(live.gets_hits, rel=0.01)
    assert simulated.people.misses == pytest.approx(live.person_misses, abs=1, rel=0.03)
    assert simulated.fills == pytest.approx(live.fills, abs=1, rel=0.02)
    reasons = {record.by: record for record in simulated.reasons}
    assert set(reasons) == set(live.reasons)
    assert len(reasons) > ("alone" not in case)
    for by, record in live.reasons.items():
        assert reasons[by].bytes == pytest.approx(record.bytes, rel=0.02)
        assert reasons[by].objects == pytest.approx(record.objects, rel=0.02)
        assert reasons[by].regrets == pytest.approx(record.regrets, abs=1, rel=0.02)


def test_another_order_would_be_noticed(place: Path) -> None:
    text, fill = CASES["lru"]
    live, _ = both(place, text, fill)
    other = simulate(load([place / "data"]), parse(text.replace('"lru"', '"gdsf"')), Setup(fill=fill))
    pressed = {record.by: record for record in other.reasons}["pressure"]
    assert pressed.bytes != pytest.approx(live.reasons["pressure"].bytes, rel=0.02) or (
        other.gets.hits != pytest.approx(live.gets_hits, rel=0.01)
    )
