"""The dashboard's pages and files: complete, escaped, and nothing from elsewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.admin.served import served
from tierproxy.admin.app import Site, refuse_unguarded
from tierproxy.admin.assets import Assets
from tierproxy.admin.callers import Caller, Role
from tierproxy.admin.dashboard.assets import FOLDER, HERE, dashboard_assets
from tierproxy.admin.dashboard.pages import SECTIONS, Pages, dashboard_pages

STATIC = HERE / "static"
TEMPLATES = HERE / "templates"
DOCS = Path(__file__).parents[2] / "docs"
MODULES = sorted(STATIC.glob("*.js"))
IMPORT = re.compile(r'from "\./([^"]+)"')
SITE = Site(pages=dashboard_pages, assets=dashboard_assets())


class Page(HTMLParser):
    """The start tags of a page, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def values(self, attribute: str) -> list[str]:
        return [value for _, attributes in self.tags if (value := attributes.get(attribute))]


def assets() -> Assets:
    return Assets(dict(dashboard_assets()))


async def dashboard_of(caller: Caller) -> str:
    """The page as ``caller`` gets it."""
    (router,) = dashboard_pages(assets())
    (route,) = router.routes
    answer = await route.endpoint(caller)  # type: ignore[attr-defined]
    return str(answer.body.decode())


async def page_of(caller: Caller | None = None) -> Page:
    return Page(await dashboard_of(caller or Caller("ann", Role.OPERATE, "session", "c0ffee")))


async def test_a_stranger_is_sent_to_the_login_and_comes_back_to_the_dashboard(tmp_path: Path) -> None:
    async with served(tmp_path, site=SITE) as one:
        answer = await one.http.get("/", headers={"accept": "text/html"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/")
        await one.log_in("bob")
        answer = await one.http.get("/")
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        assert "Is mail safe?" in answer.text


async def test_all_that_the_page_asks_for_is_served_and_may_be_kept(tmp_path: Path) -> None:
    async with served(tmp_path, site=SITE) as one:
        await one.log_in()
        page = Page((await one.http.get("/")).text)
        wanted = [path for path in page.values("src") + page.values("href") if not path.startswith("#") and path != "/"]
        assert len(wanted) > 5
        for path in wanted:
            answer = await one.http.get(path)
            assert answer.status_code == 200, path
            assert "immutable" in answer.headers["cache-control"]


async def test_plotly_comes_from_its_wheel_beside_our_modules(tmp_path: Path) -> None:
    async with served(tmp_path, site=SITE) as one:
        await one.log_in()
        answer = await one.http.get(f"/static/any/{FOLDER}/plotly.min.js")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/javascript")
        assert len(answer.content) > 1_000_000
    assert not (STATIC / "plotly.min.js").exists()


def test_every_page_says_which_role_it_needs() -> None:
    for router in dashboard_pages(assets()):
        refuse_unguarded(router)


async def test_sections_come_in_the_order_in_which_an_operator_asks() -> None:
    page = await page_of()
    ids = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    assert ids == [section.name for section in SECTIONS]
    assert ids[:3] == ["safe", "fast", "disk"]
    rail = [href for href in page.values("href") if href.startswith("#") and not href.startswith("#i-")]
    assert rail == ["#content", *(f"#{section.name}" for section in SECTIONS)]


async def test_the_page_carries_the_csrf_token_and_the_role_of_its_session() -> None:
    page = await page_of(Caller("bob", Role.READ, "session", "t0ken"))
    metas = {
        attributes["name"]: attributes["content"]
        for tag, attributes in page.tags
        if tag == "meta" and "name" in attributes
    }
    assert (metas["tierproxy-csrf"], metas["tierproxy-role"]) == ("t0ken", "read")


async def test_a_name_is_text_whatever_is_in_it() -> None:
    text = await dashboard_of(Caller("<script>alert(1)</script>", Role.READ, "session", '"><b>'))
    assert "<script>alert" not in text
    assert '"><b>' not in text


async def test_the_policy_of_the_port_lets_the_page_work_without_any_script_or_style_inline() -> None:
    page = await page_of()
    for tag, attributes in page.tags:
        assert tag != "style"
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        assert tag != "script" or attributes.get("src")


async def test_ids_are_unique_and_labels_name_what_there_is() -> None:
    page = await page_of()
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    for wanted in [*page.values("aria-labelledby"), *page.values("for")]:
        assert wanted in ids


async def test_every_panel_has_a_module_and_every_module_finds_its_parts() -> None:
    for name in (await page_of()).values("data-module"):
        assert f"{name}.js" in {path.name for path in MODULES}
    for section in SECTIONS:
        page = Page((TEMPLATES / "sections" / f"{section.name}.html").read_text())
        scripts = "".join(with_imports(f"{name}.js") for name in page.values("data-module"))
        for part in page.values("data-part"):
            assert f'"{part}")' in scripts, f"{section.name}: nobody fills {part}"


def with_imports(name: str) -> str:
    """The text of a module and of those that it imports."""
    text = (STATIC / name).read_text()
    return text + "".join((STATIC / other).read_text() for other in IMPORT.findall(text))


def test_what_modules_import_is_there() -> None:
    for module in MODULES:
        for name in IMPORT.findall(module.read_text()):
            assert (STATIC / name).is_file(), f"{module.name} imports {name}"


def test_icons_are_in_the_sprite() -> None:
    sprite = set(re.findall(r'id="i-([a-z-]+)"', (TEMPLATES / "icons.html").read_text()))
    used = set(re.findall(r'href="#i-([a-z-]+)"', "".join(path.read_text() for path in TEMPLATES.rglob("*.html"))))
    for module in MODULES:
        used |= set(re.findall(r'\bicon\("([a-z-]+)"\)', module.read_text()))
    assert used <= sprite


@pytest.mark.parametrize(
    "path", [*MODULES, *sorted(STATIC.glob("*.css")), *sorted(TEMPLATES.rglob("*.html"))], ids=lambda path: path.name
)
def test_nothing_comes_from_another_host(path: Path) -> None:
    text = path.read_text().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"(https?:)?//[a-z0-9-]+\.[a-z]", text)
    assert "@import" not in text
    assert "@font-face" not in text


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_text_is_never_parsed_as_html(path: Path) -> None:
    """Object keys, owners and errors are written by strangers."""
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", path.read_text()
    )


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_modules_are_small_and_say_what_they_are(path: Path) -> None:
    text = path.read_text()
    assert text.startswith(("/**", "//"))
    assert text.count("\n") <= 400


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_modules_are_javascript(tmp_path: Path) -> None:
    for path in MODULES:
        copy = tmp_path / (path.name if path.name == "theme.js" else f"{path.stem}.mjs")
        copy.write_text(path.read_text())
        done = subprocess.run(["node", "--check", copy], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr


def test_every_alarm_of_the_handbook_says_on_the_page_what_to_do() -> None:
    section = (DOCS / "operations.md").read_text().split("\n## Alarms\n")[1].split("\n## ")[0]
    names = {
        name
        for line in section.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([^`]+)`", line.split("|")[1])
    }
    assert len(names) > 10
    known = set(re.findall(r'^  "([^"]+)": "', (STATIC / "alarms.js").read_text(), re.MULTILINE))
    assert known == names


def test_the_handbook_names_every_section_and_every_kit_module() -> None:
    text = (DOCS / "dashboard.md").read_text()
    for section in SECTIONS:
        assert f"| {section.title} |" in text
    for name in ("api", "live", "panel", "dom", "format", "table", "chart", "job"):
        assert f"`{name}.js`" in text


def test_a_template_that_asks_for_a_file_there_is_not_breaks_here_and_not_in_a_browser() -> None:
    pages = Pages(assets())
    with pytest.raises(KeyError):
        pages._templates.from_string("{{ static('no-such-file.css') }}").render()
