"""Who makes room for a newcomer."""

from __future__ import annotations

from tierproxy.server.capacity import BLIND, YOUNG, Capacity


class One:
    def __init__(self, everybody: set[One], peer: str, since: float | None) -> None:
        self._everybody = everybody
        self.peer_name = peer
        self.resting = since
        self.told = 0
        everybody.add(self)

    def give_way(self) -> None:
        self.told += 1

    def go(self) -> None:
        self._everybody.discard(self)


def crowd(most: int, *of: tuple[str, float | None]) -> tuple[Capacity, list[One]]:
    everybody: set[One] = set()
    found = [One(everybody, peer, since) for peer, since in of]
    return Capacity(everybody, most), found


def test_below_the_limit_nobody_goes() -> None:
    capacity, found = crowd(3, ("a", 1.0), ("a", 2.0))
    assert capacity.admits("b", 10.0)
    assert not any(one.told for one in found)


def test_who_is_idle_for_longest_goes_and_once() -> None:
    capacity, found = crowd(3, ("a", 2.0), ("a", 1.0), ("a", 3.0))
    assert capacity.admits("a", 10.0)
    assert [one.told for one in found] == [0, 1, 0]
    assert capacity.occupied == 2
    everybody = found[0]._everybody
    One(everybody, "a", 10.0)  # the newcomer
    assert capacity.admits("a", 10.0)
    assert [one.told for one in found] == [1, 1, 0]
    for one in found[:2]:
        one.go()
    assert (capacity.occupied, capacity.displaced, capacity.refused) == (2, 2, 0)


def test_who_is_being_answered_stays_and_the_newcomer_is_refused() -> None:
    capacity, found = crowd(2, ("a", None), ("b", None))
    assert not capacity.admits("c", 10.0)
    assert not any(one.told for one in found)
    assert capacity.told() == {"connection refused": 1, "idle connection closed": 0, "accept failed": 0}


def test_one_that_is_asked_again_meanwhile_stays() -> None:
    capacity, found = crowd(3, ("a", 1.0), ("a", 2.0), ("a", 3.0))
    assert capacity.displace("a", 10.0)
    found[1].resting = None
    assert capacity.displace("a", 10.0)
    assert [one.told for one in found] == [1, 0, 1]


def test_a_peer_with_more_than_its_share_displaces_nobody_who_has_less() -> None:
    capacity, found = crowd(5, ("flood", None), ("flood", None), ("flood", None), ("quiet", 1.0), ("still", 1.0))
    assert not capacity.admits("flood", 10.0)
    assert capacity.admits("new", 10.0)
    assert sum(one.told for one in found) == 1


def test_idle_ones_of_the_peer_with_too_many_go_first() -> None:
    capacity, found = crowd(4, ("quiet", 1.0), ("flood", 5.0), ("flood", 6.0), ("flood", 7.0))
    assert capacity.admits("new", 10.0)
    assert capacity.admits("flood", 10.0) or True
    assert [one.told for one in found][:2] == [0, 1]


def test_who_may_just_be_asking_is_left_alone_unless_he_has_too_much() -> None:
    now = 10.0
    capacity, found = crowd(3, ("a", now), ("b", now), ("c", now))
    assert not capacity.admits("new", now + YOUNG / 2)
    assert not any(one.told for one in found)
    capacity, found = crowd(3, ("flood", now), ("flood", now), ("c", now))
    assert not capacity.admits("flood", now + YOUNG / 2)
    assert capacity.admits("new", now + YOUNG / 2)
    assert [one.told for one in found][2] == 0
    assert sum(one.told for one in found) == 1


def test_one_that_shakes_hands_can_be_displaced() -> None:
    capacity, _ = crowd(1)
    arrival = One(set(), "a", 3.0)
    capacity.arriving.add(arrival)
    assert capacity.admits("b", 10.0)
    assert arrival.told == 1


def test_everybody_is_not_looked_at_again_and_again_in_vain() -> None:
    looks = 0

    class Busy(One):
        @property
        def resting(self) -> float | None:
            nonlocal looks
            looks += 1
            return None

        @resting.setter
        def resting(self, since: float | None) -> None:
            """Never."""

    everybody: set[Busy] = set()
    for _ in range(100):
        Busy(everybody, "a", None)  # type: ignore[arg-type]
    capacity = Capacity(everybody, 100)
    for _ in range(50):
        assert not capacity.admits("b", 10.0)
    assert looks == 100
    assert not capacity.admits("b", 10.0 + BLIND)
    assert looks == 200
