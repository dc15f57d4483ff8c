"""The node's JSON: children of a directory, and room. What is not as ``docs/mount-extension.md`` says is Doubt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tierproxy.mount.client_answers import Answer
from tierproxy.mount.ports import Doubt, File, Read, Room


@dataclass(frozen=True, slots=True)
class Page:
    """A page of children. ``after``: where the next one begins, "" if there is none."""

    files: list[File]
    directories: list[str]
    marked: bool
    after: str


def children_page(answer: Answer, directory: str) -> Page:
    """Without names no file system can have. Raises NodeError."""
    with _reading("a directory"):
        page = _document(answer)
        files = [_file(entry, directory) for entry in page["files"] if usable(entry["name"])]
        directories = [name for name in page["directories"] if usable(name)]
        return Page(files, directories, bool(page["marked"]), _text(page["next"]))


def room_of(answer: Answer) -> Room:
    """Raises NodeError."""
    with _reading("its room"):
        page = _document(answer)
        return Room(int(page["total"]), int(page["used"]), int(page["objects"]))


def usable(name: object) -> bool:
    """It can be a name in a directory: others are keys that cannot be reached through a file system."""
    text = _text(name)
    return text not in {"", ".", ".."} and "/" not in text and "\0" not in text


def line_of(read: Read, prefix: str) -> bytes:
    """A line of a report."""
    said = read._asdict() | {"key": prefix + read.key, "ranged": False}
    return json.dumps(said, separators=(",", ":")).encode() + b"\n"


def _file(entry: Any, directory: str) -> File:
    return File(
        directory + entry["name"], int(entry["size"]), _text(entry["etag"]), float(entry["modified"]),
        float(entry["changed"]),
    )  # fmt: skip


def _document(answer: Answer) -> Any:
    if not answer.good:
        raise answer.refusal()
    return json.loads(answer.body)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


@contextmanager
def _reading(what: str) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise Doubt(f"the node's word about {what} cannot be read: {error!r}") from error
