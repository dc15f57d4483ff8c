"""The table of sessions, and how tries to log in are slowed down, on virtual time."""

from __future__ import annotations

import pytest

from tierproxy.admin.accounts import COMMAND_LINE, Account, Accounts
from tierproxy.admin.attempts import FREE, LONGEST_WAIT, MOST_CODES, REMEMBERED, Attempts, LoginCodes
from tierproxy.admin.callers import Role
from tierproxy.admin.sessions import MOST, MOST_OF_ONE, Sessions
from tierproxy.config.credentials import token_hash
from tierproxy.config.operators import AdminSection
from tierproxy.config.values import Duration
from tierproxy.testing.clock import VirtualClock

ANN = Account("ann", Role.OPERATE, None, token_hash("ann's"))
BOB = Account("bob", Role.READ, None, token_hash("bob's"))
SETTINGS = AdminSection(session_lifetime=Duration(1000), session_idle=Duration(100))


def table(clock: VirtualClock) -> Sessions:
    return Sessions(clock, lambda: SETTINGS)


async def test_a_session_ends_when_it_is_not_used() -> None:
    clock = VirtualClock()
    sessions = table(clock)
    id, session = sessions.begin(ANN)
    await clock.advance(99)
    assert sessions.use(id) is session
    await clock.advance(99)
    assert sessions.is_open(session)
    assert sessions.use(id) is session
    await clock.advance(100)
    assert not sessions.is_open(session)
    assert sessions.use(id) is None


async def test_a_session_ends_however_much_it_is_used() -> None:
    clock = VirtualClock()
    sessions = table(clock)
    id, session = sessions.begin(ANN)
    for _ in range(19):
        await clock.advance(50)
        assert sessions.use(id) is session
    assert sessions.left(session) == 50
    await clock.advance(50)
    assert sessions.use(id) is None


def test_the_wall_clock_has_no_say() -> None:
    clock = VirtualClock()
    sessions = table(clock)
    id, session = sessions.begin(ANN)
    clock.jump_wall(10**6)
    assert sessions.use(id) is session


def test_a_session_that_was_logged_out_is_gone() -> None:
    sessions = table(VirtualClock())
    id, session = sessions.begin(ANN)
    other, _ = sessions.begin(ANN)
    sessions.end(session)
    assert sessions.use(id) is None
    assert sessions.use(other) is not None
    assert sessions.end_of({"ann"}) == 1
    assert sessions.use(other) is None


def test_ids_are_long_random_and_not_in_the_table() -> None:
    sessions = table(VirtualClock())
    ids = {sessions.begin(ANN)[0] for _ in range(20)}
    assert len(ids) == 20
    assert all(len(id) >= 43 for id in ids)
    assert not ids & set(sessions._all)


def test_there_are_only_so_many_sessions() -> None:
    sessions = table(VirtualClock())
    first = sessions.begin(ANN)[0]
    for _ in range(MOST_OF_ONE):
        sessions.begin(ANN)
    assert sessions.use(first) is None, "the one unused longest made room"
    for number in range(MOST + 10):
        sessions.begin(Account(f"a{number}", Role.READ))
    assert len(sessions) == MOST


def test_replacing_accounts_names_those_that_are_gone_or_changed() -> None:
    accounts = Accounts("the command line's")
    assert accounts.replace([ANN, BOB]) == set()
    assert accounts.replace([ANN, Account("bob", Role.OPERATE, None, BOB.token)]) == {"bob"}
    assert accounts.replace([]) == {"ann", "bob"}
    found = accounts.with_token("the command line's")
    assert found is not None
    assert found.name == COMMAND_LINE
    assert accounts.with_token("ann's") is None


# ---------------------------------------------------------------- tries


async def test_waits_double_and_end() -> None:
    clock = VirtualClock()
    attempts = Attempts(clock)
    waits = []
    for _ in range(FREE + 8):
        attempts.begin("ann", "10.0.0.1")
        waits.append(attempts.wait("ann", "10.0.0.9"))
        await clock.advance(attempts.wait("ann", "10.0.0.1"))
    assert waits[: FREE - 1] == [0.0] * (FREE - 1)
    assert waits[FREE - 1 :] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert attempts.wait("ann", "10.0.0.1") == 0


def test_an_address_waits_for_all_the_accounts_it_tried() -> None:
    attempts = Attempts(VirtualClock())
    for number in range(FREE + 20):
        attempts.begin(f"name{number}", "10.0.0.1")
    assert attempts.wait("ann", "10.0.0.1") == LONGEST_WAIT["address"]
    assert attempts.wait("ann", "10.0.0.2") == 0


def test_an_ipv6_network_is_one_address() -> None:
    attempts = Attempts(VirtualClock())
    for number in range(FREE):
        attempts.begin(f"name{number}", f"2001:db8::{number:x}")
    assert attempts.wait("ann", "2001:db8::ffff") > 0
    assert attempts.wait("ann", "2001:db8:1::1") == 0


def test_a_right_password_frees_the_account_and_not_the_address() -> None:
    attempts = Attempts(VirtualClock())
    for _ in range(FREE):
        attempts.begin("ann", "10.0.0.1")
    attempts.begin("bob", "10.0.0.1")
    attempts.succeed("bob", "10.0.0.1")
    assert attempts.wait("ann", "10.0.0.2") > 0
    assert attempts.wait("bob", "10.0.0.2") == 0
    assert attempts.wait("bob", "10.0.0.1") > 0


def test_tries_take_bounded_memory() -> None:
    attempts = Attempts(VirtualClock())
    for number in range(REMEMBERED):
        attempts.begin(f"name{number}", f"address{number}")
    assert len(attempts._tries) == REMEMBERED


def test_codes_take_bounded_memory() -> None:
    codes = LoginCodes(VirtualClock())
    made = [codes.make() for _ in range(MOST_CODES + 1)]
    assert not codes.take(made[0])
    assert codes.take(made[-1])


@pytest.mark.parametrize(("has", "wants", "may"), [("read", "operate", False), ("operate", "read", True)])
def test_operate_includes_read(has: str, wants: str, may: bool) -> None:
    assert Role(has).covers(Role(wants)) is may
