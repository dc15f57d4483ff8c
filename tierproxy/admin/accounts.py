"""Accounts: those of ``[[account]]``, or the one of the data directory's token; and the command line's own."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from tierproxy.admin.callers import Caller, Role
from tierproxy.config.credentials import BLOCK, LANES, LENGTH, LOG_COST, PasswordHash, token_hash
from tierproxy.config.operators import AccountSection

OPERATOR = "operator"  #: the account of the data directory's token
COMMAND_LINE = "command line"  #: the account of ``tierproxy`` on this machine; no name an ``[[account]]`` can have


@dataclass(frozen=True, slots=True)
class Account:
    """``password`` None: it has none. ``token``: hash of its token, "" without."""

    name: str
    role: Role
    password: PasswordHash | None = None
    token: str = ""

    @classmethod
    def of(cls, section: AccountSection) -> Account:
        password = PasswordHash.parse(section.password) if section.password else None
        return cls(section.name, Role(section.role), password, section.token)


def author_of(caller: Caller, said: str) -> str:
    """In whose name a change is recorded: the account's. Of this machine's command line, which has read the data
    directory's secrets, the one it says."""
    return said if said and caller.name == COMMAND_LINE else caller.name


class Accounts:
    """Who there is now. ``command_line``: the token of this machine's command line, made anew for every start."""

    def __init__(self, command_line: str) -> None:
        self._own = Account(COMMAND_LINE, Role.OPERATE, None, token_hash(command_line))
        self._all: dict[str, Account] = {}
        # Compared when nobody has the name: how long an answer takes must not tell which accounts there are.
        self._nobody = PasswordHash(LOG_COST, BLOCK, LANES, secrets.token_bytes(16), secrets.token_bytes(LENGTH))
        self.replace([])

    def __repr__(self) -> str:
        return f"<Accounts {', '.join(self._all)}>"

    def replace(self, accounts: Sequence[Account]) -> set[str]:
        """loop. These are the accounts now. Returns the names of those that are gone or changed."""
        before, self._all = self._all, {account.name: account for account in [self._own, *accounts]}
        return {name for name, account in before.items() if self._all.get(name) != account}

    def named(self, name: str) -> Account | None:
        return self._all.get(name)

    def is_current(self, account: Account) -> bool:
        """loop. It is still there, unchanged."""
        return self._all.get(account.name) == account

    def checked(self, name: str, password: str) -> Account | None:
        """The account, if the password is right. Blocking, and as slow for a name nobody has."""
        account = self._all.get(name)
        known = account.password if account is not None and account.password is not None else None
        fits = (known or self._nobody).fits(password)
        return account if fits and known is not None else None

    def with_token(self, token: str) -> Account | None:
        """loop. The account of ``token``; every account is compared, whichever it is."""
        given, found = token_hash(token), None
        for account in self._all.values():
            if account.token and hmac.compare_digest(given, account.token):
                found = account
        return found
