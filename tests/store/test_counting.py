"""What is counted: reads and machine reads, scans, regrets, the identities of the counters, what survives what."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tierproxy.alt.memory import MemoryAlt
from tierproxy.config.sections import CountingSection, DiskSection, FillSection, MemorySection
from tierproxy.config.values import Share, Size
from tierproxy.errors import DiskUnavailable
from tierproxy.model import Ack, ByteRange, FillPolicy, Tier
from tierproxy.purges import OPERATOR
from tierproxy.store import pending
from tierproxy.store.calls import Select
from tierproxy.testing.clock import EPOCH, VirtualClock
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.faulty_catalogue import FaultyCatalogue
from tierproxy.testing.gate import Gate
from tierproxy.testing.rig import Rig, name, rig
from tierproxy.traffic import DAY, Event, EventKind, Outcome, Reason, Visitor
from tierproxy.wiring import Doors

ANN = Visitor("ann@10.0.0.1", "ann", "mutt")
BOB = Visitor("bob@10.0.0.2", "bob", "mutt")
LARGE = bytes(range(251)) * 12_000
TODAY = int(EPOCH // DAY)


def part(start: int, stop: int) -> Select:
    return lambda _entry: ByteRange(start, stop)


def as_reason(reason: Reason) -> Visitor:
    return Visitor("robot@10.0.0.9", "robot", "", reason)


async def counts(r: Rig, key: str = "u.1") -> tuple[int, int, float | None]:
    """People's and machines' reads, and the last of a person after the start of the clock."""
    await r.parts.tally.flush()
    standing = r.parts.catalogue.standing(name(key))
    assert standing is not None
    row = standing.entry
    assert sum(day[1] for day in standing.days) == row.reads
    assert sum(day[2] for day in standing.days) == standing.machine_reads
    return row.reads, standing.machine_reads, None if row.last_read_at is None else row.last_read_at - EPOCH


# ---------------------------------------------------------------- what a read is


async def test_whole_gets_count_each_and_the_ranges_after_one_are_the_same_read(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with rig(tmp_path, clock=clock) as r:
        await r.put("u.1", b"a mail")
        await r.get("u.1", visitor=ANN)
        await r.get("u.1", visitor=ANN)
        for second in (1, 30, 59):
            await clock.advance(second)
            await r.get("u.1", part(0, 3), ANN)
        assert await counts(r) == (2, 0, 0.0)
        await clock.advance(60)
        await r.get("u.1", part(0, 3), ANN)
        assert await counts(r) == (3, 0, 150.0)


async def test_ranges_of_another_client_are_another_read(tmp_path: Path) -> None:
    async with rig(tmp_path, clock=VirtualClock()) as r:
        await r.put("u.1", b"a mail")
        for visitor in (ANN, BOB, ANN, BOB):
            await r.get("u.1", part(1, 2), visitor)
        assert (await counts(r))[:2] == (2, 0)


async def test_nothing_delivered_is_no_read_and_an_empty_object_is_one(tmp_path: Path) -> None:
    async with rig(tmp_path, clock=VirtualClock()) as r:
        await r.put("u.1", b"a mail")
        await r.put("empty", b"")
        reading = await r.parts.store.open(name("u.1"))
        r.parts.store.delivered(reading, ANN, 0, 0.0)
        await reading.close()
        await r.parts.store.head(name("u.1"))
        await r.get("empty", visitor=ANN)
        await r.parts.store.copy(name("u.1"), name("u.2"))
        assert (await counts(r))[:2] == (0, 0)
        assert (await counts(r, "empty"))[:2] == (1, 0)
        assert r.parts.counters.gets == 2, "a copy is no get"


@pytest.mark.parametrize(
    ("key", "visitor", "reason"),
    [
        ("u.1", as_reason(Reason.BACKUP), Reason.BACKUP),
        ("u.1", Visitor("x", "backup-1", "mutt"), Reason.SCAN),
        ("u.1", Visitor("x", "ann", "rclone/1.6"), Reason.SCAN),
        ("u.1", Visitor("x", "backup-1", "mutt", Reason.PERSON), Reason.PERSON),
        ("a/dovecot.index.cache", ANN, Reason.INDEX),
        ("u.1", ANN, Reason.PERSON),
    ],
)
async def test_machines_are_told_by_the_request_then_by_the_configuration(
    tmp_path: Path, key: str, visitor: Visitor, reason: Reason
) -> None:
    settings = CountingSection(machine_access_keys=("backup-*",), machine_user_agents=("rclone/*",))
    async with rig(tmp_path, clock=VirtualClock(), counting=settings) as r:
        await r.put(key, b"a mail")
        await r.get(key, visitor=visitor)
        person = int(reason is Reason.PERSON)
        assert (await counts(r, key))[:2] == (person, 1 - person)
        assert r.parts.counters.reads[reason] == 1


async def test_owner_and_folder_of_requests_are_kept_where_the_key_says_nothing(tmp_path: Path) -> None:
    async with rig(tmp_path, clock=VirtualClock()) as r:
        await r.put("u.1", b"a mail")
        await r.put("bob/mailboxes/Sent/dbox-Mails/u.1", b"a mail")
        await r.get("u.1", visitor=Visitor("c", owner="ann", folder="inbox"))
        await r.parts.tally.flush()
        row, other = r.row("u.1"), r.row("bob/mailboxes/Sent/dbox-Mails/u.1")
        assert row is not None
        assert (row.owner, row.folder) == ("ann", "inbox")
        assert other is not None
        assert (other.owner, other.folder) == ("bob", "sent")


# ---------------------------------------------------------------- scans


@pytest.mark.parametrize("flushed", [False, True], ids=["in one flush", "each in its own"])
async def test_a_scan_takes_back_the_reads_that_were_counted_as_a_persons(tmp_path: Path, flushed: bool) -> None:
    clock = VirtualClock()
    async with rig(tmp_path, clock=clock, counting=CountingSection(scan_objects=5)) as r:
        keys = [f"u.{number}" for number in range(6, 14)]
        for key in keys:
            await r.put(key, b"a mail")
        await r.get("u.7", visitor=BOB)
        await clock.advance(0.5)
        for key in keys:
            await r.get(key, visitor=ANN)
            if flushed:
                await r.parts.tally.flush()
        found = [(await counts(r, key)) for key in keys]
        assert found == [(0, 1, None), (1, 1, 0.0), *[(0, 1, None)] * 6]
        counters = r.parts.counters
        assert (counters.reads[Reason.PERSON], counters.reads[Reason.SCAN], counters.corrected) == (5, 4, 4)


# ---------------------------------------------------------------- regrets


@pytest.mark.parametrize("body", [b"a mail", LARGE], ids=["small", "large"])
@pytest.mark.parametrize("policy", [FillPolicy.ALWAYS, FillPolicy.NEVER])
async def test_a_read_that_missed_because_of_a_purge_is_a_regret_once(
    tmp_path: Path, policy: FillPolicy, body: bytes
) -> None:
    clock = VirtualClock()
    async with rig(tmp_path, clock=clock, fill=FillSection(policy=policy)) as r:
        await r.put("u.1", body)
        await r.get("u.1", part(0, 3), ANN)
        await r.purge("u.1")
        await clock.advance(100)
        await r.get("u.1", part(0, 3), ANN)
        await r.get("u.1", part(3, 5), ANN)
        await r.idle()
        await r.parts.tally.flush()
        (record,) = [one for one in await r.parts.catalogue.records(TODAY) if one.by == OPERATOR]
        assert (record.objects, record.regrets, record.machine_regrets, record.seconds) == (1, 1, 0, 100.0)
        assert record.soon == (1, 0, 0, 0, 0)
        await r.get("u.1", visitor=as_reason(Reason.INDEX))
        await r.parts.tally.flush()
        (record,) = [one for one in await r.parts.catalogue.records(TODAY) if one.by == OPERATOR]
        missed_again = int(policy is FillPolicy.NEVER)
        assert (record.regrets, record.machine_regrets) == (1, missed_again)
        assert r.parts.counters.machine_regrets == missed_again


async def test_a_repaired_blob_is_no_regret(tmp_path: Path) -> None:
    async with rig(tmp_path, clock=VirtualClock(), memory=MemorySection(max_bytes=Size(0))) as r:
        await r.put("u.1", b"a mail")
        row = r.row("u.1")
        assert row is not None
        assert row.blob is not None
        (blob,) = (path for path in (tmp_path / "blobs").glob("*/*/*") if path.is_file())
        blob.unlink()
        assert await r.read("u.1", visitor=ANN) == (Tier.ALT, b"a mail")
        assert r.parts.counters.regrets == 0
        await r.idle()


# ---------------------------------------------------------------- what machines leave behind


@pytest.mark.parametrize("body", [b"a mail", LARGE], ids=["small", "large"])
@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.PERSON])
async def test_of_machines_only_a_prefetch_leaves_a_copy_and_it_does_always(
    tmp_path: Path, reason: Reason, body: bytes
) -> None:
    policy = FillPolicy.NEVER if reason is Reason.PREFETCH else FillPolicy.ALWAYS
    async with rig(tmp_path, clock=VirtualClock(), fill=FillSection(policy=policy)) as r:
        await r.put("u.1", body, ack=Ack.ALT)
        reading = await r.parts.store.open(name("u.1"), visitor=as_reason(reason))
        got = reading.content or b"".join([piece async for piece in reading.chunks()])
        await reading.close()
        await r.idle()
        row = r.row("u.1")
        assert got == body
        filled = reason is Reason.PREFETCH
        assert reading.fill == ("fill" if filled else "pass")
        assert row is not None
        assert (row.blob is not None) is filled


async def test_a_prefetch_takes_nobodys_place_on_disk(tmp_path: Path) -> None:
    disk = DiskSection(max_bytes=Size(2**20), high_water=0.5, low_water=0.4, min_free=Share(bytes=0))
    async with rig(tmp_path, clock=VirtualClock(), disk=disk) as r:
        await r.put("there", bytes(450_000))
        await r.put("cold", bytes(200_000), ack=Ack.ALT)
        await r.get("cold", visitor=as_reason(Reason.PREFETCH))
        await r.idle()
        there, cold = r.row("there"), r.row("cold")
        assert there is not None
        assert cold is not None
        assert (there.blob is not None, cold.blob) == (True, None)
        assert r.parts.counters.fills == 0
        await r.get("cold", visitor=ANN)
        await r.idle()
        assert r.parts.counters.fills == 1, "a person's read may take a place: then something has to go"


async def test_the_memory_of_second_reads_ignores_machines(tmp_path: Path) -> None:
    async with rig(tmp_path, clock=VirtualClock(), fill=FillSection(policy=FillPolicy.SECOND_READ)) as r:
        await r.put("u.1", b"a mail", ack=Ack.ALT)
        for visitor, copied in ((as_reason(Reason.SCAN), False), (ANN, False), (ANN, True)):
            await r.get("u.1", visitor=visitor)
            await r.parts.tally.flush()
            await r.idle()
            row = r.row("u.1")
            assert row is not None
            assert (row.blob is not None) is copied


async def test_a_person_who_joins_a_machines_flight_before_alt_answers_makes_it_leave_a_copy(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    async with rig(tmp_path, alt=alt, clock=VirtualClock()) as r:
        await r.put("u.1", b"a mail", ack=Ack.ALT)
        gate = alt.gate("get")
        machine = asyncio.create_task(r.get("u.1", visitor=as_reason(Reason.BACKUP)))
        await gate.reached()
        person = asyncio.create_task(r.get("u.1", visitor=ANN))
        await asyncio.sleep(0)
        gate.open()
        assert await machine == await person == b"a mail"
        await r.idle()
        row = r.row("u.1")
        assert row is not None
        assert row.blob is not None
        assert (r.parts.counters.fills, r.parts.counters.joins) == (1, 1)


# ---------------------------------------------------------------- leases


async def test_a_name_is_held_while_its_blob_is_open_or_its_flight_in_the_air(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    async with rig(tmp_path, alt=alt, clock=VirtualClock()) as r:
        held = r.parts.leases.held
        await r.put("u.1", LARGE)
        reading = await r.parts.store.open(name("u.1"))
        assert held(name("u.1"))
        assert await r.purge("u.1") == 0
        await reading.close()
        assert not held(name("u.1"))
        assert await r.purge("u.1") > 0
        gate = alt.gate("get")
        reader = asyncio.create_task(r.get("u.1"))
        await gate.reached()
        assert held(name("u.1"))
        gate.open()
        assert await reader == LARGE
        await r.idle()
        assert repr(r.parts.leases) == "<Leases 0 held>"


# ---------------------------------------------------------------- history


class Told:
    """A history that keeps its events in memory."""

    dropped = 0

    def __init__(self) -> None:
        self.events: list[Event] = []

    def note(self, event: Event, times: int = 1) -> None:
        self.events += [event] * times

    async def run(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Nothing to do."""

    def reload(self, settings: object) -> None:
        """Nothing to do."""


async def test_reads_writes_and_deletes_are_events_of_history(tmp_path: Path) -> None:
    told = Told()

    def telling(doors: Doors) -> Doors:
        doors.open_history = lambda alarms: told  # type: ignore[assignment,return-value]
        return doors

    key = "ann/mailboxes/INBOX/dbox-Mails/u.1"
    async with rig(tmp_path, clock=VirtualClock(), wrap=telling) as r:
        await r.put(key, b"a mail")
        await r.parts.store.copy(name(key), name("u.2"))
        await r.get(key, visitor=ANN)
        await r.get(key, part(0, 2), ANN)
        await r.purge(key)
        await r.get(key, visitor=BOB)
        await r.idle()
        await r.delete(key)
    lines = [(one.kind, one.name.key, one.outcome, one.sent, one.by, one.first) for one in told.events]
    assert lines == [
        (EventKind.WRITE, key, "both", 0, "", True),
        (EventKind.WRITE, "u.2", "both", 0, "", True),
        (EventKind.READ, key, Outcome.DISK, 6, "", True),
        (EventKind.READ, key, Outcome.MEMORY, 2, "", False),
        (EventKind.PURGE, key, "", 0, OPERATOR, True),
        (EventKind.READ, key, Outcome.FILL, 6, OPERATOR, True),
        (EventKind.DELETE, key, "", 0, "", True),
    ]
    assert {(one.owner, one.folder, one.size) for one in told.events if one.name.key == key} == {("ann", "inbox", 6)}


# ---------------------------------------------------------------- a failing catalogue


def faulty(doors: Doors) -> Doors:
    doors.catalogue = FaultyCatalogue(doors.catalogue).port
    return doors


async def test_a_failing_catalogue_costs_no_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with rig(tmp_path, clock=VirtualClock(), wrap=faulty, counting=CountingSection(scan_objects=3)) as r:
        for key in "abc":
            await r.put(key, b"a mail")
        catalogue: Any = r.parts.catalogue
        await r.get("a", visitor=ANN)
        catalogue.fail(catalogue.changes + 1, DiskUnavailable("full"))
        await r.parts.tally.flush()
        assert "counts kept for the next flush" in caplog.text
        await r.get("b", visitor=ANN)
        await r.get("c", visitor=ANN)  # a scan: the read of "a" is still pending, from the flush that failed
        assert [(await counts(r, key)) for key in "abc"] == [(0, 1, None)] * 3


async def test_a_catalogue_that_fails_in_the_middle_of_a_flush_counts_every_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "PIECE", 1)
    async with rig(tmp_path, clock=VirtualClock(), wrap=faulty, counting=CountingSection(scan_objects=4)) as r:
        for key in "abcd":
            await r.put(key, b"a mail")
        catalogue: Any = r.parts.catalogue
        for key in "abc":
            await r.get(key, visitor=ANN)
        catalogue.fail(catalogue.changes + 2, DiskUnavailable("full"))
        await r.parts.tally.flush()
        assert [entry.reads if (entry := catalogue.find(name(key))) else None for key in "abc"] == [1, 0, 0]
        await r.get("d", visitor=ANN)  # a scan: "a" is written down, "b" and "c" are still pending
        assert [(await counts(r, key)) for key in "abcd"] == [(0, 1, None)] * 4


async def test_what_finds_no_room_while_the_catalogue_fails_is_said_to_be_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pending, "NAMES", 1)
    async with rig(tmp_path, clock=VirtualClock(), wrap=faulty) as r:
        for key in "ab":
            await r.put(key, b"a mail")
        catalogue: Any = r.parts.catalogue
        gate = Gate()
        count = catalogue.count

        async def failing(*args: object) -> None:
            await gate.passage()
            raise DiskUnavailable("full")

        catalogue.count = failing
        await r.get("a", visitor=ANN)
        flush = asyncio.create_task(r.parts.tally.flush())
        await gate.reached()
        await r.get("b", visitor=ANN)
        gate.open()
        await flush
        catalogue.count = count
        assert "counts lost" in caplog.text
        assert r.parts.counters.lost_counts == 1
        assert (await counts(r, "a"))[:2] == (1, 0)
        assert (await counts(r, "b"))[:2] == (0, 0)
