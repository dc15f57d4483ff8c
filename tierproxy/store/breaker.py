"""Whether alt is asked, for one kind of requests to one bucket: a circuit breaker with half-open probes.

The pattern is Michael Nygard's (Release It!, 2007, "Circuit Breaker"), with a state between closed and open in which
alt is asked, but nothing twice. What is judged are the answers of requests that clients made anyway: it has no traffic
of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from tierproxy.config.sections import AltSection
from tierproxy.ports import Clock
from tierproxy.ports.health import State

REMEMBERED = 20  #: answers
FORGOTTEN = 120.0  #: seconds after which an answer says nothing any more
TROUBLED = 5  #: of the remembered answers failed or slow: unstable
STEADY = 10  #: good and quick answers in a row: normal again
QUIET = 2.0
"""Seconds without a good answer before failures mean down. Of an alt that fails every second request, in whatever
order, some succeed within that time as long as it is asked more than now and then: it stays in use."""
HOPELESS = 18  #: of the remembered answers failures, over more than ``QUIET``: down, whatever came in between
ENOUGH = 10  #: good answers since it was down; when it is down again, pauses begin with the shortest


class Ticket:
    """Leave to ask alt once. ``probe``: nobody else has leave meanwhile."""

    __slots__ = ("began", "probe")

    def __init__(self, began: float, probe: bool) -> None:
        self.began = began
        self.probe = probe


class Answer(NamedTuple):
    """``trouble``: it failed, or was slow."""

    at: float
    failed: bool
    trouble: bool


class Breaker:
    """See the module. ``random``: from 0 to 1, for the jitter of pauses. ``changed`` hears of each change of state.

    Every ticket is given back with ``good``, ``bad`` or ``void``. ``good_at``: when the last good answer came, or else
    when it was ``begun`` to look (monotonic)."""

    def __init__(
        self, section: AltSection, clock: Clock, random: Callable[[], float], changed: Callable[[Breaker], None],
        begun: float | None = None,
    ) -> None:  # fmt: skip
        self._section = section
        self._clock = clock
        self._random = random
        self._changed = changed
        self.state = State.NORMAL
        self.since = clock.now()
        self.reason = ""
        self.changes = 0
        self.good_at = clock.monotonic() if begun is None else begun
        self._answers: deque[Answer] = deque(maxlen=REMEMBERED)
        self._failures = 0  # in a row
        self._steady = 0  # good and quick ones in a row
        self._probe: Ticket | None = None
        self._probe_at = 0.0
        self._doubted = False  # it has not failed itself
        self._up_at = self.good_at
        self._answered = 0  # good ones since it was down
        self._falls = 0  # in a row, with less than ``ENOUGH`` good answers between them

    def __repr__(self) -> str:
        return f"<Breaker {self.state}{f', {self.reason}' if self.reason else ''}>"

    @property
    def down(self) -> bool:
        """Who needs no answer at once asks nothing."""
        return self.state is State.DOWN or self.state is State.PROBING

    # ------------------------------------------------------------ who asks

    def admit(self) -> Ticket | None:
        """Leave to ask; None: not before ``wait`` seconds."""
        now = self._clock.monotonic()
        if not self.down:
            return Ticket(now, probe=False)
        if self.state is State.DOWN and now >= self._probe_at:
            self._turn(State.PROBING, self.reason)
        if self.state is State.DOWN or not self._free(now):
            return None
        self._probe = Ticket(now, probe=True)
        return self._probe

    @property
    def wait(self) -> float:
        """Seconds until a request may try again. While one is trying: as long as its answer should take."""
        if self.state is State.DOWN:
            return max(0.0, self._probe_at - self._clock.monotonic())
        return float(self._section.breaker_pause)

    def _free(self, now: float) -> bool:
        """Nobody probes. A probe that takes for ever (a large upload) does not keep the others out."""
        return self._probe is None or now - self._probe.began >= self._section.breaker_max_pause

    # ------------------------------------------------------------ what came of it

    def good(self, ticket: Ticket, *, slow: bool = False) -> None:
        """Alt answered, whatever it said; also a request from before it was down proves that it does."""
        self.good_at = now = self._clock.monotonic()
        self._failures = 0
        self._steady = 0 if slow else self._steady + 1
        if self.down:
            self._recover()
        self._answered += 1
        self._answers.append(Answer(now, failed=False, trouble=slow))
        if slow:
            self._judge(f"answers take longer than {float(self._section.slow_answer):g} s")
        elif self.state is State.UNSTABLE and self._steady >= STEADY:
            self._settle()

    def bad(self, ticket: Ticket, error: BaseException) -> None:
        """Alt could not be reached, or could not answer. What was sent before it was down says nothing new."""
        if ticket is self._probe:
            self._fall(f"the last try failed: {error}")
        elif not self.down:
            self._failed(str(error))

    def void(self, ticket: Ticket) -> None:
        """It ended otherwise: the client left, the disk failed."""
        if ticket is self._probe:
            self._probe = None

    def silent(self, began: float, error: BaseException) -> None:
        """Somebody has waited since ``began`` as long as anybody may. If nobody else had an answer since, alt is
        down."""
        if self.state is State.DOWN:
            return
        if self.good_at > began and not self.down:
            self._failed(str(error))
        else:
            self._fall(str(error))

    def doubt(self, began: float, reason: str) -> None:
        """There is reason to think that alt is down, and no answer since ``began`` against it: from here on one request
        at a time, until one is answered."""
        if not self.down and self.good_at <= began:
            self._probe = None
            self._doubted = True
            self._turn(State.PROBING, reason)

    def trust(self) -> None:
        """The reason for the doubt is gone."""
        if self.down and self._doubted:
            self._recover()

    def refresh(self) -> None:
        """What was long ago is forgotten, also when nobody asks alt any more."""
        last = self._answers[-1].at if self._answers else self._up_at
        if self.state is State.UNSTABLE and self._clock.monotonic() - last > FORGOTTEN:
            self._settle()

    # ------------------------------------------------------------ judgement

    def _failed(self, reason: str) -> None:
        now = self._clock.monotonic()
        self._failures += 1
        self._steady = 0
        self._answers.append(Answer(now, failed=True, trouble=True))
        in_a_row = self._failures >= self._section.breaker_failures and now - self.good_at >= QUIET
        if in_a_row or self._hopeless(now):
            self._fall(f"{self._failures} failures in a row: {reason}" if in_a_row else reason)
        else:
            self._judge(reason)

    def _hopeless(self, now: float) -> bool:
        answers = self._answers
        if len(answers) < REMEMBERED or now - answers[0].at < QUIET or now - answers[0].at > FORGOTTEN:
            return False
        return sum(answer.failed for answer in answers) >= HOPELESS

    def _judge(self, reason: str) -> None:
        if self.state is not State.NORMAL:
            return
        now = self._clock.monotonic()
        trouble = sum(answer.trouble and now - answer.at <= FORGOTTEN for answer in self._answers)
        if trouble >= TROUBLED:
            self._turn(State.UNSTABLE, f"{trouble} of the last {len(self._answers)} requests: {reason}")

    def _fall(self, reason: str) -> None:
        if not self.down and self._answered >= ENOUGH:
            self._falls = 0
        longest, first = float(self._section.breaker_max_pause), float(self._section.breaker_pause)
        pause = min(longest, first * 2.0 ** min(self._falls, 30)) * (0.5 + 0.5 * self._random())
        self._falls += 1
        self._steady = 0
        self._doubted = False
        self._probe = None
        self._probe_at = self._clock.monotonic() + pause
        self._turn(State.DOWN, reason)

    def _recover(self) -> None:
        self._forget()
        self._up_at = self._clock.monotonic()
        self._answered = 0
        self._turn(State.UNSTABLE, "alt was down a moment ago")

    def _settle(self) -> None:
        self._forget()
        self._falls = 0
        self._turn(State.NORMAL, "")

    def _forget(self) -> None:
        self._probe = None
        self._answers.clear()

    def _turn(self, state: State, reason: str) -> None:
        """Down and probing are one outage: it has one beginning, however many probes fail."""
        before, self.reason = self.state, reason
        if state is before:
            return
        outage = self.down
        self.state = state
        if not (outage and self.down):
            self.since = self._clock.now()
            self.changes += 1
        self._changed(self)
