"""Hit workers as they run, in front of a whole store: the same bytes, nothing stale, every read counted."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.server.side_by_side import LARGE, MAIL, headers, masked, said
from tests.server.test_lane_equality import KEPT, LANED, ODD, ORDINARY
from tests.server.worked import WORKERS
from tierproxy.clock import SystemClock
from tierproxy.config.sections import Config, ListenSection
from tierproxy.config.values import Duration
from tierproxy.s3api.app import ObjectApp
from tierproxy.s3api.lane.lane import HitLane
from tierproxy.server import ObjectServer
from tierproxy.server.shared_server import SharedServer
from tierproxy.store.alarms import AlarmBoard
from tierproxy.testing.rig import Rig, config_for, name, rig
from tierproxy.testing.wire import Client, connected, until
from tierproxy.wiring_worker import authenticator, setup_of

_TIER = re.compile(rb"(?m)^x-tierproxy-tier: (memory|disk)\r$")


def from_anywhere(answer: bytes) -> bytes:
    """Each process has a memory of its own, and says how long its disk took."""
    return re.sub(rb"server-timing\n", b"", _TIER.sub(b"near\r", masked(answer)))


@dataclass
class Fronts:
    """One store behind a port without workers and one with them."""

    rig: Rig
    plain: ObjectServer
    shared: SharedServer
    config: Config

    async def same(self, *pieces: bytes) -> bytes:
        """Both answer the same; what it is."""
        expected = from_anywhere(await said(self.plain, pieces))
        found = from_anywhere(await said(self.shared, pieces))
        assert found == expected, pieces
        return found

    @property
    def answered(self) -> int:
        """By workers, as far as they have told."""
        return sum(state.answers for state in self.shared.workers)


@asynccontextmanager
async def fronts(directory: Path, idle: float = 75, **sections: Any) -> AsyncIterator[Fronts]:
    listen = ListenSection(
        address="127.0.0.1:0",
        auth="sigv4" if "key" in sections else "none",
        workers=WORKERS,
        idle_timeout=Duration(idle),
    )
    sections["listen"] = listen
    async with rig(directory, shared=True, **sections) as one:
        config = config_for(directory, **sections)
        clock, store, keys = SystemClock(), one.parts.store, authenticator(config, SystemClock())
        plain = ObjectServer(listen, ObjectApp(store, keys, listen, clock), clock)
        app = ObjectApp(store, keys, listen, clock)
        shared = SharedServer(
            listen, app, clock, lane=HitLane(one.parts.near, one.parts.hot, keys, clock), served=app.served,
            setup=lambda: setup_of(config), alarms=AlarmBoard(),
        )  # fmt: skip
        await plain.start()
        await shared.start()
        try:
            yield Fronts(one, plain, shared, config)
        finally:
            await plain.stop(0)
            await shared.stop(1)


async def furnish(one: Rig) -> None:
    """The objects that requests of ``tests.server.test_lane_equality`` are about."""
    await one.put("a", MAIL)
    await one.put("b", b"")
    await one.put("c", MAIL * 3, headers=headers())
    await one.put("d e/é+~", MAIL)
    await one.put("large", LARGE)
    for key in ("a", "b", "c", "d e/é+~", "large"):
        await one.get(key)


# ---------------------------------------------------------------- byte for byte


def test_with_workers_every_byte_is_what_it_was_without(tmp_path: Path) -> None:
    end = b"GET /-/health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    with asyncio.Runner() as runner:
        context = fronts(tmp_path, idle=2)
        both = runner.run(context.__aenter__())
        try:
            runner.run(furnish(both.rig))
            for request in (LANED | ORDINARY | ODD).values():
                runner.run(both.same(request, end))

            @settings(max_examples=60, deadline=None)
            @given(script=st.lists(st.sampled_from(KEPT), min_size=1, max_size=6).map(b"".join), data=st.data())
            def play(script: bytes, data: st.DataObject) -> None:
                cuts = sorted(data.draw(st.lists(st.integers(0, len(script)), max_size=4)))
                edges = [0, *cuts, len(script)]
                pieces = [script[begin:stop] for begin, stop in pairwise(edges) if begin < stop]
                runner.run(both.same(*pieces, end))

            play()
            runner.run(until(lambda: both.answered > 50))
        finally:
            runner.run(context.__aexit__(None, None, None))


# ---------------------------------------------------------------- counting


async def test_reads_at_workers_are_counted_once_and_with_their_client(tmp_path: Path) -> None:
    async with fronts(tmp_path) as both:
        one = both.rig
        await one.put("a", MAIL)
        await one.put("b", MAIL)
        for _ in range(5):
            async with connected(both.shared) as client:
                for key in ("a", "b", "a"):
                    assert (await client.request(f"GET /mail/{key} HTTP/1.1"))[0] == 200
        await both.shared.stop(1)
        await one.parts.tally.flush()
        reads = {key: one.parts.catalogue.find(name(key)) for key in ("a", "b")}
        assert {key: row and row.reads for key, row in reads.items()} == {"a": 10, "b": 5}


class Spy(ObjectServer):
    """Notes what it is told."""

    told: list[ListenSection]

    def reload(self, listen: ListenSection) -> None:
        self.told.append(listen)


async def test_a_reload_reaches_the_object_port(tmp_path: Path) -> None:
    async with rig(tmp_path) as one:
        config, clock = config_for(tmp_path), SystemClock()
        spy = Spy(config.listen, ObjectApp(one.parts.store, authenticator(config, clock), config.listen, clock), clock)
        spy.told, one.node.server = [], spy
        one.node.reload(config)
        assert spy.told == [config.listen]


# ---------------------------------------------------------------- the hammer

KEYS = [f"k{number}" for number in range(12)]
GONE = -1


@dataclass
class Truth:
    """What was acknowledged. ``least``: of each key the newest generation that was, GONE after a delete; ``begun``: of
    a change that is under way, the generation it makes."""

    least: dict[str, int] = field(default_factory=dict)
    deleted: dict[str, int] = field(default_factory=dict)
    changes: int = 0
    reads: int = 0
    faults: list[str] = field(default_factory=list)


def body_of(key: str, generation: int) -> bytes:
    return (f"{key} {generation:08} ".encode() * 400)[: 1000 + generation % 7 * 900]


async def changing(client: Client, both: Fronts, truth: Truth, key: str, dice: random.Random) -> None:
    """One writer of one key: generations grow; each is written down once it is acknowledged."""
    generation = 0
    while truth.changes < CHANGES:
        generation += 1
        what = dice.random()
        if what < 0.65:
            body = body_of(key, generation)
            status, _, _ = await client.request(f"PUT /mail/{key} HTTP/1.1\r\ncontent-length: {len(body)}", body)
            assert status == 200
            truth.least[key] = generation
            truth.deleted.pop(key, None)
        elif what < 0.8:
            assert (await client.request(f"DELETE /mail/{key} HTTP/1.1"))[0] == 204
            truth.least[key] = generation
            truth.deleted[key] = generation
        else:
            await both.rig.purge(key)
            await asyncio.sleep(0)
        truth.changes += 1


async def reading(both: Fronts, truth: Truth, dice: random.Random) -> None:
    """What a reader sees is never older than what was acknowledged before it asked."""
    async with connected(both.shared) as client:
        while truth.changes < CHANGES:
            key = dice.choice(KEYS)
            least, deleted = truth.least.get(key, 0), truth.deleted.get(key)
            status, told, body = await client.request(f"GET /mail/{key} HTTP/1.1")
            truth.reads += 1
            if status == 404:
                continue  # not there yet, or deleted: by a change that may be under way
            found = int(body.split()[1])
            if status != 200 or body != body_of(key, found):
                truth.faults.append(f"{key}: {status}, not what was written")
            if found < least or (deleted is not None and found <= deleted):
                truth.faults.append(f"{key}: generation {found} after {least} was acknowledged, {deleted=} {told}")


CHANGES = 600


async def test_after_an_acknowledgement_nobody_sees_what_was_before(tmp_path: Path) -> None:
    dice = random.Random(12)
    truth = Truth()
    async with fronts(tmp_path) as both:
        for key in KEYS:
            await both.rig.put(key, body_of(key, 0))
        writers = [await opened(both) for _ in KEYS]
        works = [changing(client, both, truth, key, dice) for client, key in zip(writers, KEYS, strict=True)]
        readers = [reading(both, truth, random.Random(number)) for number in range(8)]
        await asyncio.gather(*works, *readers)
        for client in writers:
            await client.close()
        assert truth.faults == []
        assert truth.reads > 200
        await until(lambda: both.answered > truth.reads // 20)


async def opened(both: Fronts) -> Client:
    assert both.shared.address is not None
    return Client(*await asyncio.open_connection(*both.shared.address))
