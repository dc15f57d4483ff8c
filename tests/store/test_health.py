"""While alt does not take changes nobody waits for it, and the first success ends that."""

from __future__ import annotations

from pathlib import Path

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import WriteSection
from tierproxy.errors import AltRefused, AltUnavailable, NoSuchKey
from tierproxy.model import OnAltDown
from tierproxy.store.alarms import AlarmBoard
from tierproxy.store.health import FAILURES, AltHealth
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.rig import rig


async def test_after_some_failures_writes_and_deletes_do_not_wait_for_alt(tmp_path: Path) -> None:
    alt, clock = FaultyAlt(MemoryAlt()), VirtualClock()
    async with rig(tmp_path, alt=alt, clock=clock) as r:
        await r.put("old", b"old")
        alt.down()
        for number in range(FAILURES):
            assert (await r.put(f"u.{number}", b"x")).entry.tiers == ("disk",)
        await r.idle()
        alt.heal()
        gates = [alt.gate(operation, nth=nth) for operation in ("put", "delete") for nth in range(1, 10)]
        # Whoever asks alt now hangs: these return.
        assert (await r.put("u.9", b"x")).entry.tiers == ("disk",)
        await r.delete("old")
        with pytest.raises(NoSuchKey):
            await r.get("old")
        for gate in gates:
            gate.open()
        while r.parts.catalogue.queue_totals().jobs:
            await clock.advance(1)
        assert (await r.put("u.10", b"x")).entry.tiers == ("disk", "alt")
        assert ("alt does not take changes", "mail") not in r.parts.alarms.active()


async def test_refuse_still_asks_alt_every_time(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    async with rig(tmp_path, alt=alt, write=WriteSection(on_alt_down=OnAltDown.REFUSE)) as r:
        alt.down()
        for number in range(FAILURES + 1):
            with pytest.raises(AltUnavailable):
                await r.put(f"u.{number}", b"x")
        alt.heal()
        assert (await r.put("u.1", b"x")).entry.tiers == ("disk", "alt")


def test_a_refusal_is_an_answer() -> None:
    health = AltHealth(AlarmBoard())
    for _ in range(FAILURES):
        health.failed("mail", AltUnavailable())
    assert health.down("mail")
    assert not health.down("other")
    health.failed("mail", AltRefused())
    assert not health.down("mail")
