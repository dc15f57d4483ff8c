"""What ``tierproxy status`` says of the tiers and of hit workers."""

from __future__ import annotations

from tierproxy.cli.status import _health, _workers
from tierproxy.wire.status import TierHealth, Workers


def test_a_tier_that_is_well_needs_no_more_words() -> None:
    assert _health(TierHealth(tier="disk", subject="/var/lib/tierproxy", state="normal", since=0), 90) == "disk: normal"
    assert _health(TierHealth(tier="alt", subject="mail", state="normal", since=0), 90) == "alt, bucket mail: normal"


def test_a_tier_in_trouble_says_since_when_and_why() -> None:
    one = TierHealth(tier="alt", subject="mail", state="down", since=0, reason="reads: no route", changes=1)
    assert _health(one, 180) == "alt, bucket mail: down for 3 min: reads: no route"


def test_hit_workers_say_how_many_run_and_what_they_did() -> None:
    well = Workers(places=2, running=2, restarts=0, connections=12, answers=3456, passed=7)
    assert _workers(well) == "2 of 2 running; 3,456 hits answered, 12 connections open"
    ended = Workers(places=2, running=1, restarts=1, connections=1, answers=1, passed=0)
    assert _workers(ended) == (
        "1 of 2 running, 1 ended: the node listens there; 1 restart; 1 hit answered, 1 connection open"
    )
