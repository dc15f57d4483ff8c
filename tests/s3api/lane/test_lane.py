"""The hit lane: what it answers, when it declines, what it forgets and what it counts."""

from __future__ import annotations

import gc
import logging
import tracemalloc

import pytest

from tests.s3api.lane.ground import NOW, Ground
from tierproxy.hot.memory import NoMemory
from tierproxy.model import Headers, ObjectName
from tierproxy.s3api.lane import lane as module
from tierproxy.testing.clock import VirtualClock
from tierproxy.traffic import Outcome, Reason, Visitor


def test_the_first_get_is_from_disk_and_the_next_from_memory() -> None:
    ground = Ground()
    ground.near.put("a", b"mail")
    first, second = ground.get("/mail/a"), ground.get("/mail/a")
    assert first is not None
    assert second is not None
    assert (first.status, first.body, first.headers["x-tierproxy-tier"]) == (200, b"mail", "disk")
    assert first.headers["server-timing"].startswith("disk;dur=")
    assert (second.status, second.body, second.headers["x-tierproxy-tier"]) == (200, b"mail", "memory")
    assert "server-timing" not in second.headers
    assert first.headers["x-amz-request-id"] != second.headers["x-amz-request-id"]
    assert (ground.near.finds, ground.near.reads) == (1, 1)


def test_without_memory_every_get_is_from_disk() -> None:
    ground = Ground(memory=NoMemory())
    ground.near.put("a", b"mail")
    tiers = [answer.headers["x-tierproxy-tier"] for _ in range(3) if (answer := ground.get("/mail/a"))]
    assert (tiers, ground.near.reads, ground.near.finds) == (["disk"] * 3, 3, 1)


def test_what_has_changed_is_not_answered_from_what_was_known() -> None:
    ground = Ground()
    ground.near.put("a", b"old")
    ground.get("/mail/a")
    ground.near.put("a", b"new")
    for _ in range(2):
        answer = ground.get("/mail/a")
        assert answer is not None
        assert (answer.body, answer.headers["etag"]) == (b"new", '"etag2"')
    ground.near.delete("a")
    assert ground.get("/mail/a") is None


def test_what_memory_has_of_an_older_generation_is_not_used() -> None:
    ground = Ground()
    entry = ground.near.put("a", b"old")
    ground.near.put("a", b"new")
    ground.memory.put(entry, b"old")
    answer = ground.get("/mail/a")
    assert answer is not None
    assert (answer.body, answer.headers["x-tierproxy-tier"]) == (b"new", "disk")


def test_a_change_while_the_body_was_read_makes_it_void() -> None:
    ground = Ground()
    ground.near.put("a", b"old")
    read = ground.near.read

    def meanwhile(standing: object) -> bytes | None:
        content = read(standing)  # type: ignore[arg-type]
        ground.near.put("a", b"new")
        return content

    ground.near.read = meanwhile  # type: ignore[method-assign]
    assert ground.get("/mail/a") is None
    assert ground.memory.get(ObjectName("mail", "a")) is None
    assert not ground.lane.take()


def test_what_memory_drops_is_gone_at_once_and_not_kept_alive() -> None:
    ground = Ground()
    ground.near.put("a", b"mail")
    ground.get("/mail/a")
    ground.get("/mail/a")
    ground.memory.drop(ObjectName("mail", "a"))
    answer = ground.get("/mail/a")
    assert answer is not None
    assert answer.headers["x-tierproxy-tier"] == "disk"
    assert ground.near.reads == 2


def test_a_body_that_cannot_be_read_at_once_is_left_to_the_ordinary_way() -> None:
    ground = Ground()
    ground.near.put("a", b"mail")
    ground.near.readable = False
    assert ground.get("/mail/a") is None
    assert ground.get("/mail/a", range="bytes=0-1") is None
    assert ground.get("/mail/a", method="HEAD") is not None  # needs no body
    assert ground.lane.take().answers == {200: 1}


@pytest.mark.parametrize("value", ["a\nb", "a\0b", "a\x7fb"])
def test_what_would_break_a_header_is_left_to_the_ordinary_way(value: str) -> None:
    ground = Ground()
    ground.near.put("a", b"mail", Headers(content_type=value))
    ground.near.put("b", b"mail", Headers(metadata={"x": value}))
    ground.near.put("c", b"mail", Headers(metadata={f"x{value}": "y"}))
    assert [ground.get(f"/mail/{key}") for key in "abc"] == [None, None, None]


def test_an_object_that_is_too_large_is_left_to_the_ordinary_way() -> None:
    ground = Ground()
    ground.near.put("a", b"x" * module.LARGEST)
    ground.near.put("b", b"x" * (module.LARGEST + 1))
    assert ground.get("/mail/a") is not None
    assert ground.get("/mail/b") is None


def test_a_defect_is_told_once_and_costs_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    ground = Ground()
    ground.near.put("a", b"mail")
    ground.near.fails = ZeroDivisionError("oh")
    with caplog.at_level(logging.ERROR):
        assert [ground.get("/mail/a") for _ in range(3)] == [None] * 3
    assert [record.message for record in caplog.records] == ["hit lane failed"]


# ---------------------------------------------------------------- what is kept


def test_what_is_prepared_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KNOWN", 10)
    ground = Ground()
    for number in range(50):
        ground.near.put(f"{number}", b"mail")
        assert ground.get(f"/mail/{number}") is not None
    assert repr(ground.lane) == "<HitLane, 10 prepared>"
    before = ground.near.finds
    assert ground.get("/mail/49") is not None
    assert ground.near.finds == before
    assert ground.get("/mail/0") is not None
    assert ground.near.finds == before + 1


def test_names_that_are_not_there_leave_nothing_behind() -> None:
    ground = Ground()
    for number in range(50):
        assert ground.get(f"/mail/{number}") is None
    assert repr(ground.lane) == "<HitLane, 0 prepared>"


def test_a_prepared_answer_costs_what_is_written_about_it() -> None:
    ground, count = Ground(memory=NoMemory()), 1000
    for number in range(count):
        key = f"user{number}@example.org/storage/{number:040x}"
        ground.near.put(key, b"mail", Headers(content_type="message/rfc822", metadata={"subject": "x" * 40}))
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for name in ground.near.objects:
        ground.get(f"/mail/{name.key}")
    ground.lane.take()
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert taken / count < 3000


# ---------------------------------------------------------------- what is counted


def test_gets_are_counted_by_object_visitor_and_outcome() -> None:
    clock = VirtualClock(NOW)
    ground = Ground(clock=clock)
    ground.near.put("a", b"mail")
    ground.near.put("b", b"")
    for _ in range(3):
        ground.get("/mail/a", user_agent="x")
    ground.get("/mail/a", range="bytes=1-2", user_agent="x")
    ground.get("/mail/a", user_agent="x", peer="::2")
    ground.get("/mail/b", user_agent="x", x_tierproxy_reason="scan", x_tierproxy_folder="INBOX")
    ground.get("/mail/a", method="HEAD")
    ground.get("/mail/a", if_none_match="etag1")
    served = ground.lane.take()
    assert served.answers == {200: 6, 206: 1, 304: 1}
    ann, bob = Visitor("@::1", "", "x"), Visitor("@::2", "", "x")
    scan = Visitor("@::1", "", "x", Reason.SCAN, None, "inbox")
    a, b = ObjectName("mail", "a"), ObjectName("mail", "b")
    assert served.deliveries == [
        (a, ann, Outcome.DISK, 4, "ann", "inbox", False, 1, 4, NOW),
        (a, ann, Outcome.MEMORY, 4, "ann", "inbox", False, 2, 8, NOW),
        (a, ann, Outcome.MEMORY, 4, "ann", "inbox", True, 1, 2, NOW),
        (a, bob, Outcome.MEMORY, 4, "ann", "inbox", False, 1, 4, NOW),
        (b, scan, Outcome.DISK, 0, "ann", "inbox", False, 1, 0, NOW),
    ]
    assert not ground.lane.take()


def test_nothing_is_lost_between_two_batches() -> None:
    ground = Ground()
    ground.near.put("a", b"mail")
    times = 0
    for _ in range(5):
        for _ in range(7):
            ground.get("/mail/a")
        times += sum(one.times for one in ground.lane.take().deliveries)
    assert times == 35


def test_declined_requests_are_not_counted() -> None:
    ground = Ground()
    ground.near.put("a", b"mail")
    assert ground.get("/mail/a", method="PUT") is None
    assert ground.get("/mail/a", range="bytes=9-") is None
    assert ground.get("/mail/a", if_match="other") is None
    assert ground.get("/mail/a", x_tierproxy_reason="nonsense") is None
    assert ground.get("/mail/none") is None
    assert not ground.lane.take()


def test_what_was_hit_is_last_to_leave_memory() -> None:
    ground = Ground()
    for key in "abc":
        ground.near.put(key, b"x" * 250_000)
    for key in "aab":
        ground.get(f"/mail/{key}")
    ground.get("/mail/a")
    ground.lane.take()
    for key in "cde":
        ground.near.put(key, b"x" * 250_000)
        ground.get(f"/mail/{key}")
    kept = [key for key in "abcde" if ground.memory.get(ObjectName("mail", key))]
    assert kept == ["a", "c", "d", "e"]


async def test_files_that_are_gone_are_looked_for_once_a_second_at_most() -> None:
    clock = VirtualClock(NOW)
    ground = Ground(clock=clock)
    begun = ground.near.sweeps
    for _ in range(5):
        ground.lane.take()
    assert ground.near.sweeps <= begun + 1
    before = ground.near.sweeps
    await clock.advance(1.0)
    ground.lane.take()
    ground.lane.take()
    assert ground.near.sweeps == before + 1
