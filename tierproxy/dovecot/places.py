"""Where a configuration keeps mail: one place for all, and one for each namespace that has its own.

2.3 has it in one line, ``mail_location = sdbox:/srv/mail/%u:INDEX=...`` (and ``location`` of a namespace); 2.4 in a
setting each (``mail_driver``, ``mail_path`` ...), at the top or in a namespace. Source: Dovecot 2.3 manual, "Mail
location settings".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tierproxy.dovecot.doveconf import Block, Configuration
from tierproxy.dovecot.settings import Folders
from tierproxy.dovecot.versions import Series

_VARIABLE = re.compile(r"%(?:\{[^}]*\}|[\d.]*[A-Z]*[a-z])")
_HOME = re.compile(r"~(?=/|$)|%h|%\{home\}|%\{userdb:home\}")
_PARTS = (("alt", "mail_alt_path"), ("index", "mail_index_path"), ("control", "mail_control_path"))
_IN_24 = ("mail_driver", "mail_path", *(name for _, name in _PARTS), "mailbox_list_layout")


@dataclass(frozen=True, slots=True)
class Place:
    """A mail location. Paths as they are written but for the home, which is put in; "" where nothing is said.
    ``where``: which part of the configuration says so. ``others``: keys of a 2.3 location that are none of these, upper
    case."""

    where: str
    driver: str
    path: str
    alt: str = ""
    index: str = ""
    control: str = ""
    layout: str = ""
    others: Mapping[str, str] = field(default_factory=dict)

    @property
    def folders(self) -> str:
        """How folders become directories, said or not."""
        return self.layout.lower() or (Folders.MAILDIRPP if self.driver == "maildir" else Folders.FS)


def places(configuration: Configuration) -> list[Place]:
    """The first is that of INBOX, where it can be told. Places that are told twice are there once."""
    top, home = configuration.top, configuration.top.get("mail_home")
    build = _of_23 if configuration.version.series is Series.V23 else _of_24
    found = list(build(top, home))
    return [place for at, place in enumerate(found) if not any(_same(place, other) for other in found[:at])]


def _same(one: Place, other: Place) -> bool:
    return (one.driver, one.path, one.alt, one.index, one.control) == (
        other.driver, other.path, other.alt, other.index, other.control,
    )  # fmt: skip


def _of_23(top: Block, home: str) -> Iterator[Place]:
    if top.get("mail_location"):
        yield parsed_location(top.get("mail_location"), "mail_location", home)
    for block in _overriding(top):
        name = "location" if block.kind == "namespace" else "mail_location"
        if block.get(name):
            yield parsed_location(block.get(name), f"{name} of {block}", home)


def _of_24(top: Block, home: str) -> Iterator[Place]:
    yield _settings(top.values, "mail_driver and mail_path", home)
    for block in _overriding(top):
        if any(block.get(name) for name in _IN_24):
            said = {name: value for name, value in block.values.items() if value}
            yield _settings({**top.values, **said}, str(block), home)


def _overriding(top: Block) -> Iterator[Block]:
    for kind in ("namespace", "protocol", "local", "remote"):
        yield from top.of_kind(kind)


def parsed_location(text: str, where: str, home: str = "") -> Place:
    """A ``mail_location`` of 2.3. A colon in a path is written twice."""
    driver, *rest = [part.replace("\0", ":") for part in text.replace("::", "\0").split(":")]
    path = _at_home(rest[0], home) if rest else ""
    keys = {key.upper(): value for key, _, value in (part.partition("=") for part in rest[1:])}
    known = {name: _at_home(keys.pop(name.upper(), ""), home) for name, _ in _PARTS}
    layout = keys.pop("LAYOUT", "")
    return Place(where, driver.lower(), path, known["alt"], known["index"], known["control"], layout, keys)


def _settings(values: Mapping[str, str], where: str, home: str) -> Place:
    alt, index, control = (_at_home(values.get(setting, ""), home) for _, setting in _PARTS)
    path = _at_home(values.get("mail_path", ""), home)
    layout = values.get("mailbox_list_layout", "")
    return Place(where, values.get("mail_driver", "").lower(), path, alt, index, control, layout)


def _at_home(path: str, home: str) -> str:
    return _HOME.sub(lambda _: home, path, count=1) if home else path


def fixed_part(path: str) -> str:
    """The directory above everything that depends on the user: ``/srv/mail`` of ``/srv/mail/%u``; "" for paths that
    begin with what only the user database knows."""
    found = _VARIABLE.search(path)
    if not path.startswith("/"):
        return ""
    return (path[: found.start()].rpartition("/")[0] if found else path).rstrip("/") or "/"


def below(path: str, directory: str) -> bool:
    """Whether ``path`` is ``directory`` or something in it."""
    top = directory.rstrip("/")
    return path.rstrip("/") == top or path.startswith(top + "/")
