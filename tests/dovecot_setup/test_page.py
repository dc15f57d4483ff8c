"""docs/dovecot.md and docs/obox.md say what there is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from tests.dovecot_setup.machine import V23
from tierproxy.dovecot.checks import TRAPS
from tierproxy.dovecot.installation import Directory, File, Wish, planned
from tierproxy.dovecot.settings import BY_LAYOUT, Folders, Layout
from tierproxy.model import Ack

PAGE = Path("docs/dovecot.md").read_text()
OBOX = Path("docs/obox.md").read_text()


def test_every_trap_is_on_the_page() -> None:
    rows = re.findall(
        r"^\| ((?:`[a-z-]+`(?:, )?)+) \|", PAGE.split("## Traps")[1].split("\n## ")[0], flags=re.MULTILINE
    )
    assert {name for row in rows for name in re.findall(r"`([a-z-]+)`", row)} == {trap.name for trap in TRAPS}


def test_everything_the_setup_makes_is_on_the_page() -> None:
    steps = planned(Wish(version=V23)).steps
    paths = [step.path for step in steps if isinstance(step, File) or (isinstance(step, Directory) and not step.kept)]
    missing = [path for path in paths if path not in PAGE and not any(end in PAGE for end in endings(path))]
    assert missing == []


def endings(path: str) -> tuple[str, str]:
    name = path.rpartition("/")[2]
    return f"`{name}`", f"`{path.removeprefix('/etc/systemd/system/')}`"


def test_layouts_folders_and_acks_are_all_there() -> None:
    assert all(f"`{layout}`" in PAGE for layout in Layout)
    assert "`fs` (what `main` and `alt` take)" in PAGE
    assert "`--folders index`" in PAGE
    assert (BY_LAYOUT[Layout.MAIN], BY_LAYOUT[Layout.ALT]) == (Folders.FS, Folders.FS)
    assert all(re.search(rf"^\| `{ack}`", PAGE, flags=re.MULTILINE) for ack in Ack)


def test_the_obox_page_shows_toml_and_files_that_are_there() -> None:
    for text in re.findall(r"```toml\n(.*?)```", OBOX, flags=re.DOTALL):
        assert tomllib.loads(text)
    for name in ("obox-2.3.conf", "obox-3.conf"):
        assert name in OBOX
        example = (Path("config/dovecot") / name).read_text()
        assert "tierproxy.example.org:9300" in example


def test_every_s3_url_of_the_obox_example_asks_for_version_4_and_path_style() -> None:
    urls = re.findall(r"s3:(https://\S+)", (Path("config/dovecot") / "obox-2.3.conf").read_text())
    assert len(urls) == 3
    assert all("bucket=mail" in url and "region=us-east-1" in url for url in urls)
