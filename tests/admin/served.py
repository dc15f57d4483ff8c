"""The admin port over real sockets: a node's parts on a temporary directory, and an HTTP client beside it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx
from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from tierproxy.admin.app import Site
from tierproxy.admin.callers import Caller, note, require
from tierproxy.admin.port import AdminPort
from tierproxy.admin.services import Services
from tierproxy.clock import SystemClock
from tierproxy.config.credentials import PasswordHash, token_hash
from tierproxy.config.operators import AccountSection, AdminSection
from tierproxy.config.sections import Config
from tierproxy.errors import ConfigError
from tierproxy.offload import ThreadPool
from tierproxy.ports import Clock
from tierproxy.server import AdminServer
from tierproxy.testing.rig import Rig, rig
from tierproxy.wiring_admin import services

PASSWORD = "correct horse battery"
OPERATOR_TOKEN = "operator-token-0123456789-0123456789"
READER_TOKEN = "reader-token-0123456789-0123456789xx"


def cheap_hash(password: str = PASSWORD) -> str:
    """A hash with the least work that is accepted."""
    salt = b"0123456789abcdef"
    return str(PasswordHash(10, 8, 1, salt, hashlib.scrypt(password.encode(), salt=salt, n=2**10, r=8, p=1, dklen=32)))


ANN = AccountSection(name="ann", role="operate", password=cheap_hash(), token=token_hash(OPERATOR_TOKEN))
BOB = AccountSection(name="bob", role="read", password=cheap_hash(), token=token_hash(READER_TOKEN))


class Wish(BaseModel):
    days: int
    secret: str = ""


def trial_router() -> APIRouter:
    """Routes as rooms of the API have them."""
    router = APIRouter(prefix="/trial")
    router.changed = 0  # type: ignore[attr-defined]

    @router.get("/look")
    async def look(caller: Annotated[Caller, Depends(require("read"))]) -> str:
        return caller.name

    @router.post("/change")
    async def change(wish: Wish, request: Request, caller: Annotated[Caller, Depends(require("operate"))]) -> str:
        note(request, days=wish.days)
        router.changed += 1  # type: ignore[attr-defined]
        return caller.name

    @router.get("/refuse", dependencies=[Depends(require("read"))])
    async def refuse() -> str:
        raise ConfigError("line 3 is wrong", hint="write it again")

    @router.get("/break", dependencies=[Depends(require("read"))])
    async def break_() -> str:
        raise RuntimeError("a detail of the inside")

    return router


@dataclass
class Served:
    """``http`` keeps cookies; ``fresh()`` is another browser."""

    rig: Rig
    port: AdminPort
    server: AdminServer
    http: httpx.AsyncClient
    root: Path

    @property
    def url(self) -> str:
        assert self.server.url is not None
        return self.server.url

    def fresh(self, **options: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(**{"base_url": self.url, "timeout": 60, **options})

    def configure(self, **sections: Any) -> None:
        """As a reload does."""
        parts = self.rig.parts
        parts.config = dataclasses.replace(parts.config, **sections)
        self.server.follow(parts.config)

    async def log_in(self, name: str = "ann", client: httpx.AsyncClient | None = None) -> dict[str, str]:
        """The headers of a change that the session's own pages send."""
        answer = await (client or self.http).post("/api/login", json={"name": name, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        return {"x-csrf-token": answer.json()["csrf"], "origin": self.url}


@asynccontextmanager
async def served(
    root: Path, *, accounts: Sequence[AccountSection] = (ANN, BOB), clock: Clock | None = None,
    site: Site | None = None, verify: Any = True, make_site: Callable[[Rig, Services], Site] | None = None,
    sections: Mapping[str, Any] | None = None, **admin: Any,
) -> AsyncIterator[Served]:  # fmt: skip
    """The admin port on a free port of the loopback; ``admin`` are options of ``[admin]``, ``sections`` whole sections
    of the configuration; ``make_site`` makes the site of what the routers may use."""
    settings = AdminSection(**{"address": "127.0.0.1:0", **admin})
    others = dict(sections or {})
    async with rig(
        root / "data", clock=clock or SystemClock(), admin=settings, account=tuple(accounts), **others
    ) as one:
        threads = ThreadPool("login", 1)
        one.parts.closers.append(threads.close)
        found = services(one.parts)
        shown = make_site(one, found) if make_site is not None else site or Site(api=(trial_router(),))
        port = AdminPort(found, threads, shown)
        server = AdminServer(settings, port, SystemClock())
        await server.start()
        try:
            async with httpx.AsyncClient(base_url=server.url or "", verify=verify, timeout=60) as client:
                one.parts.ready = True
                yield Served(one, port, server, client, root / "data")
        finally:
            await server.stop(1)


def config_of(served: Served) -> Config:
    return served.rig.parts.config


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}
