"""The reference model: a dictionary that remembers what was acknowledged, beside a real node that is ill-treated.

An example is a list of ``Op``: plain data, so that it shrinks, and so that a failure prints what can be pasted into a
regression test. After each op the node may answer nothing that the dictionary forbids; ``finish`` heals everything and
compares what is left on all tiers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tierproxy.alt.memory import PART_SIZE, etag_of
from tierproxy.errors import (
    AltCorrupt,
    AltDown,
    AltError,
    AltHeld,
    AltRefused,
    AltUnavailable,
    AltUncertain,
    DiskError,
    NoSuchKey,
    PreconditionFailed,
    TierproxyError,
)
from tierproxy.model import Ack, ByteRange, Headers, ListRequest, State
from tierproxy.near.versions import table_path
from tierproxy.purge.run import WAITS
from tierproxy.store.around import IN_MEMORY
from tierproxy.store.body import Md5Check
from tierproxy.store.calls import Precondition
from tierproxy.store.multipart import multipart_etag
from tierproxy.store.scrub import NEWER
from tierproxy.testing.crash import SimulatedCrash
from tierproxy.testing.invariants import check_invariants
from tierproxy.testing.power_cuts import scrubbed
from tierproxy.testing.rig import BUCKET, name, pieces

from .reference import Known, Op, Value, World


class Trial(World):
    """Does what an ``Op`` says, and compares."""

    # ------------------------------------------------------------ running

    async def run(self, ops: list[Op]) -> None:
        await self.start()
        try:
            for op in ops:
                await self.step(op)
            await self.finish()
        finally:
            await self.stop()

    async def step(self, op: Op) -> None:
        await getattr(self, f"do_{op.kind}")(op)

    # ------------------------------------------------------------ writes

    async def do_put(self, op: Op) -> None:
        body = self.body(op.size)
        await self.change(op.key, body, self.rig.put(op.key, body, ack=op.ack), lossless=op.ack is not Ack.ALT)

    async def do_put_if(self, op: Op) -> None:
        """``other``: create, match (the right ETag), mismatch, any."""
        known, body = self.known_of(op.key), self.body(op.size)
        if len(known.values) > 1 or known.certain in self.in_parts or len(known.certain or b"") > IN_MEMORY:
            return  # which of its ETags the object has is not known here
        old = known.certain
        holds = {"create": old is None, "match": old is not None, "any": old is not None, "mismatch": False}[op.other]
        condition = {
            "create": Precondition(create=True), "match": Precondition(match=etag_of(old or b"")),
            "any": Precondition(match="*"), "mismatch": Precondition(match="0" * 32),
        }[op.other]  # fmt: skip
        call = self.rig.put(op.key, body, ack=op.ack, precondition=condition)
        if holds:
            await self.change(op.key, body, call, lossless=False)
            return
        try:
            await call
            raise AssertionError(f"{op} was admitted")
        except PreconditionFailed:
            return
        except DiskError:
            assert self.files.code, "the disk is well"
        except AltError as error:
            self.excuse(error, op)

    async def do_multipart(self, op: Op) -> None:
        parts, body = self.node.parts.store.multipart, self.body(op.size or 10)
        self.in_parts[body] = multipart_etag([etag_of(body)])

        async def upload() -> None:
            up = await parts.create(name(op.key), Headers(), op.ack, None, None)
            try:
                part = await parts.put_part(up, 1, len(body), pieces(body, 2**18), Md5Check(len(body)))
                await parts.complete(up, [(1, part.etag)])
            except TierproxyError:
                await parts.abort(up)
                raise

        await self.change(op.key, body, upload(), lossless=op.ack is not Ack.ALT)

    async def do_copy(self, op: Op) -> None:
        source = self.known_of(op.other)
        if len(source.values) > 1 or op.other == op.key:
            return
        call = self.node.parts.store.copy(name(op.other), name(op.key), ack=op.ack)
        if source.certain is None:
            try:
                await call
                raise AssertionError("copied what is not there")
            except NoSuchKey:
                return
            except AltError as error:
                self.excuse(error, op)
                return
        await self.change(op.key, source.certain, call, lossless=False)

    async def do_delete(self, op: Op) -> None:
        await self.change(op.key, None, self.rig.delete(op.key), lossless=True, disk=False)

    async def change(
        self, key: str, value: Value, call: Awaitable[object], *, lossless: bool, disk: bool = True
    ) -> None:
        """``lossless``: with a working disk it must be acknowledged whatever alt does, if the node queues."""
        known = self.known_of(key)
        if value is None:
            self.reckoning.forget(key)
        try:
            await call
        except SimulatedCrash:
            known.values = {*known.values, value}
            known.coming.add(value)
            known.orphans.add(value)
            raise
        except AltUncertain as error:
            self.excuse(error, key)
            known.values = {*known.values, value}
            known.coming.add(value)
            known.orphans.add(value)
            self.reckoning.forget(key)
        except AltError as error:
            self.excuse(error, key)
        except DiskError as error:
            self.excuse_disk(error, key, disk)
        else:
            known.values, known.coming, known.orphans = {value}, set(), set()
            if value is not None:
                self.reckoning.began(key)
            return
        sound = not self.files.code
        assert not (lossless and sound and (self.queues or not disk)), f"{key} had to be acknowledged"

    def body(self, size: int) -> bytes:
        """Never the same twice, so that old content is recognised."""
        self.serial += 1
        mark = b"mail %d " % self.serial
        return (mark * (size // len(mark) + 1))[: max(size, len(mark))] if size else b""

    def etags(self, values: set[Value]) -> set[str | None]:
        """What clients may be told: the MD5; the ETag of an upload in parts; of a stream that nobody acknowledged."""
        there = [value for value in values if value is not None]
        told: set[str | None] = {None} if None in values else set()
        for value in there:
            told |= {etag_of(value), etag_of(value, PART_SIZE), self.in_parts.get(value) or etag_of(value)}
        return told

    def excuse(self, error: BaseException, what: object, near: bool = False) -> None:
        """Alt had a reason to fail, and was needed."""
        assert isinstance(error, AltUnavailable | AltUncertain | AltRefused), f"{what}: {error!r}"
        excused = self.troubled or self.files.crashed or isinstance(error, AltDown | AltHeld)
        assert excused, f"{what}: alt is well: {error!r}"
        assert not near, f"{what} is on disk and was not served: {error!r}"

    def excuse_disk(self, error: BaseException, what: object, needed: bool) -> None:
        assert needed, f"{what}: {error!r}"
        assert self.files.code, f"{what}: the disk is well: {error!r}"

    # ------------------------------------------------------------ reads

    async def do_get(self, op: Op) -> None:
        await self.observe(op.key, lambda: self.rig.get(op.key))

    async def do_get_range(self, op: Op) -> None:
        known = self.known_of(op.key)
        first = op.number

        async def read() -> bytes:
            return await self.rig.get(op.key, lambda entry: ByteRange(first, min(entry.size, first + 1000)))

        if any(value is not None and len(value) <= first for value in known.values):
            return
        wanted = {value and value[first : first + 1000] for value in known.values}
        try:
            assert await read() in wanted
        except NoSuchKey:
            assert None in wanted
        except AltError as error:
            self.excuse(error, op)

    async def do_head(self, op: Op) -> None:
        known = self.known_of(op.key)
        try:
            entry = await self.node.parts.store.head(name(op.key))
            assert entry.etag in self.etags(known.values)
        except NoSuchKey:
            assert None in known.values
        except AltError as error:
            self.excuse(error, op)

    async def do_get_corrupt(self, op: Op) -> None:
        """Alt sends other bytes than it was given."""
        await self.idle()  # a fill that is under way has the right ones
        content = self.memory.content(name(op.key))
        row = self.rig.row(op.key)
        if not content or row is None or row.blob is not None or row.state is not State.CLEAN:
            return
        if content in self.in_parts and row.xxh3 is None:  # nobody knows what the bytes were
            return
        self.memory.corrupt(name(op.key), content[:-1] + bytes([content[-1] ^ 1]))
        try:
            got = await self.rig.get(op.key)
            assert got == content, "wrong bytes were served"
        except AltCorrupt:
            pass
        except AltError as error:
            self.excuse(error, op)
        await self.idle()
        row = self.rig.row(op.key)
        assert row is None or row.blob is None, "wrong bytes were kept"
        self.memory.corrupt(name(op.key), content)

    async def observe(self, key: str, read: Callable[[], Awaitable[bytes]]) -> None:
        """A read gives what is allowed; what it gave is what is there from now on."""
        known, row = self.known_of(key), self.rig.row(key)
        near = row is None or (row.blob is not None and row.state is not State.SUSPECT) or row.state is State.DELETING
        try:
            value: Value = await read()
        except NoSuchKey:
            value = None
        except AltError as error:
            self.excuse(error, key, near)
            return
        assert value in known.values, f"{key} is {value!r:.30}, allowed: {[f'{v!r:.30}' for v in known.values]}"
        known.values = {value, *known.coming}

    async def do_list(self, op: Op) -> None:
        """All keys, ``number`` a page."""
        listed: dict[str, str] = {}
        after: str | None = ""
        while after is not None:
            page = await self.node.parts.store.page(ListRequest(BUCKET, after=after, limit=op.number or 1000))
            listed.update((one.key, one.etag) for one in page.objects)
            after = page.next_after
        for key, known in self.known.items():
            assert listed.get(key) in self.etags(known.values), f"{key} is listed as {listed.get(key)}"
        assert set(listed) <= set(self.known)

    # ------------------------------------------------------------ orders and crashes

    async def do_together(self, op: Op) -> None:
        """``inner`` at the same time, held up at the next ``other`` of alt. Any order may have been the one."""
        before = {key: set(self.known_of(key).values) for key in {one.key for one in op.inner}}
        for key in before:
            self.reckoning.forget(key)
            self.reckoning.reads[key] += 0
        gate = self.alt.gate(op.other) if op.other else None
        after: dict[str, set[Value]] = {key: set() for key in before}
        maybe = {key: set(values) for key, values in before.items()}

        async def one(inner: Op) -> None:
            body = None if inner.kind == "delete" else self.body(inner.size)
            maybe[inner.key].add(body)
            try:
                if inner.kind == "delete":
                    await self.rig.delete(inner.key)
                else:
                    await self.rig.put(inner.key, body or b"", ack=inner.ack)
                after[inner.key].add(body)
            except (AltError, DiskError) as error:
                excused = isinstance(error, AltDown | AltHeld)
                assert self.troubled or self.files.code or excused, "nothing was wrong"
                self.known_of(inner.key).orphans.add(body)
                self.known_of(inner.key).coming.add(body)

        async def read(inner: Op) -> None:
            try:
                got: Value = await self.rig.get(inner.key)
            except NoSuchKey:
                got = None
            except AltError as error:
                self.excuse(error, inner)
                return
            assert got in maybe[inner.key], f"{inner.key} was {got!r:.30} meanwhile"

        async def opener() -> None:
            await self.clock.settle()
            await asyncio.sleep(0.002)
            if gate is not None:
                gate.open()

        work = [one(inner) if inner.kind in {"put", "delete"} else read(inner) for inner in op.inner]
        outcomes = await asyncio.gather(*work, opener(), return_exceptions=True)
        for key, values in before.items():
            failed = maybe[key] - values - after[key]
            self.known_of(key).values = (after[key] or values) | failed
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def do_crash(self, op: Op) -> None:
        """The machine stops at the ``number``-th step of kind ``effect`` of ``inner``, or right after it."""
        if op.effect == "file":
            self.files.crash_at = self.files.steps + op.number
        elif op.effect == "before":
            self.catalogue.crash_before(self.catalogue.changes + op.number)
        elif op.effect == "after":
            self.catalogue.crash_after(self.catalogue.changes + op.number)
        try:
            for inner in op.inner:
                await self.step(inner)
        except SimulatedCrash:
            pass
        self.files.crashed = self.crashed = self.reckoning.crashed = True
        await self.killed()
        if op.cut is not None:  # what memory knew is lost, and a machine takes its time to start
            await self.land()
            table_path(self.root, self.shared_memory).unlink()
            self.files.power_cut(self.root, op.cut)
        await self.start()

    # ------------------------------------------------------------ the end

    async def unscheduled(self) -> None:
        """No run of the rules begins any more: what it purges would change while it is being looked at."""
        schedule = [task for task in self.node._background if task.get_name() == "purge-schedule"]
        for task in schedule:
            task.cancel()
        await asyncio.gather(*schedule, return_exceptions=True)

    async def finish(self) -> None:
        """Everything is healed, the queue is drained: memory, disk and alt say what was acknowledged."""
        self.alt.heal()
        self.alt_down = self.armed = False
        self.files.code = 0
        await self.unscheduled()
        await self.pass_time(60)  # the pauses of a breaker are over, and nothing comes late any more
        for known in self.known.values():
            known.coming.clear()
        await self.idle()
        await self.do_list(Op("list", number=2))
        for key in self.known:
            await self.do_get(Op("get", key))
        await self.uploaded()
        await scrubbed(self.rig)
        await self.idle()
        parts = self.node.parts
        await check_invariants(parts.catalogue, parts.disk, parts.space, root=self.root)
        for key, known in self.known.items():
            await self.do_get(Op("get", key))
            self.compare(key, known)
        await self.idle()
        await self.rig.purge()
        parts.hot.clear()
        for key in self.known:
            await self.do_get(Op("get", key))
        await self.do_list(Op("list"))
        await self.idle()
        await self.do_put(Op("put", "last", 10))  # the node learns that alt is well again
        await self.uploaded()
        await self.counted()
        # A write that a crash cut off leaves a file nobody but an operator may judge, and so it is with a purge after
        # the clock was set forward.
        assert {kind for kind, _ in parts.alarms.active()} <= {NEWER, WAITS}, parts.alarms

    async def uploaded(self) -> None:
        for _ in range(5):
            await self.do_upload(Op("upload"))
        assert not self.rig.journal(), f"left in the journal: {self.rig.journal()}"

    def compare(self, key: str, known: Known) -> None:
        row, there = self.rig.row(key), self.memory.content(name(key))
        if known.certain is None:
            assert row is None, f"{key} has a row after its delete: {row}"
            assert there is None or there in known.orphans, f"{key} returned to alt: {there!r:.30}"
        else:
            assert row is not None
            assert row.state is State.CLEAN, row
            assert there == known.certain, f"alt holds {there!r:.30} for {key}, not {known.certain!r:.30}"
