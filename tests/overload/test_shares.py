"""Places and whose turn it is, without time and without threads."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from tierproxy.shares import SLOW, Guest, Places


class Client(Guest):
    """One who moves ``speed`` bytes a second; None: nobody waits for it."""

    __slots__ = ("speed", "told")

    def __init__(self, client: str, speed: float | None = None) -> None:
        super().__init__(client)
        self.speed = speed
        self.told = 0

    def pace(self) -> float | None:
        return self.speed

    def give_way(self) -> None:
        self.told += 1


ANN, BOB, EVE = Client("ann"), Client("bob"), Client("eve")


def filled(limit: int, *guests: Guest, spare: int = 0) -> Places:
    places = Places(limit, spare=spare)
    for guest in guests:
        assert places.take(guest)
    return places


def test_a_client_alone_may_have_every_place_and_no_spare_one() -> None:
    places = filled(4, ANN, ANN, ANN, ANN, spare=2)
    assert (places.taken, places.held("ann"), places.take(ANN)) == (4, 4, False)


def test_one_with_less_than_his_share_finds_a_spare_place() -> None:
    places = filled(4, ANN, ANN, ANN, ANN, spare=3)
    assert (places.take(BOB), places.take(BOB)) == (True, True)
    assert not places.take(BOB)  # two of four are the half of it
    assert places.take(EVE)
    assert not places.take(Client("fay"))  # what is spare has an end


def test_who_has_had_too_much_does_not_come_back_before_there_is_room() -> None:
    places = filled(2, ANN, ANN, spare=1)
    assert places.take(BOB)
    places.leave(ANN)
    assert not places.take(ANN)
    places.leave(BOB)
    assert places.take(ANN)


def test_amounts_are_places_too() -> None:
    places = Places(10, spare=2)
    assert (places.take(ANN, 7), places.take(ANN, 4), places.take(BOB, 5)) == (True, False, True)
    places.leave(ANN, 7)
    assert (places.taken, places.held("ann"), places.held("bob")) == (5, 0, 5)


async def test_of_those_who_wait_the_one_who_has_least_is_next() -> None:
    places = filled(2, ANN, ANN)
    waiting = [(guest, places.queue(guest)) for guest in (ANN, ANN, ANN, BOB, EVE)]
    assert places.waiting == 5
    places.leave(ANN)
    assert [place.done() for _, place in waiting] == [False, False, False, True, False]
    places.leave(BOB)  # ann has one of two still
    assert [place.done() for _, place in waiting] == [False, False, False, True, True]
    places.leave(EVE)
    places.leave(ANN)
    assert [place.done() for _, place in waiting] == [True, True, False, True, True]
    for guest, place in waiting[:3]:
        places.withdraw(guest, place)
    assert (places.taken, places.waiting) == (0, 0)


async def test_clients_with_as_much_take_turns() -> None:
    places = filled(1, EVE)
    waiting = [(guest, places.queue(guest)) for guest in (ANN, ANN, ANN, BOB, BOB, BOB)]
    order = []
    guest: Guest = EVE
    for _ in range(6):
        places.leave(guest)
        [(guest, place)] = [(one, place) for one, place in waiting if place.done()]
        waiting = [(one, other) for one, other in waiting if other is not place]
        order.append(guest.client)
    places.leave(guest)
    assert order == ["ann", "bob"] * 3


async def test_one_who_waits_no_longer_is_forgotten_and_a_place_it_got_meanwhile_goes_on() -> None:
    places = filled(1, EVE)
    first, second = places.queue(ANN), places.queue(BOB)
    places.leave(EVE)
    assert first.done()
    places.withdraw(ANN, first)
    assert second.done()
    places.withdraw(BOB, second)
    third = asyncio.get_running_loop().create_future()
    third.cancel()
    places.withdraw(ANN, third)
    assert (places.taken, places.waiting) == (0, 0)


def test_the_slowest_of_those_with_more_than_their_share_gives_way() -> None:
    slow, slower, fast, waited = Client("ann", 9.0), Client("ann", 3.0), Client("ann", SLOW + 1.0), Client("ann")
    small = Client("bob", 1.0)
    places = filled(5, slow, slower, fast, waited, small)
    assert places.make_room("eve")
    assert [one.told for one in (slow, slower, fast, waited, small)] == [0, 1, 0, 0, 0]
    places.leave(slower)
    places.leave(slow)
    assert not places.make_room("eve")


def test_ones_own_slow_requests_give_way_as_well() -> None:
    slow = Client("ann", 9.0)
    places = filled(2, slow, Client("bob"))
    assert not places.make_room("bob")
    assert places.make_room("ann")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60), st.integers(1, 6), st.integers(0, 3))
def test_no_more_places_are_given_than_there_are_and_all_come_back(
    steps: list[tuple[str, bool]], limit: int, spare: int
) -> None:
    asyncio.run(_walk(steps, limit, spare))


async def _walk(steps: list[tuple[str, bool]], limit: int, spare: int) -> None:
    places = Places(limit, spare=spare)
    here: list[tuple[Guest, asyncio.Future[None]]] = []
    for client, comes in steps:
        if comes:
            guest = Guest(client)
            here.append((guest, places.queue(guest)))
        elif here:
            places.withdraw(*here.pop(len(here) // 2))
        granted = sum(place.done() for _, place in here)
        assert places.taken == granted <= limit + spare
        assert places.waiting == len(here) - granted
        assert granted >= min(limit, len(here))  # nobody waits beside a free place
    while here:
        places.withdraw(*here.pop())
    assert (places.taken, places.waiting) == (0, 0)
