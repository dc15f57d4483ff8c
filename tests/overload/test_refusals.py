"""No request is refused for want of something without being told when to come back, and refusing costs no memory."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.server.side_by_side import MAIL, side_by_side
from tierproxy import errors
from tierproxy.alt.memory import MemoryAlt
from tierproxy.clock import SystemClock
from tierproxy.config.sections import ListenSection, QueueSection
from tierproxy.config.values import Duration
from tierproxy.errors import TierproxyError
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.auth import Open
from tierproxy.s3api.faults import STATUS, S3Error, fault_of
from tierproxy.server.connection import MOST_STUCK
from tierproxy.server.refusal import ANSWER, LINGER, MOST, Refusals
from tierproxy.store.around import AT_ONCE
from tierproxy.testing.faults import FaultyAlt
from tierproxy.testing.probe import Probe
from tierproxy.testing.rig import rig
from tierproxy.testing.wire import connected, on_both_loops, until

HIT = b"GET /mail/a HTTP/1.1\r\nhost: x\r\n\r\n"


OTHERS: dict[type[TierproxyError], TierproxyError] = {
    S3Error: S3Error("InvalidRequest", "no"), errors.RangeUnsatisfiable: errors.RangeUnsatisfiable(3),
    errors.BadBody: errors.BadBody("no"),
}  # fmt: skip
"""Those that want to be told something."""


def kinds(of: type[TierproxyError] = TierproxyError) -> Iterator[type[TierproxyError]]:
    yield of
    for kind in of.__subclasses__():
        yield from kinds(kind)


ALL = sorted(
    (kind for kind in set(kinds()) if kind.__module__ in {"tierproxy.errors", "tierproxy.s3api.faults"}), key=str
)


@pytest.mark.parametrize("kind", ALL, ids=str)
def test_every_503_says_when_to_come_back(kind: type[TierproxyError]) -> None:
    fault = fault_of(OTHERS[kind] if kind in OTHERS else kind())
    assert fault.status != 503 or int(dict(fault.headers)[b"retry-after"]) > 0


@pytest.mark.parametrize("code", [code for code, status in STATUS.items() if status == 503])
def test_every_503_that_is_raised_by_its_code_does_so_too(code: str) -> None:
    assert int(dict(fault_of(S3Error(code, "later")).headers)[b"retry-after"]) > 0
    assert dict(fault_of(S3Error(code, "later", headers=((b"retry-after", b"7"),))).headers)[b"retry-after"] == b"7"


async def test_a_queue_at_its_limit_refuses_what_it_would_have_to_queue(tmp_path: Path) -> None:
    alt = FaultyAlt(MemoryAlt())
    alt.down()
    queue = QueueSection(max_jobs=2, backoff=Duration(3600), max_backoff=Duration(3600))
    async with rig(tmp_path, alt=alt, queue=queue) as one:
        settings = ListenSection(auth="none")
        probe = Probe(ObjectApp(one.parts.store, Open(), settings, SystemClock()))
        for ack in ("disk", "both"):
            assert (await probe.put(f"/mail/{ack}", b"mail", {"x-tierproxy-ack": ack})).status == 200
        for ack in ("disk", "both", "alt"):
            answer = await probe.put(f"/mail/more-{ack}", b"mail", {"x-tierproxy-ack": ack})
            assert (answer.status, answer.code) == (503, "ServiceUnavailable")
            assert int(answer.headers["retry-after"]) > 0
        assert (await probe.get("/mail/disk")).body == b"mail"
        alt.heal()
        assert (await probe.put("/mail/again", b"mail", {"x-tierproxy-ack": "both"})).status == 200
        await one.parts.catalogue.hurry(None, SystemClock().now())
        await one.drained()


async def test_bodies_that_are_received_in_memory_have_a_limit_together(tmp_path: Path) -> None:
    size = 8 * 2**20
    async with rig(tmp_path) as one:
        settings = ListenSection(auth="none")
        probe = Probe(ObjectApp(one.parts.store, Open(), settings, SystemClock()))
        headers = {"content-length": str(size), "x-tierproxy-ack": "alt"}
        async with AsyncExitStack() as stack:
            calls = [probe.call("PUT", f"/mail/{number}", headers) for number in range(AT_ONCE // size)]
            opened = [await stack.enter_async_context(call) for call in calls]
            await until(lambda: all(call.asked for call in opened))
            answer = await probe.request("PUT", "/mail/more", None, headers)
            assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "SlowDown", "1")
        small = await probe.put("/mail/small", b"mail", {"x-tierproxy-ack": "alt"})
        assert (small.status, small.headers["x-tierproxy-tiers"]) == (200, "alt")


@on_both_loops
async def test_when_many_take_nothing_the_lane_answers_nobody(tmp_path: Path) -> None:
    async with side_by_side(tmp_path) as pair, connected(pair.laned) as client:
        assert (await client.request("GET /mail/a HTTP/1.1"))[2] == MAIL
        before = pair.given()
        pair.laned._state.stuck = MOST_STUCK
        assert (await client.request("GET /mail/a HTTP/1.1"))[2] == MAIL  # on the ordinary way
        assert pair.given() == before
        pair.laned._state.stuck = 0
        assert (await client.request("GET /mail/a HTTP/1.1"))[2] == MAIL
        assert pair.given() == before + 1


@on_both_loops
async def test_those_who_take_nothing_are_known_until_they_take_it_or_leave(tmp_path: Path) -> None:
    async with side_by_side(tmp_path) as pair:
        await pair.rig.put("big", bytes(250_000))
        await pair.rig.get("big")
        assert pair.laned.address is not None
        for leaves in (True, False):
            silent = socket.socket()
            silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            silent.connect(pair.laned.address)
            silent.setblocking(False)
            for _ in range(400):  # as many as the kernel takes on the way, and one more
                if pair.laned._state.stuck:
                    break
                silent.send(b"GET /mail/big HTTP/1.1\r\nhost: x\r\n\r\n")
                await asyncio.sleep(0.005)
            assert pair.laned._state.stuck == 1
            if not leaves:
                loop = asyncio.get_running_loop()
                while pair.laned._state.stuck:
                    await loop.sock_recv(silent, 2**20)
            silent.close()
            await until(lambda: pair.laned._state.stuck == 0)
            await until(lambda: not pair.laned.connections)


async def test_refused_clients_linger_for_a_moment_and_few_at_once() -> None:
    refusals = Refusals()
    pairs = [socket.socketpair() for _ in range(MOST + 5)]
    try:
        for ours, _ in pairs:
            refusals.refuse(ours, encrypted=False)
        assert sum(ours.fileno() >= 0 for ours, _ in pairs) == MOST
        for _, theirs in pairs:
            assert theirs.recv(4096) == ANSWER
            assert theirs.recv(4096) == b""
        ours, theirs = socket.socketpair()
        refusals.refuse(ours, encrypted=True)
        assert theirs.recv(4096) == b""
        theirs.close()
    finally:
        refusals.close()
        for _, theirs in pairs:
            theirs.close()
    assert all(ours.fileno() < 0 for ours, _ in pairs)
    assert LINGER > 0


async def test_who_is_refused_is_closed_soon_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tierproxy.server.refusal.LINGER", 0.01)
    refusals = Refusals()
    ours, theirs = socket.socketpair()
    refusals.refuse(ours, encrypted=False)
    await until(lambda: ours.fileno() < 0)
    theirs.close()
    refusals.close()
