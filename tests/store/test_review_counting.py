"""Defects that a review of counting found, and what it doubted."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import BucketSection, CountingSection, FillSection, FoldersSection
from tierproxy.config.values import Duration
from tierproxy.errors import DiskUnavailable
from tierproxy.mail.names import Naming
from tierproxy.model import Ack, FillPolicy
from tierproxy.purges import OPERATOR, RuleRecord
from tierproxy.s3api import visiting
from tierproxy.s3api.exchange import CONNECTION, Exchange
from tierproxy.store.pending import PendingRead
from tierproxy.store.scans import Scans
from tierproxy.testing.clock import EPOCH, VirtualClock
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.rig import Rig, name, rig
from tierproxy.traffic import DAY, Outcome, Reason, Visitor

from .test_counting import ANN, BOB, LARGE, TODAY, Told, as_reason, counts, part

SCAN = CountingSection(scan_objects=3)


async def record(r: Rig, by: str = OPERATOR) -> RuleRecord:
    await r.parts.tally.flush()
    (found,) = [one for one in await r.parts.catalogue.records(TODAY) if one.by == by]
    return found


def identities(r: Rig) -> None:
    c = r.parts.counters
    assert c.reads[Reason.PERSON] == c.person_hits + c.person_misses
    assert c.corrected == c.corrected_hits + c.corrected_misses
    assert 0 <= c.corrected_hits <= c.person_hits
    assert 0 <= c.corrected_misses <= c.person_misses
    assert c.corrected_regrets <= c.regrets


# ---------------------------------------------------------------- people's hits


async def test_peoples_hits_and_misses_are_counted_apart_from_machines(tmp_path: Path) -> None:
    async with rig(tmp_path, clock=VirtualClock(), counting=SCAN, fill=FillSection(policy=FillPolicy.NEVER)) as r:
        for key in ("u.1", "u.2", "u.3"):
            await r.put(key, b"a mail", ack=Ack.ALT)
        await r.put("near", b"a mail")
        await r.get("near", visitor=BOB)
        await r.get("u.1", visitor=BOB)
        await r.get("near", visitor=as_reason(Reason.BACKUP))
        for key in ("u.1", "u.2", "u.3"):
            await r.get(key, visitor=ANN)
        sample = r.parts.counters.sample()
        assert [sample[f"reads.{what}"] for what in ("person", "person.hits", "person.misses")] == [4, 1, 3]
        assert [sample[f"reads.{what}"] for what in ("corrected", "corrected.hits", "corrected.misses")] == [2, 0, 2]
        identities(r)


async def test_a_read_in_ranges_is_a_hit_if_its_first_get_was(tmp_path: Path) -> None:
    async with rig(tmp_path, clock=VirtualClock()) as r:
        await r.put("u.1", LARGE, ack=Ack.ALT)
        await r.get("u.1", part(0, 10), ANN)
        await r.idle()
        await r.get("u.1", part(10, 20), ANN)
        c = r.parts.counters
        assert (c.person_hits, c.person_misses, c.hits, c.misses) == (0, 1, 1, 1)


# ---------------------------------------------------------------- regrets


@pytest.mark.parametrize("policy", [FillPolicy.ALWAYS, FillPolicy.NEVER])
async def test_only_the_first_range_of_a_read_says_what_it_regrets(tmp_path: Path, policy: FillPolicy) -> None:
    told = Told()

    def telling(doors: Any) -> Any:
        doors.open_history = lambda alarms: told
        return doors

    async with rig(tmp_path, clock=VirtualClock(), wrap=telling, fill=FillSection(policy=policy)) as r:
        await r.put("u.1", LARGE)
        await r.purge("u.1")
        for begin in (0, 10, 20):
            await r.get("u.1", part(begin, begin + 10), ANN)
        reads = [(one.first, one.by) for one in told.events if one.kind == "read"]
        assert reads == [(True, OPERATOR), (False, ""), (False, "")]
        assert (await record(r)).regrets == 1


@pytest.mark.parametrize("flushed", [False, True], ids=["in one flush", "each in its own"])
async def test_a_regret_of_a_read_that_turns_out_a_scans_is_a_machines(tmp_path: Path, flushed: bool) -> None:
    clock = VirtualClock()
    async with rig(tmp_path, clock=clock, counting=SCAN) as r:
        for key in ("u.1", "u.2", "u.3"):
            await r.put(key, b"a mail")
        await r.purge()
        await clock.advance(100)
        await r.get("u.3", visitor=BOB)
        await r.idle()
        for key in ("u.1", "u.2", "u.3"):
            await r.get(key, visitor=ANN)
            if flushed:
                await r.parts.tally.flush()
        found = await record(r)
        assert (found.regrets, found.machine_regrets, found.soon) == (1, 2, (1, 0, 0, 0, 0))
        assert found.seconds == pytest.approx(100, abs=2)
        assert (r.parts.counters.regrets, r.parts.counters.corrected_regrets) == (3, 2)
        identities(r)


async def test_each_reader_of_one_flight_regrets_the_purge(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    async with rig(tmp_path, alt=alt, clock=VirtualClock()) as r:
        await r.put("u.1", b"a mail")
        await r.purge("u.1")
        gate = alt.gate("get")
        readers = [asyncio.create_task(r.get("u.1", visitor=visitor)) for visitor in (ANN, BOB)]
        await gate.reached()
        gate.open()
        await asyncio.gather(*readers)
        await r.idle()
        assert (await record(r)).regrets == 2


@pytest.mark.parametrize("revalidate", [0, 3600], ids=["learnt before the read", "learnt by it"])
async def test_a_content_that_changed_in_alt_meanwhile_is_no_regret(tmp_path: Path, revalidate: float) -> None:
    alt = MemoryAlt()
    shared = (BucketSection(name="mail", exclusive=False, revalidate=Duration(revalidate)),)
    async with rig(tmp_path, alt=alt, clock=VirtualClock(), bucket=shared) as r:
        for key, body in (("small", b"a mail"), ("large", LARGE)):
            await r.put(key, body)
        await r.purge()
        other = MemoryAlt()
        async with rig(tmp_path / "other", alt=other, clock=VirtualClock()) as elsewhere:
            await elsewhere.put("small", b"another", ack=Ack.ALT)
            await elsewhere.put("large", LARGE + b"!", ack=Ack.ALT)
        alt.__dict__.update(other.__dict__)
        assert await r.get("small", visitor=ANN) == b"another"
        assert await r.get("large", visitor=ANN) == LARGE + b"!"
        await r.get("large", part(0, 5), ANN)
        await r.idle()
        assert r.parts.counters.regrets == 0


# ---------------------------------------------------------------- last reads, visits


@pytest.mark.parametrize("scans", [1, 2])
async def test_a_correction_leaves_the_read_before_it_though_both_came_in_one_flush(tmp_path: Path, scans: int) -> None:
    """A person reads, a scan comes by in the same second, and is recognised in the next."""
    clock = VirtualClock()
    async with rig(tmp_path, clock=clock, counting=SCAN) as r:
        for key in ("u.1", "u.2", "u.3"):
            await r.put(key, b"a mail")
        await r.get("u.1", visitor=BOB)
        machines = [Visitor(f"scan{number}@x", "scan") for number in range(scans)]
        for machine in machines:
            await clock.advance(0.1)
            await r.get("u.1", visitor=machine)
        await r.parts.tally.flush()
        for machine in machines:
            for key in ("u.2", "u.3"):
                await r.get(key, visitor=machine)
            await r.parts.tally.flush()
        reads, machine_reads, last = await counts(r)
        assert (reads, machine_reads) == (1, scans)
        assert last is not None, "somebody read it"
        if scans == 1:
            assert last == 0.0


async def test_a_correction_of_what_was_deleted_since_leaves_what_came_after_it(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with rig(tmp_path, clock=clock, counting=SCAN) as r:
        for key in ("u.1", "u.2", "u.3"):
            await r.put(key, b"a mail")
        clock.jump_wall(DAY - EPOCH % DAY - 1)
        await r.get("u.1", visitor=ANN)
        await r.parts.tally.flush()
        await r.delete("u.1")
        await r.drained()
        assert r.row("u.1") is None
        await r.put("u.1", b"another")
        await clock.advance(2)
        await r.get("u.1", visitor=BOB)
        for key in ("u.2", "u.3"):
            await r.get(key, visitor=ANN)
        assert (await counts(r))[:2] == (1, 0)
        assert await r.parts.catalogue.check() == []


def test_a_pending_read_never_goes_back_to_one_that_was_turned() -> None:
    one = PendingRead()
    for at in (1.0, 2.0, 3.0):
        one.by_person(at, True)
    one.turn(2.0, True)
    one.turn(3.0, True)
    assert (one.people, one.machine, one.misses) == (1, 2, 0)
    assert one.last is None, "not 2.0; the catalogue leaves the last read as it is"


@pytest.mark.parametrize("body", [b"a mail", LARGE], ids=["small", "large"])
async def test_the_read_that_filled_the_blob_is_no_visit_however_slow_its_client(tmp_path: Path, body: bytes) -> None:
    clock = VirtualClock()
    async with rig(tmp_path, clock=clock) as r:
        await r.put("u.1", body, ack=Ack.ALT)
        reading = await r.parts.store.open(name("u.1"), visitor=ANN)
        assert reading.outcome is Outcome.FILL
        sent = len(reading.content or b"")
        if reading.content is None:
            sent = sum([len(chunk) async for chunk in reading.chunks()])
        await r.idle()
        await clock.advance(10)
        r.parts.store.delivered(reading, ANN, sent, 0.0)
        await reading.close()
        await r.parts.tally.flush()
        standing = r.parts.catalogue.standing(name("u.1"))
        assert standing is not None
        assert (standing.entry.reads, standing.visits) == (1, 0)
        await r.get("u.1", visitor=BOB)
        await r.parts.tally.flush()
        standing = r.parts.catalogue.standing(name("u.1"))
        assert standing is not None
        assert standing.visits == 1


# ---------------------------------------------------------------- rows that are on the way


async def test_the_first_read_of_what_only_alt_knew_is_counted_though_its_row_comes_later(tmp_path: Path) -> None:
    """The count is flushed while the fill, which makes the row, is not through with its fsyncs."""
    alt, clock = MemoryAlt(), VirtualClock()
    async with rig(tmp_path / "first", alt=alt, clock=clock) as r:
        await r.put("u.1", b"a mail", ack=Ack.ALT)
    async with rig(tmp_path / "second", alt=alt, clock=clock) as r:
        catalogue: Any = r.parts.catalogue
        fill, held = catalogue.fill, asyncio.Event()

        async def slow(*args: Any, **options: Any) -> Any:
            await held.wait()
            return await fill(*args, **options)

        catalogue.fill = slow
        await r.get("u.1", visitor=ANN)
        await r.parts.tally.flush()
        assert r.row("u.1") is None
        held.set()
        await r.idle()
        assert (await counts(r))[:2] == (1, 0)


async def test_a_count_waits_for_its_row_for_a_while_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tierproxy.store.tally.WAITS", 2)
    async with rig(tmp_path, clock=VirtualClock()) as r:
        await r.put("u.1", b"a mail", ack=Ack.ALT)
        reading = await r.parts.store.open(name("u.1"), visitor=ANN)
        gone: Any = reading
        gone.entry = replace(reading.entry, name=name("never"), owner=None)
        r.parts.store.delivered(gone, ANN, 6, 0.0)
        await reading.close()
        for pending in (1, 1, 0):
            await r.parts.tally.flush()
            assert repr(r.parts.tally).startswith(f"<Tally, {pending} objects pending")


# ---------------------------------------------------------------- scans


async def test_a_persons_read_in_the_middle_of_a_resync_makes_its_copy(tmp_path: Path) -> None:
    async with rig(tmp_path, clock=VirtualClock(), counting=SCAN) as r:
        for key in ("a", "u.1", "u.2", "u.3", "u.4"):
            await r.put(key, b"a mail", ack=Ack.ALT)
        for key in ("u.1", "u.2", "u.3", "u.4", "a"):
            await r.get(key, visitor=ANN)
            await r.idle()
        on_disk = {key for key in ("u.3", "u.4", "a") if (row := r.row(key)) and row.blob}
        assert on_disk == {"u.3", "a"}, "u.3 made the scan one; u.4 was the scan's; a is out of order"
        assert (await counts(r, "a"))[:2] == (1, 0)


def test_what_would_go_on_is_said_without_going_on() -> None:
    scans = Scans[int](SCAN)
    for number in (1, 2, 3):
        scans.follow("c", "o", name(f"u.{number}"), 0.0, number)
    for _ in range(2):
        assert scans.scanning("c", "o", name("u.3"), 1.0)
        assert scans.scanning("c", "o", name("u.10"), 1.0)
        assert not scans.scanning("c", "o", name("u.1"), 1.0)
        assert not scans.scanning("c", "o", name("u.4"), 1000.0)


# ---------------------------------------------------------------- folder classes


def test_a_folder_that_a_request_names_is_its_class() -> None:
    naming = Naming((), FoldersSection())
    for sent, found in (
        (b"Sent", "sent"),
        (b"Entw&APw-rfe", "drafts"),
        ("Entwürfe".encode(), "drafts"),
        (b"x", "other"),
    ):
        visitor = visiting._visitor("ann", "::1", b"", None, None, sent, naming.folder_class)
        assert visitor.folder == found
    assert visiting._visitor("ann", "::1", b"", None, None, b"", naming.folder_class).folder is None


# ---------------------------------------------------------------- trouble


async def test_a_catalogue_that_cannot_even_be_read_costs_no_counts(tmp_path: Path) -> None:
    alt, clock = MemoryAlt(), VirtualClock()
    async with rig(tmp_path / "first", alt=alt, clock=clock) as r:
        await r.put("u.1", b"a mail", ack=Ack.ALT)
    async with rig(tmp_path / "second", alt=alt, clock=clock) as r:
        await r.get("u.1", visitor=ANN)
        await r.idle()
        catalogue: Any = r.parts.catalogue
        find, count = catalogue.find, catalogue.count

        async def failing(*_args: object) -> None:
            raise DiskUnavailable("EIO")

        def unreadable(*_args: object) -> None:
            raise DiskUnavailable("EIO")

        catalogue.find, catalogue.count = unreadable, failing
        for _ in range(3):
            await r.parts.tally.flush()
        catalogue.find, catalogue.count = find, count
        assert (await counts(r))[:2] == (1, 0)


class Closing:
    """A connection whose client has left."""

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return True


@pytest.mark.parametrize("left", [True, False])
async def test_a_client_that_left_before_its_answer_was_sent_nothing(left: bool) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError

    scope: dict[str, Any] = {"extensions": {CONNECTION: Closing()} if left else {}}
    exchange = Exchange(scope, receive, send, 1.0)
    await exchange.answer(200, [], b"a mail")
    assert exchange.sent == (0 if left else 6)
    assert len(sent) == 2


def test_a_client_without_an_address_is_one_all_the_same() -> None:
    exchange = Exchange({"client": None}, None, None, 1.0)  # type: ignore[arg-type]
    assert exchange.peer == "unix"
