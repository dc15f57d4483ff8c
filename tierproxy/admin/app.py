"""The FastAPI app of the admin port: routers, and what none of them may forget."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from tierproxy.admin import problems
from tierproxy.admin.assets import Assets
from tierproxy.admin.callers import Require
from tierproxy.admin.doorkeeper import CONTENT_POLICY, App, Doorkeeper
from tierproxy.admin.events import Streams
from tierproxy.admin.login import Gate, login_router
from tierproxy.admin.origin import Origins
from tierproxy.admin.services import Services

LOGIN_PAGE = Path(__file__).parent / "login_page"
OPENAPI = "/api/openapi.json"
LOGIN_POLICY = CONTENT_POLICY.replace(" 'unsafe-inline'", "")

DESCRIPTION = """\
What an operator can ask of a node, and tell it. Programs send a token (`Authorization: Bearer ...`). Browsers have the
cookie of a session, and send its `csrf` (`GET /api/session`) as `x-csrf-token` with every change. Whatever goes wrong
is a problem document (RFC 9457)."""

SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A token: see docs/admin.md."},
    "session": {"type": "apiKey", "in": "cookie", "name": "__Host-tierproxy", "description": "From POST /api/login."},
}


@dataclass(frozen=True, slots=True)
class Site:
    """What other rooms of the admin port bring: ``api`` is mounted below /api, ``pages`` at the root; ``assets`` are
    folders and files for ``/static`` by their name there."""

    api: Sequence[APIRouter] = ()
    pages: Callable[[Assets], Sequence[APIRouter]] = lambda _assets: ()
    assets: tuple[tuple[str, Path], ...] = ()


def admin_app(services: Services, gate: Gate, streams: Streams, site: Site) -> App:
    """The whole port as an ASGI app: the doorkeeper, and behind it the routers. Raises ValueError for a route that asks
    for no role or would run in a thread nobody counts."""
    assets = Assets({"login": LOGIN_PAGE / "static", **dict(site.assets)})
    app = FastAPI(
        title="tierproxy", version=services.version, description=DESCRIPTION, openapi_url=None, docs_url=None,
        redoc_url=None, swagger_ui_oauth2_redirect_url=None,
    )  # fmt: skip
    app.state.streams = streams
    problems.install(app)
    pages = site.pages(assets)
    for router in (*site.api, *pages):
        refuse_unguarded(router)
    for router in (login_router(gate), *site.api):
        app.include_router(router, prefix="/api")
    for router in pages:
        app.include_router(router, include_in_schema=False)
    app.include_router(_own_pages(services, assets), include_in_schema=False)
    _describe(app, services)
    return Doorkeeper(
        app, origins=Origins(lambda: services.config().admin), accounts=gate.accounts, sessions=gate.sessions,
        public=_Public(services, assets), clock=services.clock,
    )  # fmt: skip


class _Public:
    """The paths that need no login; there are no others."""

    def __init__(self, services: Services, assets: Assets) -> None:
        self._services = services
        self._assets = f"/static/{assets.version}/login/"
        self._paths = frozenset({"/health", "/login", "/api/login"})

    def __call__(self, path: str) -> bool:
        if path == "/metrics":
            return self._services.config().admin.metrics == "open"
        return path in self._paths or (path.startswith(self._assets) and ".." not in path)


def _own_pages(services: Services, assets: Assets) -> APIRouter:
    router = APIRouter()
    templates = Environment(loader=FileSystemLoader(LOGIN_PAGE), autoescape=True, undefined=StrictUndefined)
    login_page = templates.get_template("login.html").render(asset=assets.url)

    @router.get("/health")
    async def health() -> Response:
        """For load balancers and probes: nothing about the node but whether it serves."""
        return PlainTextResponse("ok") if services.ready() else PlainTextResponse("starting", 503)

    @router.get("/login")
    async def login() -> Response:
        return HTMLResponse(login_page, headers={"content-security-policy": LOGIN_POLICY})

    @router.get("/metrics")
    async def metrics(_request: Request) -> Response:
        """With a login of any role, or open ([admin] metrics)."""
        content, kind = await services.render_metrics()
        return Response(content, headers={"content-type": kind})

    @router.get("/static/{version}/{name:path}")
    async def static(version: str, name: str) -> Response:
        return assets.answer(version, name)

    return router


def _describe(app: FastAPI, services: Services) -> None:
    """OpenAPI says that everything but the login needs one, and what an error looks like. Made in a thread of the desk
    when somebody asks first: it takes a quarter of a second, and the object port's requests would wait for it."""
    turn, made = asyncio.Lock(), bytearray()

    def document() -> bytes:
        found = problems.described(app.openapi())
        found["components"]["securitySchemes"] = SCHEMES
        found["security"] = [{name: []} for name in SCHEMES]
        found["paths"]["/api/login"]["post"]["security"] = []
        return json.dumps(found).encode()

    @app.get(OPENAPI, include_in_schema=False)
    async def openapi() -> Response:
        async with turn:
            if not made:
                made.extend(await services.desk.run(document))
        return Response(bytes(made), media_type="application/json")


def refuse_unguarded(router: APIRouter) -> None:
    """Raises ValueError for a route without ``require``: the login alone would let every account change things. And for
    one that is no coroutine: FastAPI would run it in a thread of its own."""
    for route, calls in _routes(router, ()):
        if not any(isinstance(call, Require) for call in calls):
            raise ValueError(f"{route.path} does not say which role it needs: add Depends(require(...))")
        for call in (route.endpoint, *calls):
            if not _is_async(call):
                raise ValueError(f"{route.path}: {call!r} is no coroutine and would take a thread nobody counts")


def _routes(router: Any, above: tuple[Any, ...]) -> Iterator[tuple[APIRoute, tuple[Any, ...]]]:
    """Every route of ``router`` and of those in it, with everything it depends on."""
    around = (*above, *(depends.dependency for depends in getattr(router, "dependencies", ())))
    for route in router.routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from _routes(inner, around)
        elif isinstance(route, APIRoute):
            yield route, (*around, *_calls(route.dependant.dependencies))


def _calls(dependants: Iterable[Dependant]) -> Iterator[Any]:
    for one in dependants:
        yield one.call
        yield from _calls(one.dependencies)


def _is_async(call: Any) -> bool:
    call = inspect.unwrap(call)
    bound = call if inspect.isroutine(call) else type(call).__call__
    return inspect.iscoroutinefunction(bound) or inspect.isasyncgenfunction(bound)
