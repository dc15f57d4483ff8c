"""Each order against a simulation written from its paper, step for step: objects of equal size, one eviction a step."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from tierproxy.model import ObjectName
from tierproxy.purge import orders
from tierproxy.purge.plan import Need
from tierproxy.purges import Candidate, Eviction

ONE = Need(1, 0, "high water")
ACCESSES = st.lists(st.integers(0, 30), max_size=300)
CAPACITY = 10


def _candidate(key: int, rank: float, *, visits: int = 0, main: bool = False, size: int = 1) -> Candidate:
    return Candidate(ObjectName("mail", str(key)), 1, f"b{key}", size, size, None, rank, visits, main, rank)


@dataclass
class Shelf:
    """What the catalogue would hold: candidates by key, and what it books."""

    rows: dict[int, Candidate] = field(default_factory=dict)
    eviction: Eviction = field(default_factory=Eviction)
    time: float = 0.0

    def tick(self) -> float:
        self.time += 1.0
        return self.time

    def apply(self, turn: orders.Turn) -> list[int]:
        gone = [int(drop.name.key) for drop in turn.drops]
        for key in gone:
            del self.rows[key]
        for move in turn.moves:
            key = int(move.name.key)
            self.rows[key] = replace(
                self.rows[key], visits=move.visits, main=move.main, queued_at=move.queued_at, rank=move.queued_at
            )
        if turn.eviction is not None:
            self.eviction = turn.eviction
        return gone

    def queue(self, main: bool | None = None) -> list[Candidate]:
        rows = [row for row in self.rows.values() if main is None or row.main is main]
        return sorted(rows, key=lambda row: row.rank)


# ---------------------------------------------------------------- the textbooks


class Sieve:
    """NSDI '24, algorithm 1, with a list from tail (old) to head."""

    def __init__(self) -> None:
        self.queue: list[int] = []
        self.visited: set[int] = set()
        self.hand = 0

    def access(self, key: int) -> int | None:
        """What is evicted."""
        if key in self.queue:
            self.visited.add(key)
            return None
        gone = self.evict() if len(self.queue) == CAPACITY else None
        self.queue.append(key)
        return gone

    def evict(self) -> int:
        if self.hand >= len(self.queue):
            self.hand = 0
        while self.queue[self.hand] in self.visited:
            self.visited.discard(self.queue[self.hand])
            self.hand = (self.hand + 1) % len(self.queue)
        return self.queue.pop(self.hand)


class S3Fifo:
    """SOSP '23, algorithm 1, ghosts without a limit (rows stay), no eviction by a move to the main queue."""

    def __init__(self) -> None:
        self.small: deque[int] = deque()
        self.main: deque[int] = deque()
        self.ghosts: set[int] = set()
        self.frequency: dict[int, int] = {}

    def access(self, key: int) -> int | None:
        if key in self.small or key in self.main:
            self.frequency[key] = min(3, self.frequency[key] + 1)
            return None
        gone = None
        while gone is None and len(self.small) + len(self.main) == CAPACITY:
            gone = self.evict_small() if len(self.small) >= 0.1 * CAPACITY else self.evict_main()
        (self.main if key in self.ghosts else self.small).append(key)
        self.frequency[key] = 0
        return gone

    def evict_small(self) -> int | None:
        while self.small:
            key = self.small.popleft()
            if self.frequency[key] <= 1:
                self.ghosts.add(key)
                return key
            self.main.append(key)
            self.frequency[key] = 0
        return None

    def evict_main(self) -> int | None:
        while self.main:
            key = self.main.popleft()
            if self.frequency[key] == 0:
                self.ghosts.add(key)
                return key
            self.main.append(key)
            self.frequency[key] -= 1
        return None


class Gdsf:
    """Cherkasova 1998: H = L + F / S; the least H goes and becomes L."""

    def __init__(self) -> None:
        self.worth: dict[int, float] = {}
        self.reads: dict[int, int] = {}
        self.inflation = 0.0

    def access(self, key: int, size: int) -> int | None:
        gone = None
        if key not in self.worth and len(self.worth) == CAPACITY:
            gone = min(self.worth, key=lambda one: (self.worth[one], str(one)))
            self.inflation = self.worth.pop(gone)
        self.reads[key] = self.reads.get(key, 0) + 1
        self.worth[key] = self.inflation + self.reads[key] / size
        return gone


# ---------------------------------------------------------------- against them


@settings(max_examples=150, deadline=None)
@given(ACCESSES, st.integers(1, 5))
def test_sieve_evicts_what_the_paper_evicts(accesses: list[int], page: int) -> None:
    book, shelf = Sieve(), Shelf()
    for key in accesses:
        gone = None
        if key in shelf.rows:
            shelf.rows[key] = replace(shelf.rows[key], visits=min(3, shelf.rows[key].visits + 1))
        else:
            if len(shelf.rows) == CAPACITY:
                gone = _sieved(shelf, page)
            shelf.rows[key] = _candidate(key, shelf.tick())
        assert gone == book.access(key)


def _sieved(shelf: Shelf, size: int) -> int:
    """As a run does: pages behind the hand, at the end back to the oldest."""
    for _ in range(1000):
        behind = orders.after_hand(shelf.eviction).rank
        page = [row for row in shelf.queue() if row.rank > behind][:size]
        if not page:
            shelf.eviction = replace(shelf.eviction, hand=0.0)
            continue
        gone = shelf.apply(orders.sieve(ONE, page, shelf.eviction))
        if gone:
            return gone[0]
    raise AssertionError("the hand goes round for ever")


@settings(max_examples=150, deadline=None)
@given(ACCESSES, st.integers(2, 40))
def test_s3_fifo_evicts_what_the_paper_evicts(accesses: list[int], page: int) -> None:
    book, shelf, ghosts = S3Fifo(), Shelf(), set[int]()
    for key in accesses:
        gone = None
        if key in shelf.rows:
            shelf.rows[key] = replace(shelf.rows[key], visits=min(3, shelf.rows[key].visits + 1))
        else:
            if len(shelf.rows) == CAPACITY:
                gone = _s3(shelf, page)
                ghosts.add(gone)
            shelf.rows[key] = _candidate(key, shelf.tick(), main=key in ghosts)
        assert gone == book.access(key)


def _s3(shelf: Shelf, size: int) -> int:
    for _ in range(1000):
        small, main = shelf.queue(False), shelf.queue(True)
        queues = orders.Queues(
            small[:size], main[:size], len(small), len(shelf.rows), len(small) <= size, len(main) <= size
        )
        gone = shelf.apply(orders.s3_fifo(ONE, queues, shelf.eviction, shelf.tick()))
        if gone:
            return gone[0]
    raise AssertionError("the queues turn for ever")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.just(0)), max_size=200), st.data())
def test_gdsf_evicts_what_the_paper_evicts_and_inflates_as_it_does(
    accesses: list[tuple[int, int]], data: st.DataObject
) -> None:
    sizes = data.draw(st.lists(st.integers(1, 9), min_size=31, max_size=31))
    book, shelf, reads = Gdsf(), Shelf(), dict[int, int]()
    for key, _ in accesses:
        gone = None
        if key not in shelf.rows and len(shelf.rows) == CAPACITY:
            page = sorted(shelf.rows.values(), key=lambda row: (row.rank, row.name.key))
            turn = orders.gdsf(ONE, page[:3], shelf.eviction)
            gone = shelf.apply(turn)[0]
        reads[key] = reads.get(key, 0) + 1
        worth = shelf.eviction.inflation + reads[key] / sizes[key]
        shelf.rows[key] = _candidate(key, worth, size=sizes[key])
        assert gone == book.access(key, sizes[key])
        assert shelf.eviction.inflation == book.inflation


# ---------------------------------------------------------------- by example


def test_a_simple_order_takes_as_delivered_until_the_need_is_met() -> None:
    page = [_candidate(key, key, size=100) for key in range(10)]
    turn = orders.simple(Need(250, 0, "high water"), page)
    assert [drop.name.key for drop in turn.drops] == ["0", "1", "2"]
    assert (turn.looked, turn.moves, turn.eviction) == (3, (), None)


def test_what_a_rule_purges_does_not_inflate_gdsf() -> None:
    page = [replace(_candidate(0, -1.0), rule=0), _candidate(1, 0.5)]
    assert orders.gdsf(Need(2, 0, ""), page, Eviction()).eviction == Eviction(inflation=0.5)
    assert orders.gdsf(Need(1, 0, ""), page, Eviction(inflation=0.25)).eviction == Eviction(inflation=0.25)


def test_sieve_evicts_in_the_second_round_when_everything_was_visited() -> None:
    shelf = Shelf()
    for key in range(5):
        shelf.rows[key] = _candidate(key, shelf.tick(), visits=3)
    assert _sieved(shelf, 2) == 0
    assert [row.visits for row in shelf.queue()] == [0, 0, 0, 0]


def test_s3_fifo_lets_what_was_read_twice_into_the_main_queue_without_its_visits() -> None:
    small = [_candidate(0, 1.0, visits=2), _candidate(1, 2.0, visits=1)]
    turn = orders.s3_fifo(ONE, orders.Queues(small, [], 2, 2), Eviction(), 10.0)
    assert [drop.name.key for drop in turn.drops] == ["1"]
    (move,) = turn.moves
    assert (move.name.key, move.visits, move.main) == ("0", 0, True)
    assert move.queued_at > 10.0


def test_s3_fifo_stops_where_its_page_of_a_longer_queue_ends() -> None:
    main = [_candidate(0, 1.0, visits=1, main=True)]
    turn = orders.s3_fifo(ONE, orders.Queues([], main, 0, 100, main_ends=False), Eviction(), 10.0)
    assert turn.drops == ()
    assert [(move.name.key, move.visits) for move in turn.moves] == [("0", 0)]
