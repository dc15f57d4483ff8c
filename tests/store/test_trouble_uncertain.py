"""Changes whose outcome is not known: a HEAD decides, and the client is told the truth."""

from __future__ import annotations

from pathlib import Path

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import AltSection, WriteSection
from tierproxy.disk.layout import DataDirectory
from tierproxy.errors import AltUnavailable, AltUncertain
from tierproxy.model import Ack, JobKind, OnAltDown, State
from tierproxy.store.recover import RETRY
from tierproxy.testing.clock import VirtualClock
from tierproxy.testing.faults import Effect, FaultyAlt
from tierproxy.testing.rig import rig

from .test_trouble_alt import LARGE, REFUSE, faulty, in_alt

# ---------------------------------------------------------------- uncertain outcomes


@pytest.mark.parametrize("mode", list(OnAltDown))
async def test_an_uncertain_write_that_happened_is_acknowledged(tmp_path: Path, mode: OnAltDown) -> None:
    async with faulty(tmp_path, write=WriteSection(on_alt_down=mode)) as (r, alt):
        await r.put("u.1", b"old")
        alt.fail("put", effect=Effect.DONE)
        written = await r.put("u.1", b"new")
        assert written.entry.state is State.CLEAN
        assert written.entry.tiers == ("disk", "alt")
        assert not r.journal()


async def test_an_uncertain_write_that_did_not_happen_is_queued(tmp_path: Path) -> None:
    async with faulty(tmp_path) as (r, alt):
        await r.put("u.1", b"old")
        alt.fail("put", AltUncertain("?"))
        assert (await r.put("u.1", b"new")).entry.state is State.DIRTY
        assert await r.get("u.1") == b"new"


async def test_an_uncertain_write_that_lands_after_it_was_queued_does_no_harm(tmp_path: Path) -> None:
    async with faulty(tmp_path) as (r, alt):
        await r.put("u.1", b"old")
        landing = alt.late("put")
        await r.put("u.1", b"new")
        await landing.land()
        await r.drained_now()
        assert in_alt(alt, "u.1") == b"new"
        await r.purge()
        assert await r.get("u.1") == b"new"


LATE = AltSection().request_timeout


@pytest.mark.parametrize("happens", [True, False])
async def test_an_uncertain_write_that_is_refused_is_decided_by_what_alt_holds(tmp_path: Path, happens: bool) -> None:
    clock = VirtualClock()
    async with faulty(tmp_path, write=REFUSE, clock=clock) as (r, alt):
        await r.put("u.1", b"old")
        await r.get("u.1")  # in memory too
        await r.get("u.1")
        landing = alt.late("put")
        with pytest.raises(AltUncertain):
            await r.put("u.1", b"new")
        row = r.row("u.1")
        assert row is not None
        assert row.state is State.SUSPECT
        if happens:
            await landing.land()
        assert await r.get("u.1") == (b"new" if happens else b"old")
        await clock.advance(LATE)
        assert await r.get("u.1") == (b"new" if happens else b"old")
        row = r.row("u.1")
        assert row is not None
        assert row.state is State.CLEAN


async def test_an_uncertain_write_that_lands_after_it_was_looked_for_is_what_there_is(tmp_path: Path) -> None:
    """The old content was believed for good, and once the disk had purged it nothing could be read."""
    clock = VirtualClock()
    async with faulty(tmp_path, write=REFUSE, clock=clock) as (r, alt):
        await r.put("u.1", b"old")
        landing = alt.late("put")
        with pytest.raises(AltUncertain):
            await r.put("u.1", b"new")
        await clock.advance(LATE - 1)
        assert await r.get("u.1") == b"old"
        await landing.land()
        await r.purge()
        assert await r.get("u.1") == b"new"


async def test_what_may_still_be_overwritten_and_is_damaged_on_disk_comes_from_alt(tmp_path: Path) -> None:
    async with faulty(tmp_path, write=REFUSE) as (r, alt):
        await r.put("u.1", b"old")
        landing = alt.late("put")
        with pytest.raises(AltUncertain):
            await r.put("u.1", b"new")
        row = r.row("u.1")
        assert row is not None
        assert row.blob is not None
        DataDirectory(r.root).blob(row.blob).write_bytes(b"no blob")
        assert await r.get("u.1") == b"old"
        assert not r.parts.alarms.active()
        await landing.land()
        assert await r.get("u.1") == b"new"


async def test_a_write_of_a_killed_node_that_lands_after_the_start_is_what_there_is(tmp_path: Path) -> None:
    """As above, and there nobody remembers what alt was asked."""
    clock, alt = VirtualClock(), FaultyAlt(MemoryAlt())
    async with rig(tmp_path, alt=alt, clock=clock, write=REFUSE) as r:
        await r.put("u.1", b"old")
        landing = alt.late("put")
        with pytest.raises(AltUncertain):
            await r.put("u.1", b"new")
    await clock.advance(LATE)
    async with rig(tmp_path, alt=alt, clock=clock) as r:
        await clock.advance(LATE - 1)
        assert await r.get("u.1") == b"old"
        await landing.land()
        await clock.advance(2 * RETRY)  # nobody reads it: the recovery asks
        await r.idle()
        row = r.row("u.1")
        assert row is not None
        assert (row.state, row.size) == (State.CLEAN, len(b"new"))
        await r.purge()
        assert await r.get("u.1") == b"new"


async def test_nobody_can_say_what_an_uncertain_overwrite_left_while_alt_is_down(tmp_path: Path) -> None:
    async with faulty(tmp_path, write=REFUSE) as (r, alt):
        await r.put("u.1", b"old")
        await r.get("u.1")
        alt.late("put")
        with pytest.raises(AltUncertain):
            await r.put("u.1", b"new")
        alt.down()
        with pytest.raises(AltUnavailable):
            await r.get("u.1")


async def test_an_uncertain_stream_is_decided_by_what_alt_holds(tmp_path: Path) -> None:
    huge = LARGE * 5
    async with faulty(tmp_path) as (r, alt):
        await r.put("u.1", b"old")
        alt.fail("put_stream", effect=Effect.DONE)
        with pytest.raises(AltUncertain):
            await r.put("u.1", huge, ack=Ack.ALT)
        assert await r.get("u.1") == huge


async def test_an_uncertain_delete_is_tried_again(tmp_path: Path) -> None:
    for effect in (Effect.DONE, Effect.LATE):
        async with faulty(tmp_path / effect) as (r, alt):
            await r.put("u.1", b"a mail")
            landing = alt.late("delete") if effect is Effect.LATE else None
            if landing is None:
                alt.fail("delete", effect=effect)
            await r.delete("u.1")
            assert r.journal() == [("u.1", JobKind.DELETE)]
            if landing is not None:
                await landing.land()
            await r.drained_now()
            assert in_alt(alt, "u.1") is None
            assert r.row("u.1") is None


async def test_the_delete_of_an_unknown_object_reaches_alt_where_an_unacknowledged_write_may_have_landed(
    tmp_path: Path,
) -> None:
    clock = VirtualClock()
    async with faulty(tmp_path, write=REFUSE, clock=clock) as (r, alt):
        landing = alt.late("put")
        with pytest.raises(AltUncertain):
            await r.put("u.1", b"a mail")
        await landing.land()
        assert in_alt(alt, "u.1") == b"a mail"
        await r.delete("u.1")
        await clock.advance(LATE)
        await r.drained_now()
        assert in_alt(alt, "u.1") is None
