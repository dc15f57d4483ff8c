"""The dashboard's pages: a shell of HTML that its modules fill through the API. No numbers here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from tierproxy.admin.assets import Assets
from tierproxy.admin.callers import Caller, require
from tierproxy.admin.dashboard.assets import FOLDER, HERE


@dataclass(frozen=True, slots=True)
class Section:
    """``name``: of its template in ``templates/sections``, and its anchor. ``title``: in the navigation."""

    name: str
    title: str


SECTIONS = (
    Section("safe", "Safe"),
    Section("fast", "Fast"),
    Section("disk", "Disk"),
    Section("owners", "Owners"),
    Section("rules", "Rules"),
    Section("explain", "Explain"),
    Section("change", "What if"),
    Section("costs", "Costs"),
    Section("queue", "Queue"),
    Section("jobs", "Jobs"),
)
"""In the order in which an operator asks."""

Reader = Annotated[Caller, Depends(require("read"))]


class Pages:
    """The templates, compiled once. Everything in them is escaped; what is not defined is an error."""

    def __init__(self, assets: Assets) -> None:
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, auto_reload=False
        )
        self._templates.globals["static"] = lambda name: assets.url(f"{FOLDER}/{name}")

    def __repr__(self) -> str:
        return "<Pages>"

    def render(self, template: str, caller: Caller, rail: Sequence[tuple[str, str]], **words: object) -> HTMLResponse:
        """``rail``: (href, text) of the navigation. The page holds the session's CSRF token; the doorkeeper sees to it
        that no browser keeps it."""
        return HTMLResponse(self._templates.get_template(template).render(caller=caller, rail=rail, **words))


def dashboard_pages(assets: Assets) -> tuple[APIRouter, ...]:
    """For ``Site.pages``."""
    pages = Pages(assets)
    router = APIRouter()
    rail = tuple((f"#{section.name}", section.title) for section in SECTIONS)
    names = tuple(section.name for section in SECTIONS)

    @router.get("/")
    async def dashboard(caller: Reader) -> HTMLResponse:
        return pages.render("dashboard.html", caller, rail, sections=names)

    return (router,)
