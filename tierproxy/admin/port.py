"""The admin port put together: accounts, sessions, app, and what it leaves in the data directory while it is open."""

from __future__ import annotations

import logging
import os
import secrets
from contextlib import suppress
from pathlib import Path

from tierproxy.admin.accounts import OPERATOR, Account, Accounts
from tierproxy.admin.app import Site, admin_app
from tierproxy.admin.attempts import LoginCodes
from tierproxy.admin.callers import Role
from tierproxy.admin.events import Streams
from tierproxy.admin.local import LocalDoor, operator_token
from tierproxy.admin.login import Gate, login_path
from tierproxy.admin.services import Services
from tierproxy.admin.sessions import Sessions
from tierproxy.config.credentials import token_hash
from tierproxy.config.sections import Config
from tierproxy.errors import TierproxyError
from tierproxy.logs import event
from tierproxy.ports import Offload

log = logging.getLogger(__name__)


class AdminPort:
    """``app`` is the ASGI app; whoever serves it calls ``opened``, and ``closing`` first when it stops.

    ``threads``: one thread, for passwords; it stays the caller's. Raises ConfigError, DiskError (the token's file).
    """

    def __init__(self, services: Services, threads: Offload, site: Site | None = None) -> None:
        self._services = services
        self._key = secrets.token_urlsafe(32)
        self._door: LocalDoor | None = None
        self.streams = Streams(services.clock)
        self.sessions = Sessions(services.clock, lambda: services.config().admin)
        self.codes = LoginCodes(services.clock)
        self.accounts = Accounts(self._key)
        self.accounts.replace(self._wanted(services.config()))
        self.gate = gate = Gate(
            accounts=self.accounts, sessions=self.sessions, codes=self.codes, clock=services.clock, threads=threads
        )
        self.app = admin_app(services, gate, self.streams, site or Site())

    def __repr__(self) -> str:
        return f"<AdminPort {self.accounts!r} {self.sessions!r} {self.streams!r}>"

    def _wanted(self, config: Config) -> list[Account]:
        if config.account:
            return [Account.of(section) for section in config.account]
        token = operator_token(self._services.data, self._services.files)
        return [Account(OPERATOR, Role.OPERATE, None, token_hash(token))]

    def reload(self, config: Config) -> None:
        """loop. Accounts that are gone or changed lose their sessions at once. A token file that cannot be used leaves
        everything as it is."""
        try:
            wanted = self._wanted(config)
            if self._door is not None:
                self._publish(self._door.url, config)
        except TierproxyError as error:
            event(log, logging.ERROR, "accounts not reloaded", error=error, hint=error.hint)
            return
        changed = self.accounts.replace(wanted)
        ended = self.sessions.end_of(changed)
        if changed:
            event(log, logging.INFO, "accounts changed", accounts=",".join(sorted(changed)), sessions_ended=ended)

    def opened(self, url: str) -> None:
        """Clients are served at ``url``. Raises DiskError."""
        config = self._services.config()
        self._publish(url, config)
        how = "with an account" if config.account else "`tierproxy admin login` prints a link to log in"
        event(log, logging.INFO, "dashboard", url=url, login=how)

    def _publish(self, url: str, config: Config) -> None:
        certificate = config.admin.tls_certificate
        door = LocalDoor(url, os.getpid(), self._key, str(Path(certificate).absolute()) if certificate else "")
        if door != self._door:
            door.write(self._services.data, self._services.files)
            self._door = door

    def closing(self) -> None:
        """loop. Event streams end; the command line finds the port no more."""
        self.streams.close()
        if self._door is not None:
            with suppress(TierproxyError):
                self._door.remove(self._services.data, self._services.files)
            self._door = None

    def login_path(self) -> str:
        """loop. Behind the port's URL; logs in once."""
        return login_path(self.codes.make())
