"""The states of alt, on a clock that moves when told: each rule by itself, whole lives against a model, and how alts
that are gone, that come and go, and that are slow are treated."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierproxy.config.sections import AltSection
from tierproxy.config.values import Duration
from tierproxy.errors import AltUnavailable
from tierproxy.ports import State
from tierproxy.store.breaker import Breaker, Ticket

SECTION = AltSection(breaker_failures=5, breaker_pause=Duration(1), breaker_max_pause=Duration(30))
DEFAULT = AltSection()
ERROR = AltUnavailable("no route")


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time + 1e9

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError

    def call_later(self, seconds: float, call: Callable[[], object]) -> object:
        raise NotImplementedError


class Bench:
    """A breaker, its clock, and what it has told."""

    def __init__(self, jitter: Callable[[], float] = lambda: 1.0, section: AltSection = SECTION) -> None:
        self.clock = Hand()
        self.told: list[State] = []
        self.breaker = Breaker(section, self.clock, jitter, lambda one: self.told.append(one.state))  # type: ignore[arg-type]

    def state(self) -> State:
        return self.breaker.state

    def ask(self) -> Ticket:
        ticket = self.breaker.admit()
        assert ticket is not None
        return ticket

    def refused(self) -> bool:
        return self.breaker.admit() is None

    def fail(self, times: int = 1) -> None:
        for _ in range(times):
            self.breaker.bad(self.ask(), ERROR)

    def succeed(self, times: int = 1, *, slow: bool = False) -> None:
        for _ in range(times):
            self.breaker.good(self.ask(), slow=slow)

    def later(self, seconds: float) -> None:
        self.clock.time += seconds

    def fallen(self) -> Bench:
        self.later(3)
        self.fail(5)
        assert self.state() is State.DOWN
        return self


def test_failures_in_a_row_and_no_answer_for_two_seconds_are_down() -> None:
    bench = Bench()
    bench.succeed()
    bench.fail(9)
    assert bench.state() is not State.DOWN
    bench.later(2)
    bench.fail()
    assert bench.state() is State.DOWN
    assert "10 failures in a row: no route" in bench.breaker.reason


def test_a_few_failures_after_a_quiet_time_are_not_down() -> None:
    bench = Bench()
    bench.later(100)
    bench.fail(4)
    bench.succeed()
    bench.later(100)
    bench.fail(4)
    assert not bench.breaker.down


def test_nearly_all_failing_is_down_whatever_comes_in_between() -> None:
    bench = Bench()
    for number in range(40):
        bench.later(0.2)
        if bench.breaker.down:
            break
        bench.succeed() if number % 10 == 0 else bench.fail()
    assert bench.state() is State.DOWN


def test_while_down_nobody_has_leave_until_the_pause_is_over_and_then_one() -> None:
    bench = Bench().fallen()
    assert bench.refused()
    assert bench.breaker.wait == pytest.approx(1)
    bench.later(0.4)
    assert bench.breaker.wait == pytest.approx(0.6)
    assert bench.refused()
    bench.later(0.6)
    probe = bench.ask()
    assert bench.state() is State.PROBING
    assert bench.refused()
    assert bench.breaker.wait == 1
    bench.breaker.good(probe)
    assert bench.state() is State.UNSTABLE
    assert not bench.refused()


def test_the_pause_doubles_with_each_probe_that_fails_up_to_a_bound() -> None:
    bench = Bench().fallen()
    pauses = []
    for _ in range(8):
        pauses.append(bench.breaker.wait)
        bench.later(bench.breaker.wait)
        bench.fail()
    assert pauses == pytest.approx([1, 2, 4, 8, 16, 30, 30, 30])


def test_pauses_have_jitter() -> None:
    assert Bench(lambda: 0.0).fallen().breaker.wait == pytest.approx(0.5)


def test_a_probe_that_came_to_nothing_leaves_the_place_to_another() -> None:
    bench = Bench().fallen()
    bench.later(1)
    bench.breaker.void(bench.ask())
    assert bench.state() is State.PROBING
    assert bench.ask().probe


def test_a_probe_that_takes_for_ever_keeps_nobody_out_for_ever() -> None:
    bench = Bench().fallen()
    bench.later(1)
    slow = bench.ask()
    bench.later(29)
    assert bench.refused()
    bench.later(1)
    bench.breaker.bad(bench.ask(), ERROR)
    assert bench.state() is State.DOWN
    bench.breaker.good(slow)  # a large upload that did arrive
    assert bench.state() is State.UNSTABLE


def test_what_was_sent_before_says_nothing_by_failing_and_everything_by_succeeding() -> None:
    bench = Bench()
    early, late = bench.ask(), bench.ask()
    bench.fallen()
    wait = bench.breaker.wait
    bench.breaker.bad(early, ERROR)
    assert bench.breaker.wait == wait
    bench.breaker.good(late)
    assert bench.state() is State.UNSTABLE


def test_some_failures_are_unstable_and_good_answers_in_a_row_are_normal_again() -> None:
    bench = Bench()
    for _ in range(5):
        bench.succeed()
        bench.fail()
    assert bench.state() is State.UNSTABLE
    bench.succeed(9)
    bench.fail()
    bench.succeed(9)
    assert bench.state() is State.UNSTABLE
    bench.succeed()
    assert bench.state() is State.NORMAL
    assert bench.breaker.reason == ""


def test_slow_answers_are_unstable_and_never_down() -> None:
    bench = Bench()
    for _ in range(50):
        bench.later(10)
        bench.succeed(slow=True)
    assert bench.told == [State.UNSTABLE]
    assert "longer than 5 s" in bench.breaker.reason


def test_an_alt_nobody_asks_any_more_is_taken_to_be_well_after_a_while() -> None:
    bench = Bench()
    bench.fail(5)
    assert bench.state() is State.UNSTABLE
    bench.later(119)
    bench.breaker.refresh()
    assert bench.state() is State.UNSTABLE
    bench.later(2)
    bench.breaker.refresh()
    assert bench.state() is State.NORMAL


def test_after_an_outage_it_is_unstable_until_it_has_answered_for_a_while() -> None:
    bench = Bench().fallen()
    bench.later(1)
    bench.succeed(9)
    assert bench.state() is State.UNSTABLE
    bench.succeed()
    assert bench.told == [State.DOWN, State.PROBING, State.UNSTABLE, State.NORMAL]


def test_a_relapse_goes_on_with_the_longer_pauses_unless_alt_has_answered_some_requests_meanwhile() -> None:
    bench = Bench().fallen()
    bench.later(1)
    bench.succeed()
    bench.fallen()
    assert bench.breaker.wait == pytest.approx(2)
    bench.later(2)
    bench.succeed()
    for _ in range(9):
        bench.fail()
        bench.succeed()
    bench.fallen()
    assert bench.breaker.wait == pytest.approx(1)


def test_down_and_probing_are_one_outage_with_one_beginning() -> None:
    bench = Bench().fallen()
    since = bench.breaker.since
    for _ in range(6):
        bench.later(bench.breaker.wait)
        bench.fail()
    assert (bench.breaker.since, bench.breaker.changes) == (since, 1)
    bench.later(30)
    bench.succeed()
    assert bench.breaker.since > since
    assert bench.breaker.changes == 2


def test_silence_is_down_at_once_unless_somebody_else_was_answered_meanwhile() -> None:
    bench = Bench()
    began = bench.clock.time
    bench.later(5)
    bench.succeed()
    bench.later(5)
    bench.breaker.silent(began, ERROR)
    assert not bench.breaker.down
    bench.breaker.silent(bench.clock.time - 1, ERROR)
    assert bench.state() is State.DOWN
    wait = bench.breaker.wait
    bench.breaker.silent(began, ERROR)
    assert bench.breaker.wait == wait


def test_doubt_lets_one_at_a_time_ask_and_the_first_answer_ends_it() -> None:
    bench = Bench()
    bench.later(10)
    bench.breaker.doubt(bench.clock.time - 5, "changes are down")
    assert bench.state() is State.PROBING
    probe = bench.ask()
    assert bench.refused()
    bench.breaker.good(probe)
    assert bench.state() is State.UNSTABLE


def test_there_is_no_doubt_of_what_has_just_answered() -> None:
    bench = Bench()
    bench.later(10)
    bench.succeed()
    bench.breaker.doubt(bench.clock.time - 5, "changes are down")
    assert bench.state() is State.NORMAL


# ---------------------------------------------------------------- whole lives


@dataclass
class Naive:
    """The rules once more, over the whole history instead of counts. ``ever``: (time, what) of good, slow, bad and
    fall; ``fresh``: from where on answers count."""

    time: float = 1000.0
    state: State = State.NORMAL
    ever: list[tuple[float, str]] = field(default_factory=list)
    fresh: int = 0
    falls: list[float] = field(default_factory=list)  # pauses, since they began with the shortest
    probe_at: float = 0.0
    probe: object = None
    probe_began: float = 0.0
    doubted: bool = False
    up_at: float = 1000.0

    @property
    def good_at(self) -> float:
        return max([at for at, what in self.ever if what in {"good", "slow"}], default=1000.0)

    def trailing(self, these: set[str], over: set[str]) -> int:
        count = 0
        for _, what in reversed([one for one in self.ever if one[1] not in over]):
            if what not in these:
                break
            count += 1
        return count

    def recent(self) -> list[tuple[float, str]]:
        return [one for one in self.ever[self.fresh :] if one[1] != "fall"][-20:]

    def admits(self) -> bool:
        if self.state in {State.NORMAL, State.UNSTABLE}:
            return True
        if self.state is State.DOWN and self.time >= self.probe_at:
            self.state = State.PROBING
        return self.state is State.PROBING and (self.probe is None or self.time - self.probe_began >= 30)

    def gave(self, ticket: Ticket) -> None:
        if self.state is State.PROBING:
            self.probe, self.probe_began = ticket, self.time

    def ended(self, ticket: object, what: str) -> None:
        down = self.state in {State.DOWN, State.PROBING}
        if what == "void" or (what == "bad" and down):
            mine = ticket is not None and ticket is self.probe
            self.probe = None if mine else self.probe
            if mine and what == "bad":
                self.fall()
            return
        if down:
            self.recover()
        self.ever.append((self.time, what))
        if what == "bad" and self.hopeless():
            self.fall()
        elif what != "good":
            self.judge()
        elif self.state is State.UNSTABLE and self.trailing({"good"}, set()) >= 10:
            self.well()

    def recover(self) -> None:
        self.probe, self.state, self.fresh, self.up_at = None, State.UNSTABLE, len(self.ever), self.time

    def hopeless(self) -> bool:
        recent = self.recent()
        row = self.trailing({"bad"}, {"fall"}) >= 5 and self.time - self.good_at >= 2
        span = self.time - recent[0][0]
        return row or (len(recent) == 20 and 2 <= span <= 120 and [what for _, what in recent].count("bad") >= 18)

    def judge(self) -> None:
        trouble = [at for at, what in self.recent() if what != "good" and self.time - at <= 120]
        if self.state is State.NORMAL and len(trouble) >= 5:
            self.state = State.UNSTABLE

    def fall(self) -> None:
        answered = [what for _, what in self.ever[self.fresh :] if what in {"good", "slow"}]
        if self.state in {State.NORMAL, State.UNSTABLE} and len(answered) >= 10:
            self.falls = []
        self.falls.append(min(30.0, 2.0 ** len(self.falls)))
        self.probe, self.probe_at, self.state = None, self.time + self.falls[-1], State.DOWN
        self.doubted = False
        self.ever.append((self.time, "fall"))

    def well(self) -> None:
        self.state, self.fresh, self.probe, self.falls = State.NORMAL, len(self.ever), None, []
        self.falls = self.falls[-1:] and [] if not self.falls else []

    def silent(self, began: float) -> None:
        if self.state is State.DOWN:
            return
        if self.good_at > began and self.state is not State.PROBING:
            self.ended(None, "bad")
        else:
            self.fall()

    def doubt(self, began: float) -> None:
        if self.state in {State.NORMAL, State.UNSTABLE} and self.good_at <= began:
            self.state, self.probe, self.doubted = State.PROBING, None, True

    def trust(self) -> None:
        if self.state in {State.DOWN, State.PROBING} and self.doubted:
            self.recover()

    def refresh(self) -> None:
        last = self.recent()[-1][0] if self.recent() else self.up_at
        if self.state is State.UNSTABLE and self.time - last > 120:
            self.well()


steps = st.one_of(
    st.tuples(st.just("ask"), st.just(0.0)),
    st.tuples(st.sampled_from(("good", "good", "slow", "bad", "bad", "bad", "void")), st.just(0.0)),
    st.tuples(st.just("burst"), st.sampled_from((4.0, 9.0, 10.0, 20.0))),
    st.tuples(st.just("storm"), st.sampled_from((4.0, 5.0, 20.0))),
    st.tuples(st.just("advance"), st.sampled_from((0.1, 0.5, 1.0, 2.0, 4.0, 31.0, 130.0))),
    st.tuples(st.sampled_from(("silent", "doubt")), st.sampled_from((0.0, 1.0, 10.0))),
    st.tuples(st.sampled_from(("refresh", "trust")), st.just(0.0)),
)


@settings(max_examples=300, deadline=None)
@given(life=st.lists(steps, max_size=60))
def test_whatever_happens_it_does_as_the_rules_say(life: list[tuple[str, float]]) -> None:
    bench, naive, held = Bench(), Naive(), list[Ticket]()

    def ask() -> None:
        ticket, admitted = bench.breaker.admit(), naive.admits()
        assert (ticket is not None) == admitted
        if ticket is not None:
            naive.gave(ticket)
            held.append(ticket)

    def end(what: str) -> None:
        if held:
            ticket = held.pop(0)
            naive.ended(ticket, what)
            if what in {"good", "slow"}:
                bench.breaker.good(ticket, slow=what == "slow")
            else:
                bench.breaker.bad(ticket, ERROR) if what == "bad" else bench.breaker.void(ticket)

    for what, number in life:
        if what == "ask":
            ask()
        elif what == "advance":
            bench.later(number)
            naive.time += number
        elif what in {"silent", "doubt"}:
            began = naive.time - number
            getattr(naive, what)(began)
            bench.breaker.silent(began, ERROR) if what == "silent" else bench.breaker.doubt(began, "why")
        elif what in {"refresh", "trust"}:
            getattr(bench.breaker, what)()
            getattr(naive, what)()
        elif what in {"burst", "storm"}:
            for _ in range(int(number)):
                ask()
                end("good" if what == "burst" else "bad")
        else:
            end(what)
        assert bench.state() is naive.state, (what, number)
        if bench.state() is State.DOWN:
            assert bench.breaker.wait == pytest.approx(max(0.0, naive.probe_at - naive.time))


# ---------------------------------------------------------------- alts


@dataclass
class Course:
    """What became of the requests of some time."""

    asked: int = 0
    served: int = 0
    refused: int = 0
    longest: float = 0.0  #: seconds without leave


def course(works: Callable[[int], bool], rate: float, seconds: float) -> Course:
    """``rate`` requests a second to an alt that answers the n-th that reaches it if ``works`` says so."""
    bench, found, out_since = Bench(random.Random(1).random, DEFAULT), Course(), -1.0
    for _ in range(int(rate * seconds)):
        bench.later(1 / rate)
        ticket = bench.breaker.admit()
        if ticket is None:
            found.refused += 1
            out_since = bench.clock.time if out_since < 0 else out_since
            found.longest = max(found.longest, bench.clock.time - out_since)
            continue
        out_since, found.asked = -1.0, found.asked + 1
        if works(found.asked):
            found.served += 1
            bench.breaker.good(ticket)
        else:
            bench.breaker.bad(ticket, ERROR)
    return found


@pytest.mark.parametrize("rate", [0.1, 1, 10, 200])
def test_an_alt_that_fails_every_second_request_goes_on_being_asked(rate: float) -> None:
    found = course(lambda number: number % 2 == 0, rate, 1200)
    assert not found.refused
    assert found.served == found.asked // 2


@pytest.mark.parametrize("rate", [1, 10, 200])
def test_nor_does_one_that_fails_half_of_them_by_chance_lock_clients_out_for_long(rate: float) -> None:
    chance = random.Random(1)
    courses = [course(lambda _number: chance.random() < 0.5, rate, 600) for _ in range(6)]
    refused, asked = (sum(getattr(one, what) for one in courses) for what in ("refused", "asked"))
    assert refused <= 0.1 * (refused + asked)
    assert max(one.longest for one in courses) <= 10


def test_an_alt_that_is_gone_is_asked_next_to_nothing() -> None:
    found = course(lambda _number: False, 100, 600)
    assert found.asked < 200 + 130  # two seconds, and then a probe in 5 seconds or more
    assert found.longest <= 10


def test_an_alt_that_is_back_is_noticed_with_the_next_probe() -> None:
    found = course(lambda number: number > 220, 100, 600)
    assert found.served > 0
    assert found.longest <= 10
