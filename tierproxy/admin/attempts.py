"""Tries to log in: how many an account and an address have, and codes that work once."""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
from collections import OrderedDict
from dataclasses import dataclass

from tierproxy.ports import Clock

FREE = 5  #: tries before the first wait
FIRST_WAIT = 1.0  #: seconds; doubles with every further try
LONGEST_WAIT = {"account": 60.0, "address": 900.0}
"""Seconds. That of an account is short, because everybody who knows its name can make its owner wait."""
FORGET = 3600.0  #: seconds after the last try
REMEMBERED = 10_000  #: accounts and addresses; beyond it the oldest are forgotten

CODE_LIFETIME = 300.0  #: seconds
MOST_CODES = 100


@dataclass(slots=True)
class _Tries:
    count: int
    last: float


class Attempts:
    """Exponential back-off by account and by address. A try counts when it begins, so that a hundred at once are not
    one; a right password takes it back."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tries: OrderedDict[tuple[str, str], _Tries] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Attempts of {len(self._tries)}>"

    def wait(self, account: str, address: str) -> float:
        """loop. Seconds until the next try is taken; 0: now."""
        now = self._clock.monotonic()
        return max(self._wait(key, now) for key in _keys(account, address))

    def begin(self, account: str, address: str) -> None:
        """loop. A try that has not succeeded."""
        now = self._clock.monotonic()
        for key in _keys(account, address):
            found = self._tries.pop(key, None)
            count = found.count if found is not None and now < found.last + FORGET else 0
            self._tries[key] = _Tries(count + 1, now)
        while len(self._tries) > REMEMBERED:
            self._tries.popitem(last=False)

    def succeed(self, account: str, address: str) -> None:
        """loop. The account's tries are forgotten; the address loses this one alone: who has one account must not
        become free to guess another's password."""
        owner, place = _keys(account, address)
        self._tries.pop(owner, None)
        if (found := self._tries.get(place)) is not None:
            found.count -= 1

    def _wait(self, key: tuple[str, str], now: float) -> float:
        found = self._tries.get(key)
        if found is None or found.count < FREE or now >= found.last + FORGET:
            return 0.0
        wait = min(LONGEST_WAIT[key[0]], FIRST_WAIT * 2.0 ** min(found.count - FREE, 30))
        return max(0.0, found.last + wait - now)


def _keys(account: str, address: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Names are hashed: they may be long, and may be a password typed into the wrong field."""
    return ("account", hashlib.sha256(account.encode()).hexdigest()), ("address", _network(address))


def _network(address: str) -> str:
    """An IPv6 client has 2^64 addresses: its network is meant."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found, 64), strict=False))
    return address


class LoginCodes:
    """Codes for one login each, for URLs that a command line or the demo prints."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ends: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<LoginCodes {len(self._ends)}>"

    def make(self) -> str:
        """loop. A new code (192 random bits); good once, within ``CODE_LIFETIME``."""
        now = self._clock.monotonic()
        self._ends = {key: end for key, end in self._ends.items() if end > now}
        for key in list(self._ends)[: max(0, len(self._ends) - MOST_CODES + 1)]:
            del self._ends[key]
        code = secrets.token_urlsafe(24)
        self._ends[_hashed(code)] = now + CODE_LIFETIME
        return code

    def take(self, code: str) -> bool:
        """loop. Whether it was good; it is no longer."""
        end = self._ends.pop(_hashed(code), None)
        return end is not None and self._clock.monotonic() < end


def _hashed(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()
