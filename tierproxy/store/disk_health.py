"""What state the disk is in, and what follows from it (decision 32).

``DiskJudge`` decides and does nothing else; ``DiskHealth`` feeds it with what the calls to the disk told, asks the disk
itself by probes while it is in doubt, has it looked through when it is back, and tells those who act on it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tierproxy.config.sections import DiskSection
from tierproxy.errors import DiskError, OutOfSpace, TierproxyError
from tierproxy.logs import event
from tierproxy.ports import Alarms, Clock, Condition, State

log = logging.getLogger(__name__)
ALARM = "disk is down"


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of calls in the last ``window`` seconds: bad ones are those that failed with an error of the disk or took longer
    than ``[disk] slow_call``. One bad sector is not a bad disk, hence the least numbers; it takes more to get well than
    to fall ill, hence ``quiet`` and ``good_probes``."""

    window: float = 30.0
    few: int = 5  #: bad calls, at least, and
    shaky: float = 0.1  #: this share of all: normal -> unstable
    many: int = 10  #: bad calls since it is unstable, at least, and
    broken: float = 0.5  #: this share of all: unstable -> down
    failed_probes: int = 2  #: in a row: unstable -> down; after a call that hung one is enough
    quiet: float = 30.0  #: seconds without a bad call or probe: unstable -> normal
    good_probes: int = 3  #: in a row: down -> probing
    relapse: float = 600.0  #: seconds; down again so soon after it was well: twice as many good probes are asked for
    most_probes: int = 24  #: but never more than these


class DiskJudge:
    """The state machine. Pure: ``now`` (monotonic seconds) comes in, ``state`` and ``reason`` come out."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self._bounds = bounds or Bounds()
        self.state = State.NORMAL
        self.reason = ""
        self.changes = 0
        self._window: deque[tuple[float, int, int]] = deque()
        self._since = 0.0
        self._last_bad = 0.0
        self._hung = False
        self._good = self._failed = 0
        self._needed = self._bounds.good_probes
        self._well_since: float | None = None  # after it was down

    def __repr__(self) -> str:
        return f"<DiskJudge {self.state}{f': {self.reason}' if self.reason else ''}>"

    def saw(self, now: float, calls: int, bad: int, why: str = "") -> None:
        """``calls`` have ended since the last look, ``bad`` of them badly; ``why``: the last one, for people."""
        bounds, window = self._bounds, self._window
        if calls or bad:
            window.append((now, max(calls, bad), bad))
        while window and window[0][0] < now - bounds.window:
            window.popleft()
        if bad:
            self._last_bad = now
        every, wrong = sum(one[1] for one in window), sum(one[2] for one in window)
        reason = f"{wrong} of {every} calls failed or were slow{f': {why}' if why else ''}"
        if self.state is State.NORMAL and wrong >= bounds.few and wrong >= bounds.shaky * every:
            self._enter(State.UNSTABLE, now, reason)
        elif self.state is State.UNSTABLE and wrong >= bounds.many and wrong >= bounds.broken * every:
            self._enter(State.DOWN, now, reason)
        elif self.state is State.UNSTABLE and self._good and now - self._last_bad >= bounds.quiet:
            self._enter(State.NORMAL, now, "")

    def hung(self, now: float, why: str) -> None:
        """A call did not return within the patience. While the disk is down or looked through, its probes decide."""
        if self.state in {State.NORMAL, State.UNSTABLE}:
            self._last_bad = now
            if self.state is State.NORMAL:
                self._enter(State.UNSTABLE, now, why)
            self._hung = True
            self._good = 0

    def probed(self, now: float, failure: str = "") -> None:
        """A probe ended. ``failure``: why it did not go well."""
        if failure:
            self._probe_failed(now, f"a probe failed: {failure}")
            return
        self._good, self._failed, self._hung = self._good + 1, 0, False
        if self.state is State.DOWN and self._good >= self._needed:
            self._enter(State.PROBING, now, "it answers again and is looked through")

    def _probe_failed(self, now: float, why: str) -> None:
        self._good, self._failed, self._last_bad = 0, self._failed + 1, now
        enough = 1 if self._hung else self._bounds.failed_probes
        if self.state is State.PROBING or (self.state is State.UNSTABLE and self._failed >= enough):
            self._enter(State.DOWN, now, why)

    def looked_through(self, now: float, failure: str = "") -> None:
        """The look-through ended. Of no effect if the disk has gone down meanwhile."""
        if self.state is State.PROBING:
            why = f"the look-through failed: {failure}" if failure else ""
            self._enter(State.DOWN if failure else State.NORMAL, now, why)

    def _enter(self, state: State, now: float, reason: str) -> None:
        if state is State.DOWN:
            soon = self._well_since is not None and now - self._well_since < self._bounds.relapse
            again = soon or self.state is State.PROBING
            most = max(self._bounds.most_probes, self._bounds.good_probes)
            self._needed = min(2 * self._needed, most) if again else self._bounds.good_probes
        elif state is State.NORMAL and self.state is State.PROBING:
            self._well_since = now
        self.state, self.reason, self._since = state, reason, now
        self._good = self._failed = 0
        self._hung = False
        self._window.clear()
        self.changes += 1


class Calls(Protocol):
    """The calls to the disk. ``tierproxy.offload.WatchedPool`` is one."""

    patience: float
    slow: float
    on_look: Callable[[], None]
    on_hang: Callable[[str], None]

    def taken(self) -> tuple[int, int, str]:
        """loop. Since the last time: calls that ended, bad ones among them, and the last bad one, for people."""
        ...


class Guard(Protocol):
    """What goes round the disk."""

    closed: bool


class DiskHealth:
    """``tierproxy.ports.Health`` of the disk. ``closed``: reads go round it, and nothing is written to it (down,
    probing). ``strained``: no copies are made that can be done without (all but normal). Both are for one look."""

    def __init__(
        self, *, calls: Calls, probe: Callable[[], Awaitable[None]], clock: Clock, alarms: Alarms,
        settings: DiskSection, subject: str, bounds: Bounds | None = None,
    ) -> None:  # fmt: skip
        """``probe``: raises DiskError when the disk cannot do what a write and a read need, or not in time."""
        self._calls = calls
        self._probe = probe
        self._clock = clock
        self._alarms = alarms
        self._settings = settings
        self._subject = subject
        self._judge = DiskJudge(bounds)
        self._since = clock.now()
        self._doubt = asyncio.Event()
        self.closed = False
        self.strained = False
        self.asking = False  #: a probe is under way
        self.look_through: Callable[[], Awaitable[None]] = _nothing
        self.on_change: list[Callable[[State], None]] = []
        calls.on_look, calls.on_hang = self._looked, self._hung
        self._set_patience()

    def __repr__(self) -> str:
        return f"<DiskHealth {self._judge!r}>"

    @property
    def state(self) -> State:
        return self._judge.state

    @property
    def patience(self) -> float:
        """Seconds: ``[disk] patience``."""
        return self._settings.patience

    def conditions(self) -> Sequence[Condition]:
        """``tierproxy.ports.Health``: always one."""
        judge = self._judge
        return [Condition("disk", self._subject, judge.state, self._since, judge.reason, judge.changes)]

    def reload(self, settings: DiskSection) -> None:
        self._settings = settings
        self._set_patience()

    async def run(self) -> None:
        """Until cancelled: while the disk is in doubt ask it, and look it through when it answers again."""
        while True:
            await self._doubt.wait()
            await self._ask()
            if self.state is State.PROBING:
                await self._look_through()
            if self.state is not State.NORMAL:
                await self._clock.sleep(self._settings.probe_interval)
                self._looked()

    async def _ask(self) -> None:
        failure, self.asking = "", True
        try:
            await self._probe()
        except OutOfSpace:
            pass  # a full disk has rules of its own; it reads and removes
        except DiskError as error:
            failure = str(error)
        finally:
            self.asking = False
        self._judged(lambda now: self._judge.probed(now, failure))

    async def _look_through(self) -> None:
        """Probes go on beside it: a disk that hangs under it is noticed by them."""
        looking = asyncio.get_running_loop().create_task(self._looking(), name="look through the disk")
        try:
            while self.state is State.PROBING and not looking.done():
                await self._paused(looking)
                if not looking.done():
                    await self._ask()
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    async def _paused(self, looking: asyncio.Task[None]) -> None:
        """Until ``looking`` has ended or the next probe is due."""
        pause = asyncio.get_running_loop().create_task(_sleep(self._clock, self._settings.probe_interval))
        try:
            await asyncio.wait({looking, pause}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            pause.cancel()

    async def _looking(self) -> None:
        failure = ""
        try:
            await self.look_through()
        except TierproxyError as error:
            failure = str(error)
        except Exception as error:  # noqa: BLE001 - a defect, too, must be heard of, and not end the asking
            failure = f"{type(error).__name__}: {error}"
            event(log, logging.ERROR, "look-through broke", error=error)
        self._judged(lambda now: self._judge.looked_through(now, failure))

    def _looked(self) -> None:
        calls, bad, why = self._calls.taken()
        self._judged(lambda now: self._judge.saw(now, calls, bad, why))

    def _hung(self, why: str) -> None:
        self._judged(lambda now: self._judge.hung(now, why))

    def _judged(self, judge: Callable[[float], None]) -> None:
        before = self._judge.state
        judge(self._clock.monotonic())
        if self._judge.state is not before:
            self._entered(before, self._judge.state)

    def _entered(self, before: State, state: State) -> None:
        self._since = self._clock.now()
        self.closed = state in {State.DOWN, State.PROBING}
        self.strained = state is not State.NORMAL
        self._set_patience()
        level = logging.INFO if state is State.NORMAL else logging.WARNING
        event(log, level, "disk state", was=before.value, now=state.value, reason=self._judge.reason)
        if state is State.DOWN:
            self._alarms.set(ALARM, self._subject, reason=self._judge.reason)
        elif state is State.NORMAL:
            self._alarms.clear(ALARM, self._subject)
        if self.strained:
            self._doubt.set()
        else:
            self._doubt.clear()
        for tell in self.on_change:
            tell(state)

    def _set_patience(self) -> None:
        settings = self._settings
        self._calls.slow = settings.slow_call
        short = self.state is State.UNSTABLE
        self._calls.patience = min(settings.slow_call, settings.patience) if short else settings.patience


async def _nothing() -> None:
    """There is nothing to look through."""


async def _sleep(clock: Clock, seconds: float) -> None:
    await clock.sleep(seconds)
