"""An alt tier that fails on purpose: faults by count, not by chance, so that a test says exactly what happens when.

alt = FaultyAlt(MemoryAlt())
alt.fail("put", AltUnavailable("no route"))            # the next put; nothing happens in alt
alt.fail("put", nth=3, effect=Effect.DONE)             # the third from now: done, but AltUncertain
landing = alt.late("put")                              # AltUncertain now; happens when the test says landing.land()
alt.cut_body(chunk=2)                                  # the next get's body ends short before its second chunk
alt.down()                                             # everything is AltUnavailable, bodies too, until heal()
gate = alt.gate("delete")                              # the next delete waits: await gate.reached(); gate.open()
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from tierproxy.errors import AltUnavailable, AltUncertain
from tierproxy.model import AltObject, ByteRange, Headers, ListPage, ListRequest, ObjectName
from tierproxy.ports import AltBody, AltTier, Source
from tierproxy.testing.gate import Gate

T = TypeVar("T")
OPERATIONS = ("get", "head", "put", "put_stream", "delete", "copy", "page", "walk")


class Effect(StrEnum):
    """What a failing operation does in alt."""

    NONE = "none"
    DONE = "done"
    LATE = "late"


class BytesSource:
    """Bytes as a ``tierproxy.ports.Source``. ``in_memory=False`` makes the reader read."""

    def __init__(self, data: bytes, *, in_memory: bool = True) -> None:
        self._data = data
        self._in_memory = in_memory

    @property
    def size(self) -> int:
        return len(self._data)

    @property
    def content(self) -> bytes | None:
        return self._data if self._in_memory else None

    async def read(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]


class Landing:
    """A change that alt carries out after its client has given up."""

    def __init__(self) -> None:
        self._action: Callable[[], Awaitable[object]] | None = None

    @property
    def waiting(self) -> bool:
        """Whether the change has been asked for, and not landed yet."""
        return self._action is not None

    async def land(self) -> None:
        """It happens now. AssertionError when it was never asked for."""
        action, self._action = self._action, None
        assert action is not None, "the change was never sent, or has landed"
        await action()


@dataclass(slots=True)
class Fault:
    """What happens to the call when ``left`` calls of its operation have come."""

    left: int
    error: Exception
    effect: Effect = Effect.NONE
    landing: Landing | None = None


@dataclass(slots=True)
class Cut:
    """What happens to the body of the get when ``left`` gets have come. ``error`` None: it just ends."""

    left: int
    chunk: int
    error: Exception | None


@dataclass(slots=True)
class Waiting:
    left: int
    gate: Gate = field(default_factory=Gate)


class FaultyBody:
    """A body that goes wrong before its ``cut.chunk``-th chunk (1 is the first), or when alt goes down."""

    def __init__(self, body: AltBody, cut: Cut | None, alt: FaultyAlt) -> None:
        self._body = body
        self._cut = cut
        self._alt = alt

    @property
    def meta(self) -> AltObject:
        return self._body.meta

    @property
    def range(self) -> ByteRange:
        return self._body.range

    async def chunks(self) -> AsyncIterator[bytes]:
        number = 0
        async for chunk in self._body.chunks():
            number += 1
            self._alt.check_up()
            if self._cut is not None and number == self._cut.chunk:
                if self._cut.error is None:
                    return
                raise self._cut.error
            yield chunk

    async def close(self) -> None:
        await self._body.close()


class FaultyAlt:
    """Any alt tier with faults. ``calls`` counts operations by name; ``nth`` counts from the moment a fault is set."""

    def __init__(self, alt: AltTier) -> None:
        self.alt = alt
        self.calls: Counter[str] = Counter()
        self.history: list[tuple[str, str]] = []
        self._down = False
        self._faults: dict[str, list[Fault]] = {name: [] for name in OPERATIONS}
        self._gates: dict[str, list[Waiting]] = {name: [] for name in OPERATIONS}
        self._cuts: list[Cut] = []

    def __repr__(self) -> str:
        return f"<FaultyAlt {'down ' if self._down else ''}{self.alt!r}>"

    # what a test sets

    def fail(
        self, operation: str, error: Exception | None = None, *, nth: int = 1, effect: Effect = Effect.NONE
    ) -> None:
        """The ``nth`` call raises ``error`` (AltUnavailable without effect, AltUncertain with one, unless given)."""
        default = (
            AltUnavailable("made to fail") if effect is Effect.NONE else AltUncertain("made to fail after the fact")
        )
        self._faults[operation].append(Fault(nth, error or default, effect))

    def late(self, operation: str, *, nth: int = 1) -> Landing:
        """The ``nth`` put or delete raises AltUncertain, and happens at ``Landing.land``."""
        landing = Landing()
        self._faults[operation].append(Fault(nth, AltUncertain("made to be late"), Effect.LATE, landing))
        return landing

    def cut_body(self, error: Exception | None = None, *, nth: int = 1, chunk: int = 1) -> None:
        """The body of the ``nth`` get raises ``error`` before its ``chunk``-th chunk, or ends there without one:
        the short stream that no AltBody may deliver, for those who must not trust it."""
        self._cuts.append(Cut(nth, chunk, error))

    def gate(self, operation: str, *, nth: int = 1) -> Gate:
        """The ``nth`` call waits, before anything happens, until the gate is opened."""
        waiting = Waiting(nth)
        self._gates[operation].append(waiting)
        return waiting.gate

    def down(self) -> None:
        """Nothing answers, until ``heal``."""
        self._down = True

    def heal(self) -> None:
        """Everything works again; faults that have not happened are forgotten."""
        self._down = False
        for plans in (*self._faults.values(), *self._gates.values(), self._cuts):
            plans.clear()  # type: ignore[attr-defined]

    def check_up(self) -> None:
        """AltUnavailable while down."""
        if self._down:
            raise AltUnavailable("alt is made to be down")

    # ports.AltTier

    async def get(self, name: ObjectName, range: ByteRange | None = None, *, etag: str | None = None) -> AltBody:
        cut = _due(self._cuts)
        return FaultyBody(await self._run("get", name, lambda: self.alt.get(name, range, etag=etag)), cut, self)

    async def head(self, name: ObjectName) -> AltObject:
        return await self._run("head", name, lambda: self.alt.head(name))

    async def put(
        self, name: ObjectName, source: Source, headers: Headers, *, md5: str, etag: str | None = None,
        parts: tuple[int, ...] = (), create: bool = False, match: str | None = None,
    ) -> str:  # fmt: skip
        kept: Source = source

        async def snapshot() -> None:
            nonlocal kept
            kept = BytesSource(source.content if source.content is not None else await source.read(0, source.size))

        def put() -> Awaitable[str]:
            return self.alt.put(name, kept, headers, md5=md5, etag=etag, parts=parts, create=create, match=match)

        return await self._run("put", name, put, prepare=snapshot)

    async def put_stream(
        self, name: ObjectName, chunks: AsyncIterator[bytes], headers: Headers, *, create: bool = False,
        match: str | None = None,
    ) -> str:  # fmt: skip
        def put() -> Awaitable[str]:
            return self.alt.put_stream(name, chunks, headers, create=create, match=match)

        return await self._run("put_stream", name, put)

    async def delete(self, name: ObjectName) -> None:
        await self._run("delete", name, lambda: self.alt.delete(name))

    async def copy(
        self, source: ObjectName, target: ObjectName, headers: Headers | None, *, etag: str | None = None,
        match: str | None = None, create: bool = False, target_match: str | None = None, known: AltObject | None = None,
    ) -> str:  # fmt: skip
        def copy() -> Awaitable[str]:
            return self.alt.copy(
                source, target, headers, etag=etag, match=match, create=create, target_match=target_match,
                known=known,
            )  # fmt: skip

        return await self._run("copy", target, copy)

    async def etag_is_md5(self, name: ObjectName) -> bool:
        self.check_up()
        return await self.alt.etag_is_md5(name)

    async def page(self, request: ListRequest) -> ListPage:
        return await self._run("page", request.bucket, lambda: self.alt.page(request))

    async def walk(self, bucket: str) -> AsyncIterator[list[AltObject]]:
        await self._run("walk", bucket, _nothing)
        async for batch in self.alt.walk(bucket):
            self.check_up()
            yield batch

    async def close(self) -> None:
        await self.alt.close()

    async def _run(
        self, operation: str, subject: object, call: Callable[[], Awaitable[T]],
        prepare: Callable[[], Awaitable[None]] | None = None,
    ) -> T:  # fmt: skip
        """Plans are taken at the call, in its order, before the first await."""
        self.calls[operation] += 1
        self.history.append((operation, str(subject)))
        fault, waiting = _due(self._faults[operation]), _due(self._gates[operation])
        if waiting is not None:
            await waiting.gate.passage()
        self.check_up()
        if fault is None:
            return await call()
        if fault.effect is Effect.DONE:
            await call()
        if fault.landing is not None:
            await (prepare or _nothing)()
            fault.landing._action = call
        raise fault.error


async def _nothing() -> None:
    pass


P = TypeVar("P", Fault, Cut, Waiting)


def _due(plans: list[P]) -> P | None:
    """Count a call; the plan whose turn it is leaves the list."""
    for plan in plans:
        plan.left -= 1
    due = next((plan for plan in plans if plan.left <= 0), None)
    if due is not None:
        plans.remove(due)
    return due
