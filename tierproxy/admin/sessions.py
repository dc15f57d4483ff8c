"""Logins of browsers: a table in memory, so that a restart or a logout ends them for good."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from tierproxy.admin.accounts import Account
from tierproxy.config.operators import AdminSection
from tierproxy.ports import Clock

MOST = 1000  #: sessions at once; a new one ends the one that was unused longest
MOST_OF_ONE = 50  #: the same for one account


@dataclass(slots=True)
class Session:
    """``csrf``: what pages of it send with changes. ``begun``, ``used``: by the clock that never goes back."""

    account: Account
    csrf: str
    begun: float
    used: float


class Sessions:
    """The table. Keyed by a hash of the id, so that a look at memory, or at how long a look-up takes, gives no id."""

    def __init__(self, clock: Clock, settings: Callable[[], AdminSection]) -> None:
        self._clock = clock
        self._settings = settings
        self._all: dict[str, Session] = {}  # the one used longest ago first

    def __repr__(self) -> str:
        return f"<Sessions {len(self._all)}>"

    def __len__(self) -> int:
        return len(self._all)

    def begin(self, account: Account) -> tuple[str, Session]:
        """loop. A new session and its id (256 random bits)."""
        self._make_room(account.name)
        id, now = secrets.token_urlsafe(32), self._clock.monotonic()
        session = self._all[_key(id)] = Session(account, secrets.token_urlsafe(32), now, now)
        return id, session

    def use(self, id: str) -> Session | None:
        """loop. The session, which is in use again; None: there is none, or its time was up."""
        key = _key(id)
        session = self._all.pop(key, None)
        if session is None or self._over(session):
            return None
        session.used = self._clock.monotonic()
        self._all[key] = session
        return session

    def is_open(self, session: Session) -> bool:
        """loop. Without using it: neither logged out nor expired."""
        return not self._over(session) and any(session is one for one in self._all.values())

    def end(self, session: Session) -> None:
        """loop. Log out."""
        self._all = {key: one for key, one in self._all.items() if one is not session}

    def end_of(self, accounts: set[str]) -> int:
        """loop. End every session of these accounts. Returns how many."""
        before = len(self._all)
        self._all = {key: one for key, one in self._all.items() if one.account.name not in accounts}
        return before - len(self._all)

    def left(self, session: Session) -> float:
        """Seconds until it ends at the latest."""
        return max(0.0, session.begun + self._settings().session_lifetime - self._clock.monotonic())

    def _over(self, session: Session) -> bool:
        now, settings = self._clock.monotonic(), self._settings()
        return now >= session.begun + settings.session_lifetime or now >= session.used + settings.session_idle

    def _make_room(self, name: str) -> None:
        self._all = {key: one for key, one in self._all.items() if not self._over(one)}
        of_one = [key for key, one in self._all.items() if one.account.name == name]
        for key in of_one[: max(0, len(of_one) - MOST_OF_ONE + 1)]:
            del self._all[key]
        for key in list(self._all)[: max(0, len(self._all) - MOST + 1)]:
            del self._all[key]


def _key(id: str) -> str:
    return hashlib.sha256(id.encode()).hexdigest()
