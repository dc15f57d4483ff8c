"""What one client with a key of its own could make a node remember, send or write down: all of it has an end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.s3api.signed import refusal, request
from tierproxy.clock import SystemClock
from tierproxy.config.sections import ListenSection
from tierproxy.model import ObjectName
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.auth import Open
from tierproxy.s3api.conditions import MAX_CHANGE, write_precondition
from tierproxy.s3api.extension.reads import LATEST, MOST, MOST_SENT, MOST_TIMES
from tierproxy.s3api.lane.ports import Served
from tierproxy.s3api.visiting import MAX_AGENT, MAX_NAME, visitor_with
from tierproxy.server.handover import LARGEST
from tierproxy.server.reports import BATCH, told
from tierproxy.testing.probe import Probe
from tierproxy.testing.rig import rig
from tierproxy.traffic import Delivery, Outcome, Visitor


def test_a_user_agent_is_remembered_to_a_length() -> None:
    """Thousands of visitors are kept, with the header that tells them apart, which may be as long as a head."""
    first, second = (
        visitor_with({b"user-agent": b"a" * MAX_AGENT + end * 60_000}, "key", "::1", str.lower) for end in (b"b", b"c")
    )
    assert first is second
    assert len(first.user_agent) == MAX_AGENT


@pytest.mark.parametrize("header", ["x-tierproxy-change", "x-tierproxy-withdraw"])
def test_the_name_of_a_change_has_a_length(header: str) -> None:
    """A hundred thousand that were taken back are remembered."""
    method = "DELETE" if header.endswith("withdraw") else "PUT"
    for size, code in ((MAX_CHANGE, None), (MAX_CHANGE + 1, "InvalidArgument")):
        asked = request(method, "/mail/a", {"if-match": '"e"', header: "a" * size})
        assert refusal(lambda asked=asked: write_precondition(asked)) == code  # type: ignore[misc]


def test_a_workers_report_fits_into_a_frame_whatever_clients_called_things() -> None:
    """A frame that does not ends the channel, and with it the worker."""
    longest = "\x01" * 1024  # six bytes each, as JSON
    visitor = Visitor("k" * 128 + "@::1", "k" * 128, "é" * MAX_AGENT, None, "𝟘" * MAX_NAME, "inbox")
    one = Delivery(ObjectName("b" * 255, longest), visitor, Outcome.DISK, 2**62, longest, "x", True, 2**32, 2**62, 1e9)
    served = Served([one] * (BATCH + 1), {200: BATCH + 1})
    sizes = [len(json.dumps(message, separators=(",", ":"))) for message in told(served, 1)]
    assert len(sizes) == 2
    assert max(sizes) < LARGEST


async def test_what_is_told_of_reads_at_its_largest_can_be_written_down(tmp_path: Path) -> None:
    """What is refused, test_parsers shows: this is the most of what is not."""
    largest = {
        "key": "k" * 1024, "size": 2**62 - 1, "reason": "", "times": MOST_TIMES - 1, "sent": MOST_SENT - 1,
        "at": LATEST, "ranged": False, "owner": "𝟘" * 256, "folder": "\x01" * 1024,
    }  # fmt: skip
    short = largest | {"key": "a", "reason": "index", "owner": None, "folder": None}
    lines = [largest, largest | {"at": 0}, *[short] * (MOST - 2)]
    async with rig(tmp_path) as one:
        await one.put("a", b"x")
        await one.put("k" * 1024, b"x")
        probe = Probe(ObjectApp(one.parts.store, Open(), ListenSection(auth="none"), SystemClock()))
        body = "\n".join(json.dumps(line) for line in lines).encode()
        for _ in range(2):
            assert (await probe.post("/mail?tierproxy-reads", body)).status == 200
        await one.parts.tally.flush()
        row = one.row("k" * 1024)
        assert row is not None
        assert row.reads
