"""A 404 to a delete: believed when it is said again, later, and nothing else contradicts it."""

from __future__ import annotations

import pytest

from tests.alt.liars import DATE, Behaviour, in_turn, liar, says
from tests.alt.test_alt_trouble import KEYS, NAME, alt_at, delete, put
from tierproxy.alt.denials import DOUBT, NAMES, Denials
from tierproxy.errors import AltMissing, AltUncertain
from tierproxy.model import ObjectName
from tierproxy.testing.clock import VirtualClock

NOTHING = says(404, "NoSuchKey")


def denied(denials: Denials, name: ObjectName = NAME) -> type[Exception]:
    with pytest.raises((AltMissing, AltUncertain)) as caught, denials.doubted(name):
        raise AltMissing
    return caught.type


async def test_a_denial_counts_when_it_is_said_again_later() -> None:
    clock = VirtualClock()
    denials = Denials(clock)
    assert [denied(denials), denied(denials)] == [AltUncertain] * 2
    await clock.advance(DOUBT)
    assert denied(denials) is AltMissing


async def test_a_delete_that_is_confirmed_ends_the_doubt() -> None:
    clock = VirtualClock()
    denials = Denials(clock)
    denied(denials)
    await clock.advance(DOUBT)
    with denials.doubted(NAME):
        """Confirmed."""
    assert denied(denials) is AltUncertain


def test_denials_are_bounded() -> None:
    denials = Denials(VirtualClock())
    for number in range(NAMES + 10):
        denied(denials, ObjectName("mail", str(number)))
    assert len(denials._first) == NAMES


@KEYS
@pytest.mark.parametrize("second", [NOTHING, says(200, headers=b'ETag: "x"\r\n' + DATE, body=b"")])
async def test_a_delete_that_meets_a_404_is_not_done(second: Behaviour, name: ObjectName) -> None:
    async with liar(in_turn(NOTHING, second)) as server, alt_at(server.endpoint) as alt:
        with pytest.raises(AltUncertain):
            await delete(alt, name)


TAKEN = says(200, headers=b'ETag: "5d41402abc4b2a76b9719d911017c592"\r\n' + DATE, body=b"")


@KEYS
async def test_a_denial_from_before_the_object_was_written_again_does_not_count(name: ObjectName) -> None:
    async with liar(in_turn(TAKEN, NOTHING, NOTHING)) as server, alt_at(server.endpoint) as alt:
        alt._denials._first[name] = -2 * DOUBT
        await put(alt, name)
        with pytest.raises(AltUncertain):
            await delete(alt, name)


@KEYS
async def test_a_denial_that_counted_does_not_count_for_the_next_delete(name: ObjectName) -> None:
    async with liar(in_turn(NOTHING, NOTHING, NOTHING)) as server, alt_at(server.endpoint) as alt:
        alt._denials._first[name] = -2 * DOUBT
        await delete(alt, name)
        with pytest.raises(AltUncertain):
            await delete(alt, name)
