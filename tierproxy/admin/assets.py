"""Static files from memory, each under a path that names the content of all: browsers may keep them for ever."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Iterator, Mapping
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import Response

FOR_EVER = "public, max-age=31536000, immutable"
TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}


class Assets:
    """``/static/<hash>/<name>``. The hash is one of all files, so that ES modules import each other by relative paths.
    Files are read once, here: an answer needs no thread."""

    def __init__(self, sources: Mapping[str, Path]) -> None:
        """``sources``: files, and folders with all that is in them, by their name here."""
        files = {name: path for prefix, source in sources.items() for name, path in _files(prefix, source)}
        self._content = {name: path.read_bytes() for name, path in files.items()}
        digest = hashlib.sha256()
        for name, content in sorted(self._content.items()):
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
        self.version = digest.hexdigest()[:16]

    def __repr__(self) -> str:
        return f"<Assets {len(self._content)} files, {self.version}>"

    def url(self, name: str) -> str:
        """The path of a file, for templates. Raises KeyError without one: a misspelt name must not reach a browser."""
        if name not in self._content:
            raise KeyError(name)
        return f"/static/{self.version}/{name}"

    def answer(self, version: str, name: str) -> Response:
        """The file. Of another version (a page from before a restart) it is sent as it is now, not to be kept."""
        content = self._content.get(name)
        if content is None:
            raise HTTPException(404)
        kind = TYPES.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
        lifetime = FOR_EVER if version == self.version else "no-store"
        return Response(content, media_type=kind, headers={"cache-control": lifetime})


def _files(prefix: str, source: Path) -> Iterator[tuple[str, Path]]:
    if source.is_file():
        yield prefix, source
    for path in sorted(source.rglob("*")):
        if path.is_file():
            yield f"{prefix}/{path.relative_to(source).as_posix()}", path
